#include "cmd/status.h"
#include "host/mail.h"

#define REPORT_MAX ((size_t)64 << 10)

static void roles_text(const Island *i, const char *server, Buf *out)
{
    _cleanup_free_ char *tier = xstrndup(server, strcspn(server, "."));
    const Tier *t = island_tier(i, tier);

    for (int r = 0; t && r < ROLES; r++)
        if (t->roles & ROLE_BIT(r))
            buf_printf(out, "%s%s", out->len ? " " : "", role_rows[r].name);
}

json_t *status_reports_new(Cmd *c, const World *w)
{
    json_t *reports = json_object();
    Call *calls = xcalloc(w->items.len + 1, sizeof *calls);
    const char **names = xcalloc(w->items.len + 1, sizeof *names);
    size_t n = 0;

    for (size_t i = 0; i < w->items.len; i++) {
        const Resource *r = &w->items.items[i];
        const char *name = r->kind == RESOURCE_HOST ? json_str_or(r->attrs, "report", "") : "";
        Buf path = BUF_INIT(BUF_MAX_LINE);

        if (!*name)
            continue;
        buf_printf(&path, "/%s-mail/", c->island.name);
        buf_url_quote(&path, name, "/");
        names[n] = name;
        calls[n++] = (Call){.cloud = c->clouds.of[CLOUD_OF_ISLAND],
                            .service = CLOUD_OBJECT,
                            .kind = CALL_READ,
                            .method = "GET",
                            .path = buf_detach(&path),
                            .want_text = true,
                            .max = REPORT_MAX};
    }
    if (n)
        (void)cloud_perform(calls, n, NULL); /* each has its own outcome */
    for (size_t i = 0; i < n; i++) {
        json_t *report = calls[i].err.kind || !calls[i].text.len
                             ? NULL
                             : json_parse_new(calls[i].text.p, calls[i].text.len, NULL);

        if (report)
            json_object_set_new(reports, names[i], report);
        call_clear(&calls[i]);
    }
    free(calls);
    free(names);
    return reports;
}

static const char *health_of(const Resource *host, Msec now)
{
    const char *state = host ? json_str_or(host->attrs, "state", "") : "";

    if (!host)
        return "no report";
    if (mail_silent(host, now))
        return "silent";
    if (*state)
        return state;
    return json_bool(host->attrs, "hello", false) ? "new" : "booting";
}

/* What the row says of a host's report; null for what an older atoll does not tell. */
static void add_report(json_t *row, const json_t *report)
{
    static const char *const parts[][2] = {{"release", "release"}, {"version", "atoll"},
                                           {"started", "started"}, {"services", "services"},
                                           {"backlog", "backlog"}, {"clients", "clients"},
                                           {"tls", "tls"}};

    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        json_t *value = json_object_get(report, parts[i][0]);

        json_object_set(row, parts[i][1], value ? value : json_null());
    }
}

static json_t *row_new(const Cmd *c, const World *w, const Resource *server, const json_t *reports,
                       Msec now)
{
    const Resource *host = world_find(w, RESOURCE_HOST, server->key, server->generation);
    const Resource *port = world_find(w, RESOURCE_PORT, server->key, server->generation);
    const char *name = host ? json_str_or(host->attrs, "report", "") : "";
    const json_t *report = json_object_get(reports, name);
    Msec since = host ? json_int(host->attrs, "state_since", 0) : 0;
    _cleanup_(buf_clear) Buf roles = BUF_INIT(BUF_MAX_LINE);
    _cleanup_free_ char *why = report ? mail_report_words_new(report) : NULL;
    char reported[TIME_TEXT_MAX] = "";

    if (!port)
        port = world_find(w, RESOURCE_PORT, server->key, 0);
    roles_text(&c->island, server->key, &roles);
    if (since > 0)
        time_format(since, false, reported);
    json_t *row = json_make_new("{s:s, s:s, s:s, s:s, s:s, s:s}", "key", server->key, "roles",
                                roles.p, "status", server->status ? server->status : "", "address",
                                port ? json_str_or(port->attrs, "address", "") : "", "health",
                                health_of(host, now), "reported", reported);
    add_report(row, report);
    json_t *words = json_string(why ? why : *name && !report ? "its report can't be read" : "");
    json_object_set_new(row, "why", words ? words : json_string("its report has no words"));
    return row;
}

