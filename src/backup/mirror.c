/* Both sides' listings, merged; copies in a pool. */
#include "backup/container.h"
#include "backup/mirror_work.h"
#include "backup/pool.h"

/* So many objects one after another that the store did not take: it takes none. */
#define FAILURES_IN_A_ROW 5
#define JOBS_MAX 64
/* Jobs that wait, for each that is worked on. */
#define AHEAD 4

/* cache/ is jumped over, not listed: a listing goes on behind a marker, and this one is behind
 * nearly all that begins with it (U+10FFFF). What is not is left out where rows are seen. */
#define CACHE "cache/"
typedef struct Span {
    const char *after, *before;
} Span;
static const Span all_names = {NULL, NULL};
static const Span without_cache[] = {{NULL, CACHE}, {CACHE "\xf4\x8f\xbf\xbf", NULL}};

/* A side's place in its listing. */
typedef struct Cursor {
    Cloud *cloud;
    const char *container;
    const Span *span, *spans_end;
    char *after; /* owned: the last name that was seen; NULL: none of this span */
    json_t *rows;
    size_t at;
    bool done;
} Cursor;

typedef struct Run {
    const MirrorOptions *o;
    MirrorShared shared;
    MirrorWorker *own; /* of this thread: lists */
    Cursor from, to;
    Pool *pool;
    MirrorCount *count;
    int in_a_row;
    int ended; /* a kind that ends the run; its words are in *err */
} Run;

/* Before the first listing */

static int head_container(Cloud *c, const char *container, Call *ret, Err *err)
{
    int r = backup_container_call(c, ret, "HEAD", container, err);

    return r < 0 ? err_wrap(err, "looking at the container %s", container) : 0;
}

/* "https://swift.example:8080" and "AUTH_1234" of ".../v1/AUTH_1234". */
static void split_address(const char *base, Str *ret_host, const char **ret_account)
{
    const char *host = strstr(base, "://"), *slash = strrchr(base, '/');
    size_t n = host ? (size_t)(host + 3 - base) : 0;

    *ret_host = (Str){base, n + strcspn(base + n, "/")};
    *ret_account = slash ? slash + 1 : base;
}

static bool is_segments_of(const char *container, const char *of)
{
    _cleanup_free_ char *name = xasprintf("%s" MIRROR_SEGMENTS, of);

    return streq(container, name);
}

/* One store may have two addresses (public, internal): a container that was made in the same
 * hundred-thousandth of a second in an account of the same name is the same one. */
static int check_sides(Run *run, const Call *from, const Call *to, Err *err)
{
    const MirrorOptions *o = run->o;
    const char *base_from = "", *base_to = "", *account_from, *account_to;
    Str host_from, host_to;
    int r = cloud_endpoint(run->own->from, CLOUD_OBJECT, &base_from, err);

    if (r == 0)
        r = cloud_endpoint(run->own->to, CLOUD_OBJECT, &base_to, err);
    if (r < 0)
        return r;
    split_address(base_from, &host_from, &account_from);
    split_address(base_to, &host_to, &account_to);
    const char *made = call_header(from, "X-Timestamp"), *made_to = call_header(to, "X-Timestamp");
    bool one_store = str_eq(host_from, host_to), one_account = streq(account_from, account_to);
    bool twin = made && streq(made, made_to);

    if (one_account && streq(o->from.container, o->to.container) && (one_store || twin)) {
        err_set(err, ERR_USAGE, "both sides are the container %s of one account",
                o->from.container);
        return err_hint(err, "a mirror is another container, best of another cloud");
    }
    if (one_account && one_store &&
        (is_segments_of(o->from.container, o->to.container) ||
         is_segments_of(o->to.container, o->from.container)))
        return err_set(err, ERR_USAGE,
                       "%s holds the segments of the other container's large objects",
                       is_segments_of(o->from.container, o->to.container) ? o->from.container
                                                                          : o->to.container);
    run->shared.account = one_store ? xstrdup(account_from) : NULL;
    run->shared.one_account = one_account;
    return 0;
}

/* With versions, if the cloud can: then what is written over here is not lost either. */
static int make_container(Run *run, Err *err)
{
    const char *container = run->o->to.container;
    _cleanup_(call_clear) Call with = {0}, without = {0};
    int r = backup_container_call_versions(run->own->to, &with, "PUT", container, err);

    if (r == -ERR_PREFLIGHT) {
        err_clear(err);
        r = backup_container_call(run->own->to, &without, "PUT", container, err);
    }
    if (r < 0)
        return err_wrap(err, "making the container %s", container);
    run->count->made = true;
    return 0;
}

