/* Asking, and reading what is answered: chunk after chunk, from all servers at once. */
#include "cmd/ask.h"
#include "host/boot.h"
#include "host/mail.h"
#include <errno.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <unistd.h>

#define LOOK_FAST ((Msec)200)
#define LOOK_SLOW ((Msec)1000)
#define FAST_FOR (15 * SECOND)
#define SAY_AFTER (2 * SECOND)
#define ASIDE_AFTER (3 * SECOND) /* and so often: what says that no answer will come */
#define BEGIN_LIMIT (1 * MINUTE)
#define CLOCKS (30 * SECOND) /* a server's may differ by so much */
#define QUIET_LIMIT (4 * ANSWER_BEAT)
#define EXTEND_PART 2 / 3 /* of the limit */

typedef struct Stream {
    const AskTarget *t;
    int64_t number, chunk;
    int64_t last, taken; /* our newest number; up to which the host has taken what it was asked */
    VEC(int64_t) own;    /* our numbers */
    int64_t in_sent, in_done; /* bytes of input */
    bool in_ended;
    Msec sent, heard, look_at, aside_at, extend_at;
    bool begun, ended, said;
    int status;
} Stream;

typedef struct Streams {
    AskSession *s;
    const Ask *ask;
    const AskOutput *output;
    Stream *items;
    size_t len;
    bool unread; /* nobody reads the output any more */
} Streams;

/* What one GET is for. */
typedef enum Look { LOOK_CHUNK, LOOK_LOST, LOOK_REFUSED } Look;
typedef struct Asked {
    Stream *stream;
    Look look;
} Asked;

static Cloud *island_cloud(const AskSession *s)
{
    return s->c->clouds.of[CLOUD_OF_ISLAND];
}

static const char *nonce_of(const AskTarget *t)
{
    return json_str_or(t->host->attrs, "boot", "");
}

/* --- sending --- */

static int send_ask(const AskSession *s, Cloud *cloud, const AskTarget *t, const Ask *ask,
                    int64_t number, int64_t *ret_number, Err *err)
{
    _cleanup_json_ json_t *json = NULL;

    int r = ask_write(ask, &json, err);
    if (r < 0)
        return r;
    return boot_ask(&(SendInput){.cloud = cloud,
                                 .island = s->c->island.name,
                                 .server = t->host->key,
                                 .nonce = nonce_of(t),
                                 .number = number,
                                 .expect_key = json_str(t->host->attrs, "sent_key"),
                                 .now = cloud_now(cloud)},
                    json, s->vault, ret_number, err);
}

/* One more ask to the same host; `more`: its verb, and what that needs. */
static int send_about(const Streams *all, Cloud *cloud, Stream *x, const Ask *more, Err *err)
{
    Ask ask = *more;

    ask.id = all->ask->id;
    ask.by = all->ask->by;
    ask.limit = all->ask->limit;
    ask.until = all->ask->until;
    int r = send_ask(all->s, cloud, x->t, &ask, x->last + 1, &x->last, err);
    if (r == 0)
        vec_push(&x->own, x->last);
    return r;
}

/* After Ctrl-C, with a login of its own: the one at hand makes no request any more. */
static void cancel_all(const Streams *all)
{
    static const volatile sig_atomic_t never;
    Cmd again = *all->s->c;
    Cloud *cloud = NULL;
    _cleanup_(err_clear) Err err = {0};

    again.stop = &never;
    again.http = http_new(&(HttpOptions){.stop = &never});
    int r = cmd_cloud(&again, again.island.cloud, &cloud, &err);
    for (size_t i = 0; r == 0 && i < all->len; i++) {
        if (all->items[i].ended)
            continue;
        r = send_about(all, cloud, &all->items[i], &(Ask){.verb = ASK_CANCEL}, &err);
    }
    if (r < 0)
        fprintf(stderr, "it could not be told to end (%s), and ends at its limit\n", err.text);
    (void)cloud_free(cloud);
    (void)http_free(again.http);
}

/* --- what comes --- */

static void say_end(const Stream *x, const json_t *end)
{
    const char *why = json_str(end, "why");

    if (why)
        fprintf(stderr, "%s: %s\n", x->t->host->key, why);
    if (json_object_get(end, "cut"))
        fprintf(stderr, "%s: what it wrote behind the first %lld MB was dropped\n", x->t->host->key,
                (long long)json_int(end, "cut", 0) >> 20);
}

