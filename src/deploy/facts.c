#include "deploy/facts.h"
#include "base/util.h"

/* The second line: "Filesystem 1024-blocks Used Available Capacity Mounted on". */
int64_t facts_free_kb(Str df)
{
    Str line, word;
    int64_t kb;

    if (!str_next(&df, '\n', &line) || !str_next(&df, '\n', &line))
        return -1;
    for (int column = 0; column < 4;) {
        if (!str_next(&line, ' ', &word))
            return -1;
        column += word.n > 0;
    }
    _cleanup_free_ char *text = xstrndup(word.p, word.n);
    return parse_int(text, 0, INT64_MAX, &kb) ? kb : -1;
}

char *facts_index_new(Str sha256sum)
{
    Str digest;

    if (!str_next(&sha256sum, ' ', &digest) || digest.n != 64 ||
        strspn(digest.p, "0123456789abcdef") != 64)
        return NULL;
    return xstrndup(digest.p, 16);
}

/* The digits that a migration's file name begins with. */
static Str version_of(Str file)
{
    size_t n = 0;

    while (n < file.n && file.p[n] >= '0' && file.p[n] <= '9')
        n++;
    return n >= 14 && n < file.n && file.p[n] == '_' ? (Str){file.p, n} : (Str){0};
}

static bool is_applied(Str applied, Str version)
{
    Str line;

    while (str_next(&applied, '\n', &line))
        if (str_eq(str_trim(line), version))
            return true;
    return false;
}

bool facts_pending(Str listing, Str applied, Pending *ret)
{
    Pending p = {0};
    bool post = false, folders = false;
    Str line;

    while (str_next(&listing, '\n', &line)) {
        if (line.n && line.p[line.n - 1] == ':') {
            folders = true;
            post = memmem(line.p, line.n, "post_migrate", strlen("post_migrate")) != NULL;
            continue;
        }
        Str version = version_of(line);
        if (version.n && !is_applied(applied, version))
            ++*(post ? &p.after : &p.before);
    }
    if (folders)
        *ret = p;
    return folders;
}