static int look_at_second(Run *run, Call *ret, Err *err)
{
    const char *container = run->o->to.container;
    int r = head_container(run->own->to, container, ret, err);

    if (r == -ERR_NOT_FOUND && !run->o->dry_run) {
        r = make_container(run, err);
        call_clear(ret);
        if (r == 0)
            r = head_container(run->own->to, container, ret, err);
    } else if (r == -ERR_NOT_FOUND) {
        err_clear(err);
        run->to.done = true; /* it would be made; there is nothing in it */
        r = 0;
    }
    run->count->versions = backup_container_has_versions(ret);
    return r;
}

static int look(Run *run, Err *err)
{
    _cleanup_(call_clear) Call from = {0}, to = {0};
    int r = head_container(run->own->from, run->o->from.container, &from, err);

    if (r == -ERR_NOT_FOUND)
        return err_hint(err, "the media to be mirrored; `openstack container list` has the names");
    if (r == 0)
        r = look_at_second(run, &to, err);
    if (r < 0)
        return r;
    const char *objects = call_header(&from, "X-Container-Object-Count");
    if (objects && !parse_int(objects, 0, INT64_MAX, &run->count->objects))
        run->count->objects = 0;
    return check_sides(run, &from, &to, err);
}

/* Listing */

static bool wants_page(const Cursor *c)
{
    return !c->done && (!c->rows || c->at >= json_array_size(c->rows));
}

/* An empty page ends a span. */
static int take_page(Cursor *c, json_t *rows, Err *err)
{
    json_decref(c->rows);
    c->rows = rows;
    c->at = 0;
    size_t n = json_array_size(rows);
    if (n == 0) {
        free(c->after);
        c->after = NULL;
        c->done = ++c->span == c->spans_end;
        return 0;
    }
    const char *last = json_str(json_array_get(rows, n - 1), "name");
    if (!last || (c->after && strcmp(last, c->after) <= 0))
        return err_set(err, ERR_CORRUPT, "the list of %s goes back to `%s`", c->container,
                       last ? last : "");
    free(c->after);
    c->after = xstrdup(last);
    return 0;
}

/* The pages that are needed next, of both sides at once. */
static int next_pages(Run *run, Err *err)
{
    Cursor *cursors[2] = {&run->from, &run->to};

    while (wants_page(&run->from) || wants_page(&run->to)) {
        SwiftPage pages[2];
        Cursor *who[2];
        size_t n = 0;

        for (size_t i = 0; i < 2; i++) {
            Cursor *c = cursors[i];
            if (!wants_page(c))
                continue;
            who[n] = c;
            pages[n++] = (SwiftPage){.cloud = c->cloud,
                                     .container = c->container,
                                     .after = c->after ? c->after : c->span->after,
                                     .before = c->span->before};
        }
        int r = swift_pages(pages, n, err);
        for (size_t i = 0; r == 0 && i < n; i++)
            r = take_page(who[i], TAKE(pages[i].rows), err);
        if (r < 0) {
            for (size_t i = 0; i < n; i++)
                json_decref(pages[i].rows);
            return r;
        }
    }
    return 0;
}

static int row_at(const Cursor *c, MirrorRow *ret, Err *err)
{
    if (!mirror_row(json_array_get(c->rows, c->at), ret))
        return err_set(err, ERR_CORRUPT, "the list of %s has a row that is no object's",
                       c->container);
    return 0;
}

/* Results */

static bool ends_all(Run *run, const MirrorJob *j)
{
    switch (j->err.kind) {
    case ERR_AUTH:
    case ERR_DENIED:
    case ERR_QUOTA:
    case ERR_INTERRUPTED:
    case ERR_PREFLIGHT:
        return true;
    case ERR_TEMPORARY:
        return ++run->in_a_row >= FAILURES_IN_A_ROW;
    default:
        run->in_a_row = 0;
        return false;
    }
}

static void hint_of(const Run *run, Err *err)
{
    const char *container = run->o->to.container;

    if (err->kind == ERR_DENIED)
        (void)err_hint(err, "the second side's login needs to list and write %s", container);
    else if (err->kind == ERR_QUOTA)
        (void)err_hint(err,
                       "make room for %s, or raise its quota; what is copied stays, the next run "
                       "goes on",
                       container);
}

static void take_job(Run *run, MirrorJob *j, Err *err)
{
    MirrorCount *c = run->count;
    bool failed = j->outcome == MIRROR_FAILED;

    if (failed && run->ended) { /* in its wake */
        mirror_job_free(j);
        return;
    }
    bool ends = failed && ends_all(run, j);
    if (!failed)
        run->in_a_row = 0;
    if (!ends || j->err.kind == ERR_TEMPORARY)
        c->n[j->outcome]++;
    if (j->outcome == MIRROR_COPIED) {
        c->bytes += j->bytes;
        c->by_store += j->by_store;
    }
    if (j->outcome != MIRROR_SAME && !ends && run->o->item)
        run->o->item(run->o->user, &(MirrorItem){.name = j->name,
                                                 .bytes = j->bytes,
                                                 .outcome = j->outcome,
                                                 .by_store = j->by_store,
                                                 .err = failed ? &j->err : NULL});
    if (run->o->progress)
        run->o->progress(run->o->user, c);
    if (ends) {
        run->ended = err_move(err, &j->err);
        hint_of(run, err);
    }
    mirror_job_free(j);
}

