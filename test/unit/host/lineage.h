/* What certbot leaves in its folder, as it leaves it: for tests of what reads that. Pairs sign
 * themselves; when they begin tells them apart. */
#pragma once
#include "host/acme.h"
#include "host/acme_store.h"
#include "io/file.h"

#include <unistd.h>

#define DOMAIN "reef.example"
#define FIRST (1767225600 * SECOND) /* 2026-01-01 */

static void put(const char *folder, const char *name, Str text)
{
    _cleanup_free_ char *path = xasprintf("%s/conf/%s", folder, name), *above = path_folder(path);

    assert_int_equal(file_mkdirs(above, 0700, NULL), 0);
    assert_int_equal(file_write(path, text, 0600, NULL), 0);
}

/* The number-th pair of the domain, which begins a day before `now`. */
static void lineage(const char *folder, int number, Msec now)
{
    static const char *const names[] = {"cert", "chain", "fullchain", "privkey"};
    _cleanup_(buf_clear) Buf pem = BUF_INIT(CERT_MAX_BYTES);
    _cleanup_secret_ Secret *key = NULL;
    _cleanup_free_ char *settings =
        xasprintf("archive_dir = %s/conf/archive/" DOMAIN "\n[renewalparams]\n"
                  "server = https://ca.example/directory\n",
                  folder);

    assert_int_equal(cert_self(DOMAIN, now, &pem, &key, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        _cleanup_free_ char *file = xasprintf("archive/" DOMAIN "/%s%d.pem", names[i], number);
        _cleanup_free_ char *link = xasprintf("%s/conf/live/" DOMAIN "/%s.pem", folder, names[i]);
        _cleanup_free_ char *target = xasprintf("../../%s", file), *above = path_folder(link);

        put(folder, file, streq(names[i], "privkey") ? secret_expose(key) : buf_as_str(&pem));
        assert_int_equal(file_mkdirs(above, 0700, NULL), 0);
        (void)unlink(link);
        assert_int_equal(symlink(target, link), 0);
    }
    put(folder, "accounts/ca.example/directory/1/private_key.json", STR_LIT("{\"d\":\"geheim\"}"));
    put(folder, "renewal/" DOMAIN ".conf", str_of(settings));
}
