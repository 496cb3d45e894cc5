/* A certificate from an ACME authority (RFC 8555): when to ask, what is asked, what came of it.
 *
 * Debian's certbot does the asking, in webroot mode: it puts the challenge's file where nginx has
 * /.well-known/acme-challenge/ on plain HTTP (8.3), and keeps account, certificate and key below
 * <folder>/conf. `atoll certbot` (acme_run.h) runs it, as a service of the one edge that the
 * floating IP leads to. All of it is in that service's folder, <folder>:
 *
 *   settings.json   what the bundle says: {"domain", "email", "server": URL or "", "webroot",
 *                   "store": what an earlier edge had (acme_store.h), or null}; ca.pem beside it
 *   conf/           certbot's own; conf/live/<domain>/ has the newest pair
 *   state.json      of the last look: {"of": hash of settings.json, "next": ms, "failed": n in a
 *                   row, "asked": ms of the last success, "why": words of the last failure or ""}
 *
 * Pure but for acme_pair and the two of the state, which read and write these files.
 */
#pragma once
#include "base/json.h"
#include "io/cert.h"

#define ACME_SERVICE "edge-certbot"
/* Let's Encrypt's, which is certbot's own default. */
#define ACME_SERVER "https://acme-v02.api.letsencrypt.org/directory"
/* Twice a day, as certbot's authors ask for. */
#define ACME_EVERY (12 * HOUR)

/* The directory's URL: the one given, or ACME_SERVER for "". */
const char *acme_server(const char *given);

typedef enum AcmeDo {
    ACME_NOTHING,
    ACME_LOOK, /* certbot asks whether it was revoked, and renews it then */
    ACME_RENEW /* a new one is due */
} AcmeDo;
/* `have`: the certificate; NULL: none. A third of its life before its end it is due. ACME_LOOK only
 * while certbot itself, which knows 30 days and nothing else, would not renew it. */
AcmeDo acme_due(const Cert *have, Msec now);
/* Until the next look after so many failures in a row: 5 min, doubled each time up to an hour, so
 * that Let's Encrypt's limit of 5 failures an hour is not met. 0 failures: ACME_EVERY. */
Msec acme_wait(int64_t failed);

typedef struct AcmeSettings {
    const char *domain, *email, *server, *webroot; /* server "": ACME_SERVER */
} AcmeSettings;
/* certbot's command line. Nothing in it is secret. */
void acme_argv(const char *folder, const AcmeSettings *s, AcmeDo what, StrList *ret);
/* Whether certbot's settings for a certificate (renewal/<domain>.conf) name another server. */
bool acme_other_server(Str conf, const char *server);
/* Of what certbot printed when it failed: why, in one line; without what it says every time. */
void acme_words(Str output, Buf *ret);
/* What it printed may hide what the authority said, which its log then has: the words of the log's
 * newest error, or nothing (false) where the output says enough. */
bool acme_log_words(Str output, Str log, Buf *ret);

/* "<folder>/conf/live/<domain>/<name>"; to be freed. */
char *acme_live(const char *folder, const char *domain, const char *name);
/* The pair that certbot has: the certificates as PEM and the key. ERR_NOT_FOUND; ERR_CORRUPT or
 * ERR_CONFIG also for moments while certbot changes it. Each of the last three may be NULL. */
int acme_pair(const char *folder, const char *domain, Cert *ret, Buf *ret_pem, Secret **ret_key,
              Err *err) _must_check_;

typedef struct AcmeState {
    char of[17];
    Msec next, asked;
    int64_t failed;
    char *why;
} AcmeState;
/* All zero where there is none, or none that can be read. `why` is never NULL. */
void acme_state_read(const char *folder, AcmeState *ret);
int acme_state_write(const char *folder, const AcmeState *s, Err *err) _must_check_;
void acme_state_clear(AcmeState *s);
DEFINE_CLEAR(AcmeState, acme_state_clear)
