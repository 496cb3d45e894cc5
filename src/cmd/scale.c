#include "cmd/scale.h"

#include <stdio.h>

#define SLICE_MS 100

int cmd_scale_lines(FILE *from, const char *name, ScaleEach *each, void *user, Err *err)
{
    _cleanup_free_ char *line = xcalloc(SCALE_LINE_MAX, 1);
    int r = 0;

    for (size_t number = 1; r == 0 && fgets(line, SCALE_LINE_MAX, from); number++) {
        Str text = str_trim(str_of(line));
        bool whole = strchr(line, '\n') || feof(from);
        if (!whole)
            return err_set(err, ERR_CORRUPT, "%s:%zu: a line of more than %zu bytes", name, number,
                           SCALE_LINE_MAX - 2);
        if (text.n)
            r = each(user, number, text, err);
    }
    return r == 0 && ferror(from) ? err_set(err, ERR_IO, "cannot read %s: %m", name) : r;
}

bool cmd_scale_wait(const Cmd *c, Msec until)
{
    while (!*c->stop && time_mono() < until)
        time_sleep(MIN(SLICE_MS, until - time_mono()));
    return !*c->stop;
}

int cmd_scale_policy(const char *name, ScaleConfig *c, Err *err)
{
    if (!name)
        return 0;
    _cleanup_json_ json_t *cfg = json_make_new("{s:s}", "policy", name);
    int r = scale_config_read(cfg, c, err);
    return r < 0 ? err_set(err, ERR_USAGE, "--policy: latency, backlog or depth, not '%s'", name)
                 : 0;
}