static int read_end(Streams *all, Stream *x, const json_t *end, Err *err)
{
    const char *refused = json_str(end, "refused");

    x->ended = true;
    if (all->output->end)
        all->output->end(all->output->user, x->t);
    if (refused)
        return err_set(err, ERR_CONFLICT, "%s: %s", x->t->host->key, refused);
    say_end(x, end);
    x->status = json_object_get(end, "signal") ? 128 + (int)json_int(end, "signal", 0)
                                               : (int)json_int(end, "exit", 0);
    return 0;
}

static int read_lost(Stream *x, Err *err)
{
    x->ended = true;
    return err_set(err, ERR_TEMPORARY,
                   "%s: its host program was killed while this ran, and this with it; how far it "
                   "had come is not known",
                   x->t->host->key);
}

static int read_chunk(Streams *all, Stream *x, int64_t number, const Call *call, Err *err)
{
    ChunkPlace p = {x->t->host->key, nonce_of(x->t), x->number, number};
    _cleanup_(chunk_clear) Chunk c = {0};
    const char *from;
    Str data;

    int r = chunk_open(buf_as_str(&call->text), &p, &all->s->c->keys.own, &c, err);
    if (r < 0)
        return r;
    x->begun = true;
    x->chunk++;
    x->in_done = json_int(c.head, "input", 0);
    x->taken = json_int(c.head, "taken", 0);
    x->heard = time_mono();
    x->look_at = 0;
    for (size_t i = 0; chunk_part(&c, i, &from, &data); i++)
        if (!all->output->part(all->output->user, x->t, from, data))
            all->unread = true;
    const json_t *end = json_object_get(c.head, "end");
    return end ? read_end(all, x, end, err) : 0;
}

/* By a host that is too old to know asks, or by one to which it is not what it should be. */
static int read_refused(Stream *x, const Call *call, Err *err)
{
    _cleanup_json_ json_t *report = json_parse_new(call->text.p, call->text.len, NULL);

    x->ended = true;
    err_set(err, ERR_CONFLICT, "%s refuses: %s (it runs atoll %s, this is %s)", x->t->host->key,
            json_str_or(report, "why", "?"), json_str_or(report, "version", "?"), ATOLL_VERSION);
    return err_hint(err,
                    "`atoll upgrade` gives servers whose atoll is too old for this a newer one");
}

/* Nothing came. */
static int read_nothing(Stream *x, Msec now, Err *err)
{
    Msec quiet = now - x->heard;

    x->look_at = now + (quiet < FAST_FOR ? LOOK_FAST : LOOK_SLOW);
    if (!x->begun && !x->said && quiet >= SAY_AFTER) {
        fprintf(stderr, "waiting for %s (it looks every 10 s)\n", x->t->host->key);
        x->said = true;
    }
    if (quiet < (x->begun ? QUIET_LIMIT : BEGIN_LIMIT))
        return 0;
    x->ended = true;
    if (x->begun)
        return err_set(
            err, ERR_TEMPORARY,
            "%s has said nothing for %lld s: its host program has stopped or can't reach "
            "the object store, and what the command did is not known",
            x->t->host->key, (long long)(quiet / SECOND));
    return err_set(err, ERR_TEMPORARY,
                   "%s did not begin it within %lld s, and will not begin it later than half a "
                   "minute from now",
                   x->t->host->key, (long long)(BEGIN_LIMIT / SECOND));
}

/* --- looking --- */

static char *path_new(const Streams *all, const Stream *x, Look look)
{
    ChunkPlace p = {x->t->host->key, nonce_of(x->t), x->number,
                    look == LOOK_LOST ? ANSWER_LOST : x->chunk};
    _cleanup_free_ char *chunk = chunk_name(&p);
    _cleanup_free_ char *refused = mail_out(p.server, p.nonce, p.number, "refused");

    if (look == LOOK_REFUSED)
        return xasprintf("/%s-mail/%s", all->s->c->island.name, refused);
    return xasprintf("/%s-mail/%s/%s/out/%s", all->s->c->island.name, p.server, p.nonce, chunk);
}

typedef struct Batch {
    VEC(Call) calls;
    VEC(Asked) asked;
} Batch;

static void add(const Streams *all, Stream *x, Look look, Batch *b)
{
    vec_push(&b->asked, (Asked){x, look});
    vec_push(&b->calls, (Call){.cloud = island_cloud(all->s),
                               .service = CLOUD_OBJECT,
                               .kind = CALL_READ,
                               .method = "GET",
                               .path = path_new(all, x, look),
                               .want_text = true,
                               .max = ANSWER_SEALED_MAX});
}

