/* The first island file, as `atoll init` writes it. */
#include "island/island.h"

static void comment(Buf *out, const char *path, const char *indent)
{
    for (const IslandRow *row = island_rows; row->path; row++) {
        if (streq(row->path, path))
            buf_printf(out, "%s# %s\n", indent, row->sentence);
    }
}

/* "key: value", the value in quotes where YAML could read it as something else. */
static void value(Buf *out, const char *key, const char *text)
{
    bool plain = text[0];

    for (const char *p = text; *p; p++)
        plain = plain && ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                          (*p >= '0' && *p <= '9' && p > text) || strchr("-._/", *p));
    buf_printf(out, "%s: ", key);
    if (plain) {
        buf_str(out, text);
        return;
    }
    buf_char(out, '\'');
    for (const char *p = text; *p; p++)
        buf_printf(out, *p == '\'' ? "''" : "%c", *p);
    buf_char(out, '\'');
}

static void line(Buf *out, const char *key, const char *text)
{
    comment(out, key, "");
    value(out, key, text);
    buf_char(out, '\n');
}

static void tier(Buf *out, const IslandTemplate *t, const char *name, const char *roles, int gb)
{
    buf_printf(out, "  %s:\n    ", name);
    value(out, "flavor", t->flavor);
    buf_printf(out, "\n    roles: [%s]\n", roles);
    if (gb) {
        buf_printf(out, "    volume: {size: %dGB", gb);
        if (t->volume_type && t->volume_type[0]) {
            buf_str(out, ", ");
            value(out, "type", t->volume_type);
        }
        buf_str(out, "}\n");
    }
}

void island_template(const IslandTemplate *t, Buf *out)
{
    buf_str(out,
            "# An island: what `atoll apply` makes, and keeps. `atoll plan` shows what a change\n"
            "# of this file would do. Every key is in doc/island.md.\n");
    line(out, "island", t->name);
    line(out, "domain", t->domain);
    line(out, "cloud", t->cloud);
    line(out, "image", t->image);
    comment(out, "release", "");
    buf_str(out, t->pocket ? "release: {canary: true}\n"
                           : "release: {image: ghcr.io/mastodon/mastodon, version: v4.7.6}\n");
    buf_char(out, '\n');
    comment(out, "servers", "");
    buf_str(out, "# roles:\n");
    for (int r = 0; r < ROLES; r++)
        buf_printf(out, "#   %-9s %s\n", role_rows[r].name, role_rows[r].sentence);
    buf_str(out, "servers:\n");
    tier(out, t, "web", "edge, web, worker", 0);
    tier(out, t, "db", "postgres, redis", t->pocket ? 1 : 50);
    buf_char(out, '\n');
    if (t->pocket) {
        buf_str(out, "network: {cidr: 127.77.0.0/24}\n");
        buf_str(out, "edge: {http: 8080, https: 0}\n");
    } else {
        comment(out, "edge.tls", "");
        buf_str(out, "# edge: {tls: {acme: you@mail.example}}\n"
                     "# edge: {tls: {certificate: fullchain.pem, key: privkey.pem}}\n");
    }
    comment(out, "media", "");
    if (t->media_cloud && t->media_cloud[0]) {
        buf_str(out, "media: {");
        value(out, "cloud", t->media_cloud);
        buf_str(out, "}\n");
    } else {
        comment(out, "media.cloud", "");
        buf_str(out, "# media: {cloud: ...}\n");
    }
    comment(out, "backup", "");
    buf_str(out, t->pocket ? "# backup: {}\n" : "backup: {}\n");
    comment(out, "env", "");
    buf_str(out,
            "# env: {SMTP_SERVER: mail.example, SMTP_FROM_ADDRESS: notifications@mail.example}\n");
}
