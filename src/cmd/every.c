#include "cmd/every.h"

#include "base/log.h"
#include "io/file.h"
#include "io/systemd.h"

#define RETRY_MS (5 * MINUTE)

static Msec remembered(const char *path)
{
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);
    Msec at = 0;

    if (file_read(path, &text, NULL) < 0)
        return 0;
    text.p[strcspn(text.p, "\n")] = '\0';
    return time_parse(text.p, &at) && at <= time_now() ? at : 0;
}

static int remember(const char *path, Msec at, Err *err)
{
    char text[TIME_TEXT_MAX];
    _cleanup_free_ char *line = xasprintf("%s\n", time_format(at, false, text));

    return file_write(path, str_of(line), 0600, err);
}

/* False: a signal came first. */
static bool waits_until(const Cmd *c, Msec due)
{
    for (Msec now; (now = time_now()) < due && !*c->stop;)
        time_sleep(MIN(due - now, MINUTE));
    return !*c->stop;
}

int cmd_every(Cmd *c, const CmdEvery *e, Err *err)
{
    Msec last = e->path ? remembered(e->path) : e->last;

    (void)err; /* all that could go wrong is tried again */
    log_init(e->word, LOG_LEVEL_INFO);
    systemd_notify("READY=1");
    for (Msec due = last + e->every_ms; waits_until(c, due);) {
        _cleanup_(err_clear) Err own = {0};
        int r = e->work(c, &own);
        bool done = r == 0 || r == -ERR_CORRUPT;
        if (r < 0 && !*c->stop)
            log_err(&own);
        if (done && e->path && remember(e->path, time_now(), &own) < 0)
            log_err(&own);
        due = time_now() + (done ? e->every_ms : MIN(RETRY_MS, e->every_ms));
    }
    systemd_notify("STOPPING=1");
    return 0;
}
