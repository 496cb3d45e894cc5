/* Private to tls.c and tls_acme.c: the island's certificate, from files or from its own edge. */
#pragma once
#include "cmd/cmd.h"

/* Puts before an error where the island file names that file, and its path. */
int tls_fail(const Cmd *c, const char *key, const char *path, Err *err);
/* A file that the island file names under `key`; errors have the place of that. */
int tls_read_file(const Cmd *c, const char *key, const char *name, Buf *ret, Err *err) _must_check_;
/* `a` was issued before `b`, and is another. */
bool tls_is_older(const Cert *a, const Cert *b);
/* Fills in c->tls and island.edge.tls_mark from the vault's listing, if it has a certificate. */
int tls_look_into_vault(Cmd *c, const World *w, Err *err) _must_check_;
/* Puts `part` into the cloud's vault, and into `v`. */
int tls_store(Cmd *c, const Cert *cert, const Vault *part, Vault *v, Err *err) _must_check_;
/* What the three functions of cmd.h do where edge.tls says acme. */
int tls_acme_check(const Cmd *c, char **ret_words, Err *err) _must_check_;
int tls_acme_look(Cmd *c, const World *w, Err *err) _must_check_;
int tls_acme_vault(Cmd *c, Vault *v, Err *err) _must_check_;
