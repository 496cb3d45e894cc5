#include "backup/stream_internal.h"
#include "base/log.h"

#define LOOK_MS (30 * SECOND)
#define SAY_MS (10 * MINUTE)
#define TRY_MS (2 * SECOND) /* after a change of the setting failed */
#define SETTING "synchronous_standby_names"

/* Is `name` one of the names in a list as PostgreSQL has it: 'FIRST 1 (a, "b")', '*'? */
static bool names_us(const char *value, const char *name)
{
    size_t n = strlen(name);

    for (const char *p = value; (p = strstr(p, name)); p += n) {
        bool before = p == value || strchr(" \t,(\"", p[-1]);
        if (before && (p[n] == '\0' || strchr(" \t,)\"", p[n])))
            return true;
    }
    return strchr(value, '*') != NULL;
}

int watch_begin(Watch *w, Err *err)
{
    _cleanup_(strlist_clear) StrList cells = {0};
    _cleanup_free_ char *own = xasprintf("\"%s\"", w->slot);

    w->known = false;
    if (!w->sql && w->wanted == BACKUP_ASYNC)
        return 0;
    if (!w->sql)
        return err_set(err, ERR_CONFIG, "synchronous backup needs a login for SQL");
    int r = pg_query(w->sql, "SELECT current_setting($1)", SETTING, &cells, err);
    if (r < 0 && w->wanted == BACKUP_ASYNC) {
        /* Only alarms need it. */
        log_warn("the slot is not watched: %s", err ? err->text : "no login");
        err_clear(err);
        return 0;
    }
    if (r < 0)
        return err_wrap(err, "reading " SETTING);
    const char *value = cells.len ? cells.items[0] : "";
    w->promoted = names_us(value, w->slot);
    w->foreign = *value && !streq(value, own);
    w->known = true;
    if (w->wanted == BACKUP_ASYNC || !w->foreign)
        return 0;
    if (w->promoted && w->wanted == BACKUP_STRICT)
        return 0;
    (void)err_set(err, ERR_CONFIG, SETTING " is '%s' already, which is not the stream's to change",
                  value);
    return err_hint(err,
                    "put %s into it yourself (FIRST 2 (..., %s)) and say `synchronous: strict`, or "
                    "empty it",
                    own, own);
}

static int set(Watch *w, bool promoted)
{
    _cleanup_(err_clear) Err err = {0};
    _cleanup_free_ char *own = xasprintf("\"%s\"", w->slot);

    int r = pg_set(w->sql, SETTING, promoted ? own : NULL, &err);
    if (r == -ERR_DENIED)
        (void)err_hint(&err,
                       "as a superuser: GRANT ALTER SYSTEM ON PARAMETER " SETTING " TO \"%s\"; "
                       "GRANT EXECUTE ON FUNCTION pg_reload_conf() TO \"%s\"",
                       w->sql->user, w->sql->user);
    if (r < 0)
        log_err(&err);
    else
        w->promoted = promoted;
    return r;
}

static void promote(Watch *w, const WatchView *v)
{
    char from[LSN_TEXT_MAX], to[LSN_TEXT_MAX], begun[TIME_TEXT_MAX];

    if (set(w, true) < 0)
        return;
    if (w->given_up)
        log_warn("commits wait for the backup again; those from %s (%s) to now (%s) were answered "
                 "before they were stored",
                 time_format(w->given_up, false, begun), lsn_format(w->given_up_at, from),
                 lsn_format(v->stored, to));
    else
        log_info("commits wait for the backup from now on");
    w->given_up = 0;
}

static void demote(Watch *w, const WatchView *v)
{
    char at[LSN_TEXT_MAX], span[TIME_TEXT_MAX];

    if (set(w, false) < 0)
        return;
    if (w->wanted == BACKUP_ASYNC) {
        log_info("commits no longer wait for the backup");
        return;
    }
    w->given_up = time_now();
    w->given_up_at = v->stored;
    log_warn("nothing was stored for %s: commits no longer wait for the backup; from %s on they "
             "are answered before they are stored",
             time_span(w->give_up_ms, span), lsn_format(v->stored, at));
}

