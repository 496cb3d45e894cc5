/* The table of settings, and the walk over it. */
#include "backup/settings.h"
#include "base/table.h"
#include "io/file.h"

static void *field(BackupSettings *s, const BackupSettingRow *row)
{
    return (char *)s + row->offset;
}

static int wrong(const Yaml *y, const BackupSettingRow *row, const YamlNode *n, Err *err)
{
    return yaml_wrong(y, n, &(YamlRow){row->path, row->type, row->allowed}, err);
}

static void set_text(char **ret, char *text)
{
    free(*ret);
    *ret = text;
}

/* Readers of values */

static int read_section(BackupSettings *s, const Yaml *y, const BackupSettingRow *row,
                        const YamlNode *n, Err *err);

static int read_text(BackupSettings *s, const Yaml *y, const BackupSettingRow *row,
                     const YamlNode *n, Err *err)
{
    if (n->type != YAML_SCALAR || !n->text[0])
        return wrong(y, row, n, err);
    set_text(field(s, row), xstrdup(n->text));
    return 0;
}

/* Relative to the settings file's folder, as the island's files are to the island file. */
static int read_path(BackupSettings *s, const Yaml *y, const BackupSettingRow *row,
                     const YamlNode *n, Err *err)
{
    if (n->type != YAML_SCALAR || !n->text[0])
        return wrong(y, row, n, err);
    _cleanup_free_ char *folder = path_folder(y->name);
    set_text(field(s, row), n->text[0] == '/' ? xstrdup(n->text) : path_join(folder, n->text));
    return 0;
}

static int read_count(BackupSettings *s, const Yaml *y, const BackupSettingRow *row,
                      const YamlNode *n, Err *err)
{
    if (n->type != YAML_SCALAR || !parse_int(n->text, row->min, row->max, field(s, row)))
        return wrong(y, row, n, err);
    return 0;
}

static int read_span(BackupSettings *s, const Yaml *y, const BackupSettingRow *row,
                     const YamlNode *n, Err *err)
{
    int64_t ms;

    if (n->type != YAML_SCALAR || !span_parse(n->text, &ms) || ms < row->min || ms > row->max)
        return wrong(y, row, n, err);
    *(int64_t *)field(s, row) = ms;
    return 0;
}

static bool letters_ok(const char *s, const char *letters)
{
    return *s && strspn(s, letters) == strlen(s);
}

/* PostgreSQL's rule for a slot's name (ReplicationSlotValidateName). */
static int read_slot(BackupSettings *s, const Yaml *y, const BackupSettingRow *row,
                     const YamlNode *n, Err *err)
{
    if (n->type != YAML_SCALAR || (int64_t)strlen(n->text) > row->max ||
        !letters_ok(n->text, "abcdefghijklmnopqrstuvwxyz0123456789_"))
        return wrong(y, row, n, err);
    set_text(field(s, row), xstrdup(n->text));
    return 0;
}

static int read_container(BackupSettings *s, const Yaml *y, const BackupSettingRow *row,
                          const YamlNode *n, Err *err)
{
    if (n->type != YAML_SCALAR || !n->text[0] || strchr(n->text, '/') ||
        (int64_t)strlen(n->text) > row->max)
        return wrong(y, row, n, err);
    set_text(field(s, row), xstrdup(n->text));
    return 0;
}

/* With a slash at its end, so that one repository's names never begin with another's. */
static int read_prefix(BackupSettings *s, const Yaml *y, const BackupSettingRow *row,
                       const YamlNode *n, Err *err)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/";

    if (n->type != YAML_SCALAR || (int64_t)strlen(n->text) > row->max || n->text[0] == '/' ||
        strstr(n->text, "//") || strstr(n->text, "..") || !letters_ok(n->text, letters))
        return wrong(y, row, n, err);
    set_text(field(s, row), xasprintf("%s%s", n->text, ends_with(n->text, "/") ? "" : "/"));
    return 0;
}

static int read_synchronous(BackupSettings *s, const Yaml *y, const BackupSettingRow *row,
                            const YamlNode *n, Err *err)
{
    if (n->type == YAML_MAP) {
        s->synchronous = BACKUP_GIVE_UP;
        return read_section(s, y, row, n, err);
    }
    if (n->type != YAML_SCALAR || !(streq(n->text, "no") || streq(n->text, "strict")))
        return wrong(y, row, n, err);
    s->synchronous = streq(n->text, "strict") ? BACKUP_STRICT : BACKUP_ASYNC;
    return 0;
}

