/* A host's mailbox: a thread that fetches the next bundle and sends reports, through prefix
 * TempURLs and nothing else. It keeps a cloud that is slow or away from holding up the services'
 * driver.
 *
 * Owned by the agent's thread, which makes all calls below. Limits: one bundle is held until it is
 * taken; of reports with one name only the newest is kept, and at most MAILBOX_PENDING names; of
 * letters that must not be lost at most MAILBOX_KEPT.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "base/time.h"

#define MAILBOX_PENDING 16
#define MAILBOX_KEPT 8

typedef struct Mailbox Mailbox;

/* `next`: number of the bundle to look for. */
Mailbox *mailbox_open(const char *in_url, const char *out_url, int64_t next);
/* Newer URLs, from a bundle. */
void mailbox_urls(Mailbox *m, const char *in_url, const char *out_url);
void mailbox_next(Mailbox *m, int64_t number, Msec poll_ms);
/* Sends `body` under the name; life_s: deleted by Swift after so long; 0: never. */
void mailbox_put(Mailbox *m, const char *name, const char *body, int64_t life_s);
/* The same for a letter that is not given up for a newer one: false, and nothing is done, when
 * there is no room for it. It is dropped only if it can't be sent within its life. */
bool mailbox_put_kept(Mailbox *m, const char *name, const char *body, int64_t life_s) _must_check_;
/* For how many of these there is room. */
size_t mailbox_room(Mailbox *m);
/* A bundle that has come: its text (to be freed) and the number it was found at. */
bool mailbox_take(Mailbox *m, int64_t *ret_number, char **ret_text);
/* What the last request failed with (to be freed), or NULL if all is well. */
char *mailbox_trouble(Mailbox *m);
/* Waits until all is sent, at most so long; then ends the thread. Takes NULL, returns NULL. */
Mailbox *mailbox_close(Mailbox *m, Msec flush_ms);
