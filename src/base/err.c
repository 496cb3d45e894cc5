#include "base/err.h"

static const ErrRow rows[ERR_KINDS] = {
    [ERR_NONE] = {"none", 0, false, "It is done, or there was nothing to do."},
    [ERR_USAGE] = {"usage", 64, false, "The command line is wrong."},
    [ERR_CONFIG] = {"config", 1, false, "The island file, clouds.yaml or a key file is wrong."},
    [ERR_AUTH] = {"auth", 6, false, "The login was refused."},
    [ERR_DENIED] = {"denied", 6, false, "The login works, but is not allowed to do this."},
    [ERR_NOT_FOUND] = {"not-found", 1, false, "Something that was asked for is not there."},
    [ERR_CONFLICT] = {"conflict", 1, false, "A service refused because of what is there already."},
    [ERR_QUOTA] = {"quota", 8, false, "A quota or limit of the cloud is used up."},
    [ERR_TEMPORARY] =
        {"temporary", 1, true,
         "A service could not be reached or was busy, for longer than is waited for."},
    [ERR_CORRUPT] = {"corrupt", 1, false,
                     "Data is not what its hash, signature or format says it is."},
    [ERR_IO] = {"io", 1, false, "A file, socket or program of this machine failed."},
    [ERR_INTERRUPTED] = {"interrupted", 130, false, "It was interrupted from the keyboard."},
    [ERR_BUG] = {"bug", 1, false, "The program itself is wrong; please report it."},
    [ERR_PARTIAL] = {"partial", 3, false, "A part is done; it is safe to run the same again."},
    [ERR_HELD] = {"held", 4, false, "Another run holds the lease of the island."},
    [ERR_CHANGED] = {"changed", 5, false, "The cloud is no longer what the plan was made for."},
    [ERR_AMBIGUOUS] =
        {"ambiguous", 7, false,
         "It can't be told which object belongs to the island; a person has to look."},
    [ERR_PREFLIGHT] = {"preflight", 8, false,
                       "A need that is known before the first change is not met: a quota, service, "
                       "flavor, image or level of isolation."},
    [ERR_HEALTH] = {"health", 9, false, "What was brought up does not answer as it should."},
};

/* The kind this thread set last: with a NULL Err the words are dropped, but err_wrap and err_hint
 * must still return what went wrong. */
static _Thread_local ErrKind last_kind = ERR_BUG;

static int failure(const Err *err)
{
    return -(int)(err ? err->kind : last_kind);
}

/* A callee that failed without saying why must not turn into success by being wrapped. */
static void ensure_set(Err *err)
{
    if (err->kind != ERR_NONE)
        return;
    (void)err_set(err, ERR_BUG, "no reason was given");
}

int err_set(Err *err, ErrKind kind, const char *format, ...)
{
    BUG_IF(kind <= ERR_NONE || kind >= ERR_KINDS);
    last_kind = kind;
    if (!err)
        return -(int)kind;
    /* First, since an argument may be the text that is dropped, and for %m. */
    va_list ap;
    va_start(ap, format);
    char *text = xvasprintf(format, ap);
    va_end(ap);
    err_clear(err);
    err->kind = kind;
    err->text = text;
    return -(int)kind;
}

int err_wrap(Err *err, const char *format, ...)
{
    if (!err)
        return failure(err);
    va_list ap;
    va_start(ap, format);
    _cleanup_free_ char *around = xvasprintf(format, ap);
    va_end(ap);
    ensure_set(err);
    char *text = xasprintf("%s: %s", around, err->text ? err->text : err_row(err->kind)->name);
    free(err->text);
    err->text = text;
    return failure(err);
}

int err_hint(Err *err, const char *format, ...)
{
    if (!err)
        return failure(err);
    if (!err->hint) {
        va_list ap;
        va_start(ap, format);
        char *hint = xvasprintf(format, ap);
        va_end(ap);
        ensure_set(err);
        err->hint = hint;
    }
    return failure(err);
}

void err_request_id(Err *err, const char *id)
{
    if (!err)
        return;
    char *copy = id ? xstrdup(id) : NULL;
    free(err->request_id);
    err->request_id = copy;
}

int err_move(Err *to, Err *from)
{
    int r = failure(from);
    if (r)
        last_kind = from->kind;
    if (to == from)
        return r;
    if (to) {
        err_clear(to);
        *to = *from;
        *from = (Err){0};
    } else {
        err_clear(from);
    }
    return r;
}

void err_clear(Err *err)
{
    if (!err)
        return;
    free(err->text);
    free(err->hint);
    free(err->request_id);
    *err = (Err){0};
}

const ErrRow *err_row(ErrKind kind)
{
    return (unsigned)kind < ERR_KINDS ? &rows[kind] : &rows[ERR_BUG];
}

int err_exit_code(int r)
{
    /* Not negative is not a failure: some functions count. */
    if (r >= 0)
        return 0;
    return r > -(int)ERR_KINDS ? rows[-r].exit_code : rows[ERR_BUG].exit_code;
}
