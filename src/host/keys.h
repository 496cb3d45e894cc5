/* The operator's key and the recovery key: the two recipients of everything in the vault.
 *
 * `atoll init` makes both. The operator's key is a file (path_config()/keys/<island>.key, 0600),
 * wrapped by a passphrase; the recovery key is shown once as text, to be kept elsewhere, and only
 * its public half stays, beside the other (<island>.pub, two lines). The passphrase comes from
 * $ATOLL_PASSPHRASE_FILE or from the terminal, never from argv or the environment itself.
 */
#pragma once
#include "io/crypt.h"

typedef struct KeyFiles {
    char *key_path, *pub_path;
} KeyFiles;
KeyFiles keys_paths(const char *island);
void keyfiles_clear(KeyFiles *k);
DEFINE_CLEAR(KeyFiles, keyfiles_clear)

/* Makes both; ERR_CONFLICT if they are there. `keep` is given the recovery key's text
 * ("atoll-recovery-1-..." with a checksum at its end) before any file is written: if it fails,
 * nothing was made, so no vault is ever sealed to a recovery key that nobody has. */
typedef int KeepRecovery(void *user, const Secret *recovery, Err *err);
int keys_make(const char *island, const Secret *passphrase, KeepRecovery *keep, void *user,
              Err *err) _must_check_;
/* ERR_NOT_FOUND (hint: atoll init), ERR_AUTH for a wrong passphrase. */
int keys_open(const char *island, const Secret *passphrase, KeyPair *ret, Err *err) _must_check_;
/* A key pair from the recovery text; ERR_CORRUPT when it was mistyped. */
int keys_recovery(Str text, KeyPair *ret, Err *err) _must_check_;
/* The text of a recovery key: what keys_recovery reads. */
Secret *keys_recovery_text_new(const Secret *key);
/* The public keys in a file, base64, one a line; empty lines and such with a '#' are passed over.
 * ERR_NOT_FOUND, ERR_CONFIG. Both kinds of key have halves of one size. */
int keys_public(const char *path, StrList *ret, Err *err) _must_check_;
/* Both public halves: [0] operator, [1] recovery. NULL-ended, to be freed by strlist_clear. */
int keys_recipients(const char *island, StrList *ret, Err *err) _must_check_;
/* From $ATOLL_PASSPHRASE_FILE, else asks on /dev/tty (twice with `confirm`). ERR_USAGE with a hint
 * when there is neither. */
int keys_passphrase(bool confirm, Secret **ret, Err *err) _must_check_;