typedef struct Place {
    size_t tier;
    long number;
    const Resource *server;
} Place;

static int by_place(const void *a, const void *b)
{
    const Place *one = a, *other = b;

    if (one->tier != other->tier)
        return one->tier < other->tier ? -1 : 1;
    if (one->number != other->number)
        return one->number < other->number ? -1 : 1;
    return one->server->generation - other->server->generation;
}

/* Where the file has it; what the file does not have comes last. */
static Place place_of(const Island *i, const Resource *server)
{
    const char *dot = strchr(server->key, '.');
    Place p = {.number = dot ? strtol(dot + 1, NULL, 10) : 0, .server = server};

    _cleanup_free_ char *tier = xstrndup(server->key, strcspn(server->key, "."));

    while (p.tier < i->n_tiers && !streq(i->tiers[p.tier].name, tier))
        p.tier++;
    return p;
}

json_t *status_servers_new(Cmd *c, const World *w, Msec now)
{
    _cleanup_json_ json_t *reports = status_reports_new(c, w);
    json_t *rows = json_array();
    VEC(Place) places = {0};

    for (size_t i = 0; i < w->items.len; i++)
        if (w->items.items[i].kind == RESOURCE_SERVER)
            vec_push(&places, place_of(&c->island, &w->items.items[i]));
    if (places.len)
        qsort(places.items, places.len, sizeof *places.items, by_place);
    for (size_t i = 0; i < places.len; i++)
        json_array_append_new(rows, row_new(c, w, places.items[i].server, reports, now));
    vec_clear(&places);
    return rows;
}

/* Of the server that has Redis. */
static json_t *backlog_of(const json_t *servers)
{
    const json_t *row;
    size_t i;

    json_array_foreach (servers, i, row) {
        json_t *backlog = json_object_get(row, "backlog");

        if (json_is_object(backlog))
            return json_incref(backlog);
    }
    return json_null();
}

/* Of all streaming servers that tell; null if none does. */
static json_t *clients_of(const json_t *servers)
{
    static const char *const types[] = {"websocket", "eventsource"};
    json_int_t sums[ARRAY_LEN(types)] = {0};
    const json_t *row;
    bool told = false;
    size_t i;

    json_array_foreach (servers, i, row) {
        const json_t *clients = json_object_get(row, "clients");

        told = told || json_is_object(clients);
        for (size_t k = 0; k < ARRAY_LEN(types); k++)
            sums[k] += json_int(clients, types[k], 0);
    }
    return told ? json_make_new("{s:I, s:I}", types[0], sums[0], types[1], sums[1]) : json_null();
}

/* Null without a search tier. */
static json_t *search_new(const Cmd *c, const ReleaseRecord *r)
{
    if (!cmd_has_search(c))
        return json_null();
    return json_make_new("{s:s, s:s, s:s}", "image", c->island.search.image, "version",
                         c->island.search.version, "indexes",
                         !r->index      ? "none"
                         : r->index_due ? "due"
                                        : "made");
}

json_t *status_island_new(const Cmd *c, const World *w, const json_t *servers, bool as_file)
{
    _cleanup_(release_clear) ReleaseRecord release = {0};

    cmd_release_read(c, w, &release);
    return json_make_new(
        "{s:s, s:s, s:s, s:b, s:s, s:O, s:O, s:o, s:b, s:b, s:b, s:o, s:o, s:o}", "name",
        c->island.name, "domain", c->island.domain, "cloud", c->island.cloud, "as_file", as_file,
        "phase", release_phase_word(release.phase), "now", release.now, "to", release.to, "told",
        json_list_new(&release.told), "installed", release.number > 0, "maintenance",
        release.maintenance, "upgrading", release.atoll_to != NULL, "backlog", backlog_of(servers),
        "clients", clients_of(servers), "search", search_new(c, &release));
}