#define AT(f) offsetof(BackupSettings, f)
#define KEEP_MAX 10000
const BackupSettingRow backup_setting_rows[] = {
    {"postgres", "a map", "{}", "host, port, user, password_file", "Where the database is.",
     read_section},
    {"postgres.host", "an address or a folder", "/run/postgresql",
     "a name, an address, or the folder of a unix socket", "The server.", read_text, AT(host)},
    {"postgres.port", "a port", "5432", "1 to 65535", "Its port.", read_count, AT(port), 1, 65535},
    {"postgres.user", "a role", "atoll", "a role with REPLICATION and LOGIN",
     "Who logs in: `CREATE ROLE atoll LOGIN REPLICATION`.", read_text, AT(user)},
    {"postgres.password_file", "a file", "", "a path",
     "Its first line is the password; without it none is sent.", read_path, AT(password_file)},
    {"slot", "a slot's name", "atoll", "up to 63 of a-z, 0-9 and underscores",
     "The physical replication slot that keeps the log until it is stored.", read_slot, AT(slot), 0,
     63},
    {"repository", "a map", NULL, "folder, or cloud and container, or urls",
     "Where backups are kept.", read_section},
    {"repository.folder", "a folder", "", "a path", "A folder: a test, a USB disk.", read_path,
     AT(folder)},
    {"repository.cloud", "an entry of clouds.yaml", "", "a name in clouds.yaml",
     "A login to the project that holds the container; best one that holds nothing else.",
     read_text, AT(cloud)},
    {"repository.container", "a container's name", "", "up to 256 letters without a slash",
     "The Swift container; `backup init` makes it.", read_container, AT(container), 0, 256},
    {"repository.prefix", "a prefix of names", "", "up to 100 of a-z, A-Z, 0-9, dots, -, _ and /",
     "For more than one repository in a container.", read_prefix, AT(prefix), 0, 100},
    {"repository.urls", "a file", "", "a path",
     "PUT-only addresses that `backup audit --urls` writes: all that the database's side needs.",
     read_path, AT(urls)},
    {"keys", "a folder", "backup", "a path", "The keys that `backup init` makes.", read_path,
     AT(keys)},
    {"synchronous", "no, strict, or a map", "no", "no, strict, {give_up: 30s}",
     "strict: a commit waits until it is stored. give_up: it does, but never longer than that.",
     read_synchronous},
    {"synchronous.give_up", "a span", "30s", "1s to 24h",
     "A commit that waited so long is let go, and the window at risk is told.", read_span,
     AT(give_up_ms), SECOND, DAY},
    {"state", "a folder", "", "a path",
     "What makes the next backup smaller; it may be lost. Without it each backup is whole.",
     read_path, AT(state)},
    {"keep", "a map", "{}", "daily, weekly, monthly, window", "What `backup prune` leaves.",
     read_section},
    {"keep.daily", "a number", "7", "0 to 10000", "Days of which a backup is kept.", read_count,
     AT(keep.daily), 0, KEEP_MAX},
    {"keep.weekly", "a number", "4", "0 to 10000", "Weeks.", read_count, AT(keep.weekly), 0,
     KEEP_MAX},
    {"keep.monthly", "a number", "6", "0 to 10000", "Months.", read_count, AT(keep.monthly), 0,
     KEEP_MAX},
    {"keep.window", "a span", "7d", "0s to 3650d",
     "Every moment of so long ago until now can be restored.", read_span, AT(keep.window_ms), 0,
     3650 * DAY},
    {"programs", "a folder", "", "a path",
     "PostgreSQL's programs, for restore and drill; without it Debian's, by the backup's version.",
     read_path, AT(programs)},
    {"media", "a map", "", "from, to", "What `backup media` mirrors.", read_section},
    {"media.from", "a map", NULL, "cloud, container", "Where the media are.", read_section},
    {"media.from.cloud", "an entry of clouds.yaml", NULL, "a name in clouds.yaml",
     "A login that may read and list the container.", read_text, AT(media_from.cloud)},
    {"media.from.container", "a container's name", NULL, "up to 256 letters without a slash",
     "The container.", read_container, AT(media_from.container), 0, 256},
    {"media.to", "a map", NULL, "cloud, container", "Where they are kept a second time.",
     read_section},
    {"media.to.cloud", "an entry of clouds.yaml", NULL, "a name in clouds.yaml",
     "A login that may list and write there; best of another project or cloud.", read_text,
     AT(media_to.cloud)},
    {"media.to.container", "a container's name", NULL, "up to 256 letters without a slash",
     "The container; it is made if it is not there.", read_container, AT(media_to.container), 0,
     256},
    {0},
};

/* The walk over the table */

static int read_key(BackupSettings *s, const Yaml *y, const char *path, const YamlNode *n, Err *err)
{
    const char *names[16] = {0};
    size_t len = 0;

    for (const BackupSettingRow *row = backup_setting_rows; row->path; row++) {
        const char *name = yaml_row_child(row->path, path);

        if (name && streq(name, n->key))
            return row->read(s, y, row, n, err);
        if (name && len + 1 < ARRAY_LEN(names))
            names[len++] = name;
    }
    return yaml_unknown_key(y, n, path, names, err);
}