static void batch_clear(Batch *b)
{
    for (size_t i = 0; i < b->calls.len; i++)
        call_clear(&b->calls.items[i]);
    vec_clear(&b->calls);
    vec_clear(&b->asked);
}
DEFINE_CLEAR(Batch, batch_clear)

static void add_due(const Streams *all, Msec now, Batch *b)
{
    for (size_t i = 0; i < all->len; i++) {
        Stream *x = &all->items[i];
        if (x->ended || now < x->look_at)
            continue;
        /* In this order: what was said before the end counts. */
        if (now - x->heard >= ASIDE_AFTER && now >= x->aside_at) {
            x->aside_at = now + ASIDE_AFTER;
            add(all, x, x->begun ? LOOK_LOST : LOOK_REFUSED, b);
            if (!x->begun)
                add(all, x, LOOK_LOST, b);
        }
        add(all, x, LOOK_CHUNK, b);
    }
}

static int read_one(Streams *all, const Asked *asked, Call *call, bool *lost, Msec now, Err *err)
{
    Stream *x = asked->stream;

    if (call->err.kind == ERR_NOT_FOUND && call->status == 404) {
        if (asked->look != LOOK_CHUNK || x->ended)
            return 0;
        return read_nothing(x, now, err);
    }
    if (call->err.kind != ERR_NONE)
        return err_move(err, &call->err);
    if (asked->look == LOOK_REFUSED)
        return read_refused(x, call, err);
    /* Chunks that came in between are read first: at the next look. */
    if (asked->look == LOOK_LOST) {
        *lost = true;
        return 0;
    }
    return read_chunk(all, x, x->chunk, call, err);
}

/* One look at all that is due. The first failure is kept; the others go on. */
static void look(Streams *all, Err *first)
{
    _cleanup_(batch_clear) Batch b = {0};
    Msec now = time_mono();

    add_due(all, now, &b);
    if (b.calls.len > 0)
        (void)cloud_perform(b.calls.items, b.calls.len, NULL); /* each has its own error */
    now = time_mono();
    bool lost = false;
    for (size_t i = 0; i < b.calls.len; i++) {
        const Asked *asked = &b.asked.items[i];
        _cleanup_(err_clear) Err err = {0};
        int64_t before = asked->stream->chunk;

        int r = read_one(all, asked, &b.calls.items[i], &lost, now, &err);
        if (r == 0 && asked->look == LOOK_CHUNK) {
            if (lost && asked->stream->chunk == before && !asked->stream->ended)
                r = read_lost(asked->stream, &err);
            lost = false;
        }
        if (r == -ERR_INTERRUPTED)
            return;
        if (r < 0) {
            asked->stream->ended = true;
            if (first->kind == ERR_NONE)
                (void)err_move(first, &err);
            else
                fprintf(stderr, "%s\n", err.text);
        }
    }
}

static void extend(Streams *all, Msec now)
{
    for (size_t i = 0; i < all->len; i++) {
        Stream *x = &all->items[i];
        if (x->ended || !all->ask->follow || now < x->extend_at)
            continue;
        /* What goes wrong here shows soon enough: its limit ends it. */ (void)send_about(
            all, island_cloud(all->s), x, &(Ask){.verb = ASK_EXTEND}, NULL);
        x->extend_at = now + all->ask->limit * EXTEND_PART;
    }
}

/* Input may be read: not more of it than the host has room for. */
static bool takes_input(const Streams *all)
{
    const Stream *x = &all->items[0];

    return all->ask->input && x->begun && !x->ended && !x->in_ended &&
           x->in_sent - x->in_done <= (int64_t)(ASK_INPUT_AHEAD - ASK_INPUT_BYTES);
}

static int pass_input(Streams *all, Err *err)
{
    struct pollfd ready = {.fd = all->output->input_fd, .events = POLLIN};
    Stream *x = &all->items[0];
    char piece[ASK_INPUT_BYTES];

    if (!takes_input(all) || poll(&ready, 1, 0) <= 0)
        return 0;
    ssize_t n = read(ready.fd, piece, sizeof piece);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    if (n < 0)
        return err_set(err, ERR_IO, "cannot read standard input: %m");
    Ask more = {.verb = ASK_INPUT, .data = BUF_INIT(ASK_INPUT_BYTES), .eof = n == 0};
    buf_add(&more.data, piece, (size_t)n);
    explicit_bzero(piece, sizeof piece);
    x->in_sent += n;
    x->in_ended = n == 0;
    x->look_at = 0;
    int r = send_about(all, island_cloud(all->s), x, &more, err);
    buf_wipe(&more.data);
    return r;
}

