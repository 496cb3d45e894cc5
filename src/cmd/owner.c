/* The account that owns the instance (mastodon.md 4.2). */
#include "cmd/ask.h"
#include <stdio.h>

#define OUTPUT_MAX ((size_t)64 << 10)

#define LIMIT (10 * MINUTE)

/* "New password: ..." */
static Str password_in(const Buf *out)
{
    static const char head[] = "New password: ";
    const char *p = strstr(out->p, head);

    return p ? str_trim((Str){p + strlen(head), strcspn(p + strlen(head), "\n")}) : (Str){0};
}

static int make(AskSession *s, Buf *out, Err *err)
{
    const char *name = s->c->island.owner.name, *email = s->c->island.owner.email;
    int status = 0;

    int r = ask_session_collect(s,
                                (const char *const[]){"bin/tootctl", "accounts", "create", name,
                                                      "--email", email, "--confirmed", "--role",
                                                      "Owner", NULL},
                                LIMIT, &status, out, err);
    /* A run that died may have made it; its password was seen by nobody. */
    if (r == 0 && status != 0 && strstr(out->p, "taken"))
        r = ask_session_collect(s,
                                (const char *const[]){"bin/tootctl", "accounts", "modify", name,
                                                      "--reset-password", NULL},
                                LIMIT, &status, out, err);
    if (r == 0 && status == 0)
        r = ask_session_collect(
            s, (const char *const[]){"bin/tootctl", "accounts", "modify", name, "--approve", NULL},
            LIMIT, &status, out, err);
    if (r < 0 || status == 0)
        return r;
    Str last = str_trim(buf_as_str(out));
    return err_set(err, ERR_HEALTH, "tootctl: %.*s", (int)MIN(last.n, (size_t)200), last.p);
}

int cmd_owner_make(Cmd *c, Err *err)
{
    _cleanup_(ask_session_close) AskSession s = {0};
    _cleanup_(buf_wipe) Buf out = BUF_INIT(OUTPUT_MAX);

    int r = ask_session_open(c, "web", false, true, &s, err);
    if (r < 0)
        return r;
    ask_session_role(&s, "web");
    r = make(&s, &out, err);
    if (r < 0)
        return r;
    Str password = password_in(&out);
    if (c->common.json)
        cmd_json(json_make_new("{s:s, s:s, s:s, s:o}", "event", "owner", "name",
                               c->island.owner.name, "email", c->island.owner.email, "password",
                               json_stringn(password.p ? password.p : "", password.n)));
    else
        /* Said also with --quiet: it is shown only once. */
        printf("The owner's account: %s, password %.*s (kept nowhere; change it after the first "
               "login).\n",
               c->island.owner.email, (int)password.n, password.p ? password.p : "");
    return 0;
}