static int read_absent(BackupSettings *s, const Yaml *y, const BackupSettingRow *row,
                       const YamlNode *map, Err *err)
{
    YamlNode node = {.type = YAML_SCALAR, .line = map->line, .column = map->column};
    int r;

    if (!row->def)
        return yaml_missing(y, map, &(YamlRow){row->path, row->type, row->allowed}, err);
    if (!row->def[0])
        return 0;
    node.type = streq(row->def, "{}") ? YAML_MAP : YAML_SCALAR;
    node.text = xstrdup(row->def);
    r = row->read(s, y, row, &node, err);
    free(node.text);
    return r;
}

static int read_map(BackupSettings *s, const Yaml *y, const char *path, const YamlNode *map,
                    Err *err)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < map->len; i++)
        r = read_key(s, y, path, &map->items[i], err);
    for (const BackupSettingRow *row = backup_setting_rows; r == 0 && row->path; row++) {
        const char *name = yaml_row_child(row->path, path);

        if (name && !yaml_get(map, name))
            r = read_absent(s, y, row, map, err);
    }
    return r;
}

static int read_section(BackupSettings *s, const Yaml *y, const BackupSettingRow *row,
                        const YamlNode *n, Err *err)
{
    return n->type == YAML_MAP ? read_map(s, y, row->path, n, err) : wrong(y, row, n, err);
}

/* What one key alone can't tell. */
static int check_repository(const BackupSettings *s, const Yaml *y, Err *err)
{
    const YamlNode *map = yaml_get(&y->root, "repository");
    int kinds = (s->folder != NULL) + (s->cloud != NULL) + (s->urls != NULL);

    if (kinds == 1 && (s->cloud != NULL) == (s->container != NULL) && (s->cloud || !s->prefix))
        return 0;
    if (kinds == 0 && !s->container)
        (void)yaml_key_error(y, map, err, "repository names no place");
    else if (kinds > 1)
        (void)yaml_key_error(y, map, err, "repository names more than one place");
    else if (s->cloud)
        (void)yaml_key_error(y, map, err, "repository.container is missing");
    else
        (void)yaml_key_error(y, map, err, "repository.%s goes with repository.cloud",
                             s->container ? "container" : "prefix");
    return err_hint(err, "one of {folder: PATH}, {cloud: NAME, container: NAME}, {urls: FILE}");
}

static int load(const Yaml *y, BackupSettings *ret, Err *err)
{
    _cleanup_(backup_settings_clear) BackupSettings s = {.path = xstrdup(y->name)};
    int r;

    if (y->root.type != YAML_MAP)
        return yaml_error(y, &y->root, err, "this is not a settings file: no keys");
    r = read_map(&s, y, "", &y->root, err);
    if (r == 0)
        r = check_repository(&s, y, err);
    if (r < 0)
        return r;
    if (!s.prefix)
        s.prefix = xstrdup("");
    *ret = s;
    s = (BackupSettings){0};
    return 0;
}

int backup_settings_parse(const char *name, Str text, BackupSettings *ret, Err *err)
{
    _cleanup_(yaml_clear) Yaml y = {0};
    int r = yaml_parse(name, text, &y, err);

    return r < 0 ? r : load(&y, ret, err);
}

int backup_settings_load(const char *path, BackupSettings *ret, Err *err)
{
    _cleanup_(yaml_clear) Yaml y = {0};
    int r = yaml_load(path, &y, err);

    if (r == -ERR_NOT_FOUND)
        return err_hint(err, "--settings FILE names another one; doc/backup.md has a first one");
    return r < 0 ? r : load(&y, ret, err);
}

void backup_place_clear(BackupPlace *p)
{
    free(p->cloud);
    free(p->container);
    *p = (BackupPlace){0};
}

void backup_settings_clear(BackupSettings *s)
{
    char *texts[] = {s->path,   s->host,  s->user,      s->slot,   s->password_file,
                     s->folder, s->cloud, s->container, s->prefix, s->urls,
                     s->keys,   s->state, s->programs};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        free(texts[i]);
    backup_place_clear(&s->media_from);
    backup_place_clear(&s->media_to);
    *s = (BackupSettings){0};
}

void backup_settings_reference(Buf *out)
{
    buf_str(out,
            "# The backup's settings file\n\n"
            "YAML; `--settings FILE`, or `backup.yaml` in `~/.config/atoll`. Made from the "
            "table that the\nprogram reads it with: `atoll reference backup`. Paths are relative "
            "to the file's folder. Every error\nhas file:line:column, what is allowed, and the "
            "nearest right spelling. [backup.md](backup.md) tells the\nrest.\n\n"
            "| key | is | default | allowed | what it does |\n"
            "| --- | --- | --- | --- | --- |\n");
    for (const BackupSettingRow *row = backup_setting_rows; row->path; row++) {
        const char *def = row->def && streq(row->def, "{}") ? "" : row->def;
        const char *tick = def && *def ? "`" : "";
        buf_printf(out, "| `%s` | %s | %s%s%s | %s | %s |\n", row->path, row->type, tick,
                   def ? def : "(must be given)", tick, row->allowed, row->sentence);
    }
}