/* What the host has taken is of no more use there, but for our last: its number must not be given
 * again. Without this they go by themselves, later. */
static void clean_up(const Streams *all)
{
    VEC(Call) calls = {0};

    for (size_t i = 0; i < all->len; i++) {
        const Stream *x = &all->items[i];
        for (size_t k = 0; k < x->own.len; k++) {
            int64_t number = x->own.items[k];
            if (!x->ended || number >= x->last || number > x->taken)
                continue;
            _cleanup_free_ char *name = mail_in(x->t->host->key, nonce_of(x->t), number);
            vec_push(&calls,
                     (Call){.cloud = island_cloud(all->s),
                            .service = CLOUD_OBJECT,
                            .kind = CALL_IDEMPOTENT,
                            .method = "DELETE",
                            .path = xasprintf("/%s-mail/%s", all->s->c->island.name, name)});
        }
    }
    if (calls.len > 0)
        (void)cloud_perform(calls.items, calls.len, NULL); /* see above */
    for (size_t i = 0; i < calls.len; i++)
        call_clear(&calls.items[i]);
    vec_clear(&calls);
}

static bool any_open(const Streams *all)
{
    for (size_t i = 0; i < all->len; i++)
        if (!all->items[i].ended)
            return true;
    return false;
}

static void wait_a_while(const Streams *all)
{
    Msec now = time_mono(), until = now + LOOK_SLOW;

    for (size_t i = 0; i < all->len; i++)
        if (!all->items[i].ended)
            until = MIN(until, all->items[i].look_at);
    struct pollfd ready = {.fd = all->output->input_fd, .events = POLLIN};
    if (until > now)
        (void)poll(&ready, takes_input(all), (int)(until - now)); /* a signal ends it */
}

static int read_all(Streams *all, Err *err)
{
    _cleanup_(err_clear) Err first = {0};

    while (any_open(all)) {
        if (*all->s->c->stop || all->unread) {
            cancel_all(all);
            return all->unread ? err_set(err, ERR_IO, "writing to standard output failed")
                               : err_set(err, ERR_INTERRUPTED, "interrupted");
        }
        int r = pass_input(all, err);
        if (r < 0 && r != -ERR_INTERRUPTED) {
            cancel_all(all);
            return r;
        }
        extend(all, time_mono());
        look(all, &first);
        if (any_open(all))
            wait_a_while(all);
    }
    return first.kind == ERR_NONE ? 0 : err_move(err, &first);
}

static char *by_new(void)
{
    const struct passwd *me = getpwuid(geteuid());
    char host[256] = "";

    (void)gethostname(host, sizeof host - 1);
    return xasprintf("%s@%s", me ? me->pw_name : "?", *host ? host : "?");
}

static int begin(Streams *all, Ask *ask, Err *err)
{
    for (size_t i = 0; i < all->len; i++) {
        Stream *x = &all->items[i];

        x->t = &all->s->targets.items[i];
        free(ask->what);
        ask->what = xstrdup(x->t->what);
        ask->until = cloud_now(island_cloud(all->s)) + BEGIN_LIMIT + CLOCKS;
        int r = send_ask(all->s, island_cloud(all->s), x->t, ask,
                         json_int(x->t->host->attrs, "next", 1), &x->last, err);
        if (r < 0) {
            all->len = i;
            cancel_all(all);
            return r;
        }
        x->number = x->last;
        vec_push(&x->own, x->number);
        x->sent = x->heard = time_mono();
        x->look_at = x->sent + LOOK_FAST;
        x->extend_at = x->sent + ask->limit * EXTEND_PART;
    }
    return 0;
}

int ask_session_run(AskSession *s, Ask *ask, const AskOutput *output, int *ret_status, Err *err)
{
    _cleanup_free_ Stream *items = xcalloc(s->targets.len + 1, sizeof *items);
    Streams all = {.s = s, .ask = ask, .output = output, .items = items, .len = s->targets.len};
    char id[17];

    boot_nonce(id);
    ask->id = xstrdup(id);
    ask->by = by_new();
    for (size_t i = 0; i < s->c->keys.recipients.len; i++)
        strlist_add(&ask->to, s->c->keys.recipients.items[i]);
    int r = begin(&all, ask, err);
    if (r == 0)
        r = read_all(&all, err);
    if (r == 0)
        clean_up(&all);
    int status = 0;
    for (size_t i = 0; i < s->targets.len; i++) {
        status = MAX(status, items[i].status);
        vec_clear(&items[i].own);
    }
    if (r == 0)
        *ret_status = status;
    return r;
}
