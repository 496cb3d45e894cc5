#include "host/machine_needs.h"
#include "island/roles.h"

#define MASTODON (ROLE_BIT(ROLE_WEB) | ROLE_BIT(ROLE_WORKER))

#define PODMAN                                                                                     \
    "podman", "podman.socket podman.service podman-restart.service podman-auto-update.service "    \
              "podman-auto-update.timer"

/* Debian's packages, for all releases of it alike: where a library's package has its version in its
 * name, the one of its tools brings it. Units: what the packages would start. */
#define NEEDS_ACME "acme"           /* the server asks for the island's certificate */
#define NEEDS_STREAMING "streaming" /* it runs Mastodon's own streaming server */

static const struct {
    unsigned roles;      /* one of them; 0: every server */
    const char *release; /* and a release of this kind, or NEEDS_*; NULL: any */
    const char *packages, *units;
} needs[] = {
    {0, NULL, "nftables unattended-upgrades", ""},
    {ROLE_BIT(ROLE_EDGE), NULL, "nginx-light", "nginx.service"},
    {ROLE_BIT(ROLE_EDGE), NEEDS_ACME, "certbot", "certbot.service certbot.timer"},
    {ROLE_BIT(ROLE_REDIS), NULL, "redis-server", "redis-server.service redis-server@.service"},
    {ROLE_BIT(ROLE_POSTGRES), NULL, "postgresql", "postgresql.service postgresql@.service"},
    {MASTODON, "canary", "ruby puma ruby-sidekiq ruby-fog-openstack ruby-pg ruby-redis ruby-rack",
     ""},
    {MASTODON, "tree",
     "ruby bundler libpq5 libidn12 libjemalloc2 libyaml-0-2 icu-devtools libvips-tools imagemagick "
     "ffmpeg file",
     ""},
    {MASTODON, "image", PODMAN},
    {ROLE_BIT(ROLE_STREAM), NEEDS_STREAMING, PODMAN},
    {ROLE_BIT(ROLE_SEARCH), NULL, PODMAN},
};

unsigned machine_roles(const json_t *spec)
{
    const json_t *names = json_object_get(spec, "roles");
    unsigned roles = 0;

    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        Role role;
        if (name && role_parse(name, &role))
            roles |= ROLE_BIT(role);
    }
    return roles;
}

static void add_words(StrList *l, const char *words)
{
    Str rest = str_of(words), word;

    while (str_next(&rest, ' ', &word)) {
        _cleanup_free_ char *text = xstrndup(word.p, word.n);
        if (*text && !strlist_has(l, text))
            strlist_add(l, text);
    }
}

void machine_needs(const json_t *spec, StrList *ret_packages, StrList *ret_units)
{
    const char *release = json_str_or(spec, "release.kind", "");
    unsigned roles = machine_roles(spec);
    bool acme = json_bool(spec, "listen.acme.here", false);
    bool streaming = json_object_get(spec, "streaming") != NULL;

    for (size_t i = 0; i < ARRAY_LEN(needs); i++) {
        const char *only = needs[i].release;
        if ((needs[i].roles && !(roles & needs[i].roles)) ||
            (only && !streq(only, release) && !(acme && streq(only, NEEDS_ACME)) &&
             !(streaming && streq(only, NEEDS_STREAMING))))
            continue;
        add_words(ret_packages, needs[i].packages);
        add_words(ret_units, needs[i].units);
    }
}
