/* Names in the mail container, which are the state of every host.
 *
 *   <server>/<boot nonce>/in/<number>            a bundle; its content type says of it what the
 *                                                next plan must know:
 *                                                "application/vnd.atoll.bundle; spec=<16 hex>;
 *                                                until=<Unix seconds>; key=<16 hex>;
 *                                                hello=<16 hex>", and
 *                                                "; scheduler=1" where it makes the host listen to
 *                                                the scheduler queue, "; postgres=volume" and
 *                                                "; redis=root" where it makes it keep data, and
 *                                                on which disk. That is: the spec's hash, when the
 *                                                mailbox URLs in it end, and the first digits of
 *                                                the SHA-256 of the host's public key, which no
 *                                                later bundle may be sealed to another of, and
 *                                                those of the MD5 of the hello that it answers.
 *                                                A number may also be an ask's (host/ask.h), of
 *                                                the type "application/vnd.atoll.ask": it is no
 *                                                bundle, and only the next number tells of it
 *   <server>/<boot nonce>/out/hello              the host's public key, authenticated by K
 *   <server>/<boot nonce>/out/<number>-<state>   what the host makes of bundle <number>: state is
 *                                                starting, healthy, failed or refused; the body
 *                                                says more (JSON); written again every minute, so
 *                                                last_modified tells that the host lives
 *   <server>/<boot nonce>/out/answer-<number>-<6 digits>   what comes of an ask, for an hour
 *
 * The URLs come only inside a bundle, so a bundle is sent again before they end, also when nothing
 * else has changed; after their end a host hears and says nothing, and its server must be replaced.
 *
 *   release/<number>                             which release runs (host/release.h)
 *
 * Numbers have 8 digits and start at 1. Only the mail of a server's present nonce counts.
 */
#pragma once
#include "base/buf.h"
#include "cloud/resource.h"

#define MAIL_BUNDLE_TYPE "application/vnd.atoll.bundle"
#define MAIL_ASK_TYPE "application/vnd.atoll.ask"
/* A host whose newest report is older is not what the report says any more. */
#define MAIL_SILENT (5 * MINUTE)

/* Eight digits, not all zero. */
bool mail_number(Str s, int64_t *ret);
/* The value of a parameter of a content type of that kind, or nothing. Real Swift writes parameters
 * anew in a listing, without the space. */
Str mail_param(const char *content_type, const char *kind, const char *name);
/* Adds one found HOST resource for each found SERVER of `w` (which must be listed already), from
 * the container's listing (swift_list). attrs: {boot: nonce, server_status, hello: bool,
 * hello_at: ms or 0, hello_other: it is not the one that the newest bundle answers, sent: n,
 * sent_at: ms or 0, sent_spec and sent_rest: text or "", sent_until: ms or 0 (not told), sent_key:
 * text or "", sent_scheduler: bool, keeps and kept: {role: "root" or "volume"} by its newest bundle
 * and by any, next: the number that is free, seen: n, state: text or "", state_since: ms
 * (last_modified: of the newest report), report: object name of the newest report or ""}. Unknown
 * names are ignored. */
void mail_read(const json_t *listing, World *w);
/* True for a found HOST that has been told something, and has said nothing for MAIL_SILENT, neither
 * since then nor since its newest report. */
bool mail_silent(const Resource *host, Msec now);
/* True for a found HOST whose newest report is "failed" or "refused". */
bool mail_failed(const Resource *host);
/* What a report's body says of itself and of those services that are not well; to be freed. NULL:
 * all is. */
char *mail_report_words_new(const json_t *report);
/* "<server>/<nonce>/in/00000003" and so on; to be freed. */
char *mail_in(const char *server, const char *nonce, int64_t number);
char *mail_out(const char *server, const char *nonce, int64_t number, const char *state);
/* Of the objects of a listing below <server>/<nonce>/in/: the number that is free; *ret_ask: that
 * `number` is an ask's. */
int64_t mail_next(const json_t *listing, const char *server, const char *nonce, int64_t number,
                  bool *ret_ask);
char *mail_hello(const char *server, const char *nonce);
/* A prefix TempURL with an object's name put before its '?'. To be freed. */
char *mail_url(const char *prefix_url, const char *name);
