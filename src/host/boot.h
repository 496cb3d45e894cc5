/* The first minutes of a server: user_data, and the hello that answers it.
 *
 * user_data is a constant shell script with a head of values: K (bootstrap key), TempURLs of
 * minutes for the package, SHA-256 of the package, TempURL prefixes for the mailbox, the public key
 * that signs bundles. It downloads the package with curl, checks it, installs it, writes
 * <root>/etc/atoll/boot.json (0600) and starts `atoll host`. On a real server the package is
 * installed with apt and systemd starts the service; where $ATOLL_ROOT is set (pocket) it is
 * unpacked into that folder with dpkg-deb -x and exec'd. The script prints what it does (console
 * log), never a value.
 */
#pragma once
#include "host/mail.h"
#include "host/vault.h"

typedef struct BootInput {
    Cloud *cloud;
    const char *island;
    const char *server; /* key: "web.0" */
    const char *nonce;
    const char *package; /* path of the .deb */
    Msec now;
} BootInput;

#define BOOT_URL_LIFE (20 * MINUTE)
#define MAIL_URL_LIFE (30 * DAY)
#define PACKAGE_URL_LIFE (1 * DAY)
#define KIT_URL_LIFE (1 * DAY)

/* A fresh nonce: 16 hex digits. */
void boot_nonce(char ret[static 17]);
/* Puts a package where servers fetch it, <island>-boot/<sha256>.deb: what is there under its hash
 * with the same size is the same. *ret_sha: 64 hex digits are appended. */
int boot_package(Cloud *cloud, const char *island, const char *package, Buf *ret_sha,
                 Err *err) _must_check_;
/* Uploads the package, and builds the script.
 * *ret_user_data is to be wiped. */
int boot_user_data(const BootInput *in, const Vault *v, Buf *ret_user_data, Err *err) _must_check_;

/* The script alone, from its three values. */
void boot_script(const char *sha256, const char *package_url, const char *boot_json_text, Buf *ret);

/* Hello: {"v":1,"public":"<X25519 b64>","mac":"<hex HMAC-SHA256(K, "hello/<server>/<nonce>/" +
 * public)>"} */
void boot_hello_make(const Secret *k, const char *server, const char *nonce, const char *public_b64,
                     Buf *ret);
/* ERR_DENIED when the MAC is not K's. *ret_public to be freed. */
int boot_hello_check(const Secret *k, const char *server, const char *nonce, Str text,
                     char **ret_public, Err *err) _must_check_;

/* The whole of KIND_SEND: reads the server's hello, checks it, makes bundle number sent+1 for
 * `spec` and puts it into the mailbox with fresh URLs, those of the trees it names among them; a
 * tree that is not in the cloud yet is uploaded first. Where an ask (host/ask.h) has taken that
 * number meanwhile, with the next one that is free.
 *
 * The trees' URLs live as long as the mailbox's, and are signed with the key of the boot container:
 * whoever changes that key has to leave the old one beside it for as long (Swift takes two). */
typedef struct SendInput {
    Cloud *cloud;
    const char *island, *server, *nonce;
    int64_t number;
    const char
        *expect_key; /* `key` of the bundle before (host/mail.h); NULL or "": there is none */
    const json_t *spec;
    Cloud *backup_cloud; /* of the spec's backup container; NULL where the spec has none */
    const char *tree, *tree_version; /* as file, file_version in TreeInput (tree.h) */
    json_t *trees;                   /* as known there */
    Msec now;
} SendInput;
/* ERR_DENIED when the hello is a stranger's, or holds another key than the bundle before was for: K
 * stays in user_data, where whoever gets at the server's metadata can read it. */
int boot_send(const SendInput *in, const Vault *v, Err *err) _must_check_;
/* Puts an ask (host/ask.h; `spec` is not looked at) there in the same way. Where in->number is
 * taken by another operator's, it gets the next one; *ret_number is what it got. */
int boot_ask(const SendInput *in, const json_t *ask, const Vault *v, int64_t *ret_number,
             Err *err) _must_check_;
