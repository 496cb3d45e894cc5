/* Questions about an island that was read, and its reference text. */
#include "island/island.h"
#include "io/file.h"

const char *island_login(const Island *i, const char *cloud)
{
    for (size_t k = 0; k < i->control.logins.len; k++)
        if (streq(i->control.logins.items[k].cloud, cloud))
            return i->control.logins.items[k].login;
    return cloud;
}

void island_clouds(const Island *i, const char *ret[static 4])
{
    const char *const all[] = {i->cloud, i->media.cloud, i->backup.cloud};
    size_t n = 0;

    for (size_t k = 0; k < ARRAY_LEN(all); k++) {
        bool known = !*all[k];
        for (size_t o = 0; o < n; o++)
            known = known || streq(ret[o], all[k]);
        if (!known)
            ret[n++] = all[k];
    }
    ret[n] = NULL;
}

const Tier *island_tier(const Island *i, const char *name)
{
    for (size_t k = 0; k < i->n_tiers; k++) {
        if (streq(i->tiers[k].name, name))
            return &i->tiers[k];
    }
    return NULL;
}

char *island_first_server(const Island *i, Role role)
{
    for (size_t k = 0; k < i->n_tiers; k++) {
        if (i->tiers[k].roles & ROLE_BIT(role))
            return xasprintf("%s.0", i->tiers[k].name);
    }
    return NULL;
}

bool tier_has(const Tier *t, int number)
{
    return t->scale.on ? t->numbers >> number & 1 : number < t->count;
}

char *island_scheduler(const Island *i)
{
    const Tier *any = NULL;

    for (size_t k = 0; k < i->n_tiers; k++) {
        const Tier *t = &i->tiers[k];

        /* Servers that come and go are no place for it. */
        if (!(t->roles & ROLE_BIT(ROLE_WORKER)) || t->scale.on)
            continue;
        if (strlist_has(&t->queues, "scheduler"))
            return xasprintf("%s.0", t->name);
        if (!t->queues.len && !any)
            any = t;
    }
    return any ? xasprintf("%s.0", any->name) : NULL;
}

char *island_file_new(const Island *i, const char *path)
{
    _cleanup_free_ char *folder = path_folder(i->path);

    return *path == '/' ? xstrdup(path) : path_join(folder, path);
}

int island_count(const Island *i)
{
    int servers = 0;

    for (size_t k = 0; k < i->n_tiers; k++)
        servers += i->tiers[k].count;
    return servers;
}

bool island_is_pocket(const Island *i)
{
    return streq(i->cloud, "pocket") || starts_with(i->cloud, "pocket-");
}

bool island_streams_node(const Island *i)
{
    return streq(i->release.stream, "node");
}

char *island_place(const Island *i, const char *path)
{
    const char *place = json_string_value(json_object_get(i->places, path));

    return place ? xasprintf("%s:%s: %s", i->path, place, path)
                 : xasprintf("%s: %s", i->path, path);
}

/* A '|' would end a table's cell. */
static void cell(Buf *out, const char *text)
{
    buf_str(out, " ");
    for (; *text; text++)
        buf_printf(out, *text == '|' ? "\\%c" : "%c", *text);
    buf_str(out, " |");
}

void island_reference(Buf *out)
{
    buf_str(out,
            "# The island file\n\n"
            "One YAML file says what an island is. Made from the table that the program reads "
            "it with:\n`atoll reference island`. Every error has file:line:column, what is "
            "allowed, and the nearest right\nspelling. [`demo/island.yaml`](../demo/island.yaml) "
            "is a whole one.\n\n"
            "| key | is | default | allowed | what it does |\n"
            "| --- | --- | --- | --- | --- |\n");
    for (const IslandRow *row = island_rows; row->path; row++) {
        _cleanup_(buf_clear) Buf def = BUF_INIT(BUF_MAX_LINE);
        size_t n = row->def ? strlen(row->def) : 0;

        if (!row->def)
            buf_str(&def, "(must be given)");
        else if (row->def[0] == '<')
            buf_printf(&def, "%.*s", (int)n - 2, row->def + 1);
        else if (n && !streq(row->def, "{}"))
            buf_printf(&def, "`%s`", row->def);
        buf_printf(out, "| `%s` |", row->path);
        cell(out, row->type);
        cell(out, def.p);
        cell(out, row->allowed);
        cell(out, row->sentence);
        buf_char(out, '\n');
    }
}