static int64_t number(const char *text)
{
    int64_t n = -1;
    return parse_int(text, -1, INT64_MAX, &n) ? n : -1;
}

static void say(const char *slot, SlotAlarm alarm, const SlotView *v)
{
    static const struct {
        LogLevel level;
        const char *words;
    } table[] = {
        [SLOT_FINE] = {LOG_LEVEL_INFO, "is fine again"},
        [SLOT_WARN] = {LOG_LEVEL_WARN, "holds back much of the log on the server"},
        [SLOT_URGENT] = {LOG_LEVEL_ERROR, "will soon lose the log, or fill the server's disk"},
        [SLOT_LOST] = {LOG_LEVEL_ERROR, "has lost the log: take a new base backup"},
    };
    _cleanup_free_ char *more =
        v->safe >= 0 ? xasprintf(", %lld MB more may be", (long long)(v->safe >> 20)) : NULL;

    log_line(table[alarm].level, "the slot %s %s; %lld MB are held%s", slot, table[alarm].words,
             (long long)(v->held >> 20), more ? more : "");
}

static void look(Watch *w, Msec now)
{
    _cleanup_(strlist_clear) StrList c = {0};
    _cleanup_(err_clear) Err err = {0};

    int r = pg_query(
        w->sql,
        "SELECT wal_status, safe_wal_size, "
        "(SELECT CASE WHEN setting = '-1' THEN -1 ELSE setting::bigint * 1048576 END "
        "FROM pg_catalog.pg_settings WHERE name = 'max_slot_wal_keep_size'), "
        "(CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_receive_lsn() "
        "ELSE pg_catalog.pg_current_wal_lsn() END - restart_lsn)::bigint "
        "FROM pg_catalog.pg_replication_slots WHERE slot_name = $1",
        w->slot, &c, &err);
    if (r < 0 || c.len != 4)
        return; /* away, or the slot is gone: the stream itself says so */
    SlotView v = {.status = c.items[0],
                  .safe = number(c.items[1]),
                  .keep = number(c.items[2]),
                  .held = number(c.items[3])};
    SlotAlarm alarm = slot_alarm(&v);
    if (alarm == w->alarm && (alarm == SLOT_FINE || now < w->next_say))
        return;
    w->alarm = alarm;
    w->next_say = now + SAY_MS;
    say(w->slot, alarm, &v);
}

void watch_step(Watch *w, const WatchView *v, Msec now)
{
    if (!w->known)
        return;
    if (now >= w->next_look) {
        w->next_look = now + LOOK_MS;
        look(w, now);
    }
    if (w->foreign || now < w->next_try)
        return;
    SyncView s = {.wanted = w->wanted,
                  .promoted = w->promoted,
                  .caught_up = v->caught_up,
                  .since = v->since,
                  .give_up_ms = w->give_up_ms};
    bool before = w->promoted;
    SyncStep step = sync_next(&s, now);
    if (step == SYNC_PROMOTE)
        promote(w, v);
    if (step == SYNC_DEMOTE)
        demote(w, v);
    if (step != SYNC_STAY && w->promoted == before)
        w->next_try = now + TRY_MS;
}

void watch_end(Watch *w)
{
    if (!w->known || w->foreign || !w->promoted)
        return;
    if (w->wanted == BACKUP_GIVE_UP && set(w, false) == 0)
        log_warn("commits no longer wait for the backup, until it runs again");
    if (w->wanted == BACKUP_STRICT)
        log_warn("commits wait until the backup runs again; to let them through: ALTER SYSTEM "
                 "RESET " SETTING "; SELECT pg_reload_conf()");
}

bool watch_going_down(const Watch *w)
{
    static const char *const ask[] = {"SELECT 1", NULL};
    return w->sql && pg_run(w->sql, ask, NULL) == -ERR_TEMPORARY;
}
