/* The control server: one that works on its island, as its operator's machine would.
 *
 * What it is given is a kit among its bundle's secrets: the whole vault, the recipients' public
 * halves, and logins. That is as much as an island has, and can't be less: who makes servers seals
 * their secrets. So nothing else runs there and nobody connects to it; and what must outlive a
 * theft of it is not in the kit: the owner of the backups' project (island file: control.logins),
 * the operator's and the recovery key.
 *
 * On the server role_control.c lays the kit out as files of a home folder, and runs atoll's own
 * verbs there. They read the vault from the file that the environment names (CONTROL_VAULT_ENV)
 * where on the operator's machine a passphrase opens it.
 */
#pragma once
#include "base/json.h"
#include "host/vault.h"

/* Name among a bundle's secrets: text of JSON {"vault": {name: base64}, "recipients": [base64],
 * "clouds": {name: entry of clouds.yaml}}; an entry's "cacert" is PEM here, and no path. */
#define CONTROL_KIT "control_kit"
/* A file as vault_read reads it. */
#define CONTROL_VAULT_ENV "ATOLL_VAULT_FILE"

/* Puts CONTROL_KIT into a vault in memory, for the bundle to come. */
int control_vault(Vault *v, const StrList *recipients, const json_t *clouds, Err *err) _must_check_;
