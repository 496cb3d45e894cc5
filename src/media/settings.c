/* SWIFT_* settings out of an environment file. */
#include "io/file.h"
#include "media/check.h"

const char *const media_levels[MEDIA_LEVELS] = {"project", "container", "none"};

void media_settings_clear(MediaSettings *s)
{
    free(s->auth_url);
    free(s->username);
    free(s->user_domain);
    free(s->project_id);
    free(s->region);
    free(s->container);
    free(s->object_url);
    free(s->tenant);
    (void)secret_free(s->password);
    *s = (MediaSettings){0};
}

typedef struct Field {
    const char *name;
    size_t offset;
    bool required;
} Field;

static const Field fields[] = {
    {"SWIFT_AUTH_URL", offsetof(MediaSettings, auth_url), true},
    {"SWIFT_USERNAME", offsetof(MediaSettings, username), true},
    {"SWIFT_DOMAIN_NAME", offsetof(MediaSettings, user_domain), false},
    {"SWIFT_PROJECT_ID", offsetof(MediaSettings, project_id), false},
    {"SWIFT_REGION", offsetof(MediaSettings, region), false},
    {"SWIFT_CONTAINER", offsetof(MediaSettings, container), true},
    {"SWIFT_OBJECT_URL", offsetof(MediaSettings, object_url), true},
    {"SWIFT_TENANT", offsetof(MediaSettings, tenant), false},
};

static char **slot(MediaSettings *s, const Field *f)
{
    return (char **)(void *)((char *)s + f->offset);
}

/* One pair of quotes around a value, as dotenv takes them off. */
static Str unquote(Str v)
{
    bool quoted = v.n >= 2 && (v.p[0] == '"' || v.p[0] == '\'') && v.p[v.n - 1] == v.p[0];
    return quoted ? (Str){v.p + 1, v.n - 2} : v;
}

static void take_line(MediaSettings *s, Str line)
{
    line = str_trim(line);
    if (line.n == 0 || line.p[0] == '#')
        return;
    const char *equals = memchr(line.p, '=', line.n);
    if (!equals)
        return;
    Str name = str_trim((Str){line.p, (size_t)(equals - line.p)});
    Str value = unquote(str_trim((Str){equals + 1, line.n - (size_t)(equals + 1 - line.p)}));
    if (str_eq(name, STR_LIT("SWIFT_PASSWORD"))) {
        (void)secret_free(s->password);
        s->password = secret_new(value.p, value.n);
    }
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (str_eq(name, str_of(fields[i].name))) {
            free(*slot(s, &fields[i]));
            *slot(s, &fields[i]) = xstrndup(value.p, value.n);
        }
}

int media_settings_read(const char *path, MediaSettings *ret, Err *err)
{
    _cleanup_(buf_wipe) Buf text = BUF_INIT(BUF_MAX_LINE);
    int r = file_read(path, &text, err);
    if (r < 0)
        return r;
    _cleanup_(media_settings_clear) MediaSettings s = {0};
    Str rest = buf_as_str(&text), line;
    while (str_next(&rest, '\n', &line))
        take_line(&s, line);
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (fields[i].required && !*slot(&s, &fields[i]))
            return err_set(err, ERR_CONFIG, "%s has no %s", path, fields[i].name);
    if (!s.password)
        return err_set(err, ERR_CONFIG, "%s has no SWIFT_PASSWORD", path);
    if (!s.user_domain)
        s.user_domain = xstrdup("default");
    *ret = s;
    s = (MediaSettings){0};
    return 0;
}