/* All that is done; with `wait`, at least one if there is any. */
static void take_jobs(Run *run, bool wait, Err *err)
{
    for (MirrorJob *j; (j = pool_take(run->pool, wait)); wait = false)
        take_job(run, j, err);
}

static void push(Run *run, const MirrorRow *want, const MirrorRow *have, MirrorNeed need, Err *err)
{
    MirrorJob *j = NEW(MirrorJob);

    j->name = xstrdup(want->name);
    j->bytes = want->bytes;
    j->look = need == MIRROR_NEED_LOOK;
    j->large = *want->large != '\0';
    if (have) {
        j->have_hash = xstrdup(have->hash);
        j->have = *have;
        j->have.hash = j->have_hash;
        j->have.name = j->name;
    }
    take_jobs(run, pool_full(run->pool), err);
    pool_push(run->pool, j);
}

/* Walking */

/* The first of both lists, or both of one name. */
static int step(Run *run, Err *err)
{
    MirrorRow want = {0}, have = {0};
    bool first = !run->from.done, second = !run->to.done;
    int r = first ? row_at(&run->from, &want, err) : 0;

    if (r == 0 && second)
        r = row_at(&run->to, &have, err);
    if (r < 0)
        return r;
    if (!run->o->with_cache && first && starts_with(want.name, CACHE)) {
        run->from.at++;
        return 0;
    }
    BUG_IF((first && !want.name) || (second && !have.name));
    int order = !first ? 1 : !second ? -1 : strcmp(want.name, have.name);
    run->from.at += order <= 0;
    run->to.at += order >= 0;
    if (order > 0) {
        run->count->kept++;
        return 0;
    }
    run->count->seen++;
    MirrorNeed need = mirror_need(&want, order == 0 ? &have : NULL);
    if (need == MIRROR_NEED_NONE) {
        run->count->n[MIRROR_SAME]++;
        return 0;
    }
    push(run, &want, order == 0 ? &have : NULL, need, err);
    return 0;
}

static int walk(Run *run, Err *err)
{
    int r = 0;

    while (r == 0 && !run->ended) {
        if (run->o->stop && *run->o->stop)
            r = err_set(err, ERR_INTERRUPTED, "interrupted");
        else
            r = next_pages(run, err);
        if (r < 0 || (run->from.done && run->to.done))
            break;
        r = step(run, err);
    }
    if (r < 0)
        return r;
    while (pool_count(run->pool) > 0 && !run->ended)
        take_jobs(run, true, err);
    return run->ended;
}

static void begin_cursor(Cursor *c, const MirrorOptions *o, Cloud *cloud, const char *container)
{
    c->cloud = cloud;
    c->container = container;
    c->span = o->with_cache ? &all_names : without_cache;
    c->spans_end = o->with_cache ? &all_names + 1 : without_cache + ARRAY_LEN(without_cache);
}

static void end_cursor(Cursor *c)
{
    json_decref(c->rows);
    free(c->after);
}

static void drop_job(void *job)
{
    mirror_job_free(job);
}

static int run_all(Run *run, Err *err)
{
    size_t jobs = (size_t)MIN(run->o->jobs > 0 ? run->o->jobs : MIRROR_JOBS, JOBS_MAX);
    const PoolWork work = {.begin = mirror_worker_begin,
                           .work = mirror_work,
                           .end = mirror_worker_end,
                           .user = &run->shared};
    int r = look(run, err);

    if (r < 0) {
        hint_of(run, err);
        return r;
    }
    run->pool = pool_new(&work, jobs, jobs * AHEAD);
    r = walk(run, err);
    run->pool = pool_free(run->pool, drop_job);
    if (r == 0 && run->count->n[MIRROR_FAILED] > 0) {
        r = err_set(err, ERR_PARTIAL, "%lld objects were not copied",
                    (long long)run->count->n[MIRROR_FAILED]);
        (void)err_hint(err, "the lines above say why; the next run tries them again");
    }
    return r;
}

int mirror_run(const MirrorOptions *o, MirrorCount *ret, Err *err)
{
    Run run = {.o = o, .shared = {.options = o}, .count = ret};

    *ret = (MirrorCount){0};
    run.own = mirror_worker_begin(&run.shared);
    begin_cursor(&run.from, o, run.own->from, o->from.container);
    begin_cursor(&run.to, o, run.own->to, o->to.container);
    int r = run_all(&run, err);
    end_cursor(&run.from);
    end_cursor(&run.to);
    mirror_worker_end(run.own);
    free(run.shared.account);
    return r;
}
