#include "stream/facts.h"
#include "stream/internal.h"

#define LOADS_MAX 4 /* of filters for one message, should they change all the time */

struct Job {
    struct Job *next; /* in the channel's ring, oldest behind the last */
    Jobs *jobs;
    Channel *channel;
    Buf text; /* the event, then the payload */
    size_t event_len;
    uint64_t number;
    Facts facts;
    bool filter; /* false: it only keeps its place behind others */
    bool asked, failed;
    int loads, loading;
    VEC(int64_t) hidden_from; /* sorted */
};

typedef struct Loading {
    int64_t account;
    uint32_t generation;
} Loading;

/* Filters of some accounts that are being read. */
typedef struct Load {
    Job *job;
    VEC(Loading) accounts;
} Load;

struct Jobs {
    Server *server;
    VEC(Channel *) channels; /* that have jobs */
    size_t len, bytes;
    Haystack haystack;
    Buf text, matches;
};

/* ---- who may see it ---- */

static bool may_see(const Subscription *sub, const Job *job)
{
    const Facts *f = &job->facts;
    const Languages *languages = sub->conn->languages;

    if (sub->since >= job->number || sub->conn->dead || sub->conn->state != CONN_OPEN)
        return false;
    if (f->local ? sub->deny_local : sub->deny_remote)
        return false;
    return !languages || (f->language && languages_have(languages, str_of(f->language)));
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static bool is_hidden(const Job *job, int64_t account)
{
    return job->hidden_from.len && bsearch(&account, job->hidden_from.items, job->hidden_from.len,
                                           sizeof(int64_t), compare);
}

/* ---- filters ---- */

static void add_row(Server *s, Filters *f, const PGresult *r, int row)
{
    Js *js = &s->js_small;
    Str contexts[32];
    Buf texts[ARRAY_LEN(contexts)];
    size_t n = 0;

    if (!PQgetisnull(r, row, 3) && js_read(js, pg_cell(r, row, 3)))
        for (const JsNode *e = js_first(js, js->nodes.items); e && n < ARRAY_LEN(contexts);
             e = js_after(js, js->nodes.items, e)) {
            texts[n] = BUF_INIT(BUF_MAX_LINE);
            (void)js_string(js, e, &texts[n]);
            contexts[n] = buf_as_str(&texts[n]);
            n++;
        }
    filters_add(f, &(FilterRow){.id = pg_cell_int(r, row, 1),
                                .phrase = pg_cell(r, row, 2),
                                .contexts = contexts,
                                .contexts_len = n,
                                .expires = pg_cell_int(r, row, 4),
                                .action = (int)pg_cell_int(r, row, 5),
                                .keyword = pg_cell(r, row, 6),
                                .whole_word = streq(PQgetvalue(r, row, 7), "t")});
    for (size_t i = 0; i < n; i++)
        buf_clear(&texts[i]);
}

/* Rows are sorted by account: the first of this one, by halving. */
static int first_row(const PGresult *r, int64_t account)
{
    int low = 0, high = PQntuples(r);

    while (low < high) {
        int middle = low + (high - low) / 2;
        if (pg_cell_int(r, middle, 0) < account)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void keep_filters(Server *s, const Loading *loading, const PGresult *r)
{
    Account *a = hub_account(&s->hub, loading->account);

    if (!a || a->filters_state != FILTERS_LOADING)
        return;
    a->filters_state = FILTERS_UNKNOWN;
    if (!r || a->generation != loading->generation)
        return; /* they have changed since: whoever needs them asks again */
    a->filters_state = FILTERS_KNOWN;
    for (int row = first_row(r, a->id); row < PQntuples(r) && pg_cell_int(r, row, 0) == a->id;
         row++) {
        if (!a->filters)
            a->filters = NEW(Filters);
        add_row(s, a->filters, r, row);
    }
}

static void advance_all(Jobs *j);

static void on_filters(void *user, const PGresult *r)
{
    Load *load = user;
    Job *job = load->job;
    Jobs *j = job->jobs;

    for (size_t i = 0; i < load->accounts.len; i++)
        keep_filters(j->server, &load->accounts.items[i], r);
    vec_clear(&load->accounts);
    free(load);
    job->loading--;
    if (!r)
        job->loads = LOADS_MAX; /* not for ever: those viewers do without */
    advance_all(j);
}

/* Reads what is not known of its viewers' filters. True if there is nothing to wait for. */
static bool filters_ready(Job *job)
{
    _cleanup_(buf_clear) Buf list = BUF_INIT(BUF_MAX_BODY);
    bool ready = true, more = job->loads < LOADS_MAX;
    Load *load = NULL;

    if (job->facts.has_filtered)
        return true;
    for (const Link *l = job->channel->first; l; l = l->next) {
        Account *a = l->of->conn->account;
        if (!a || a->filters_state == FILTERS_KNOWN || !may_see(l->of, job) ||
            is_hidden(job, a->id))
            continue;
        ready = ready && !(a->filters_state == FILTERS_LOADING || more);
        if (a->filters_state == FILTERS_LOADING || !more)
            continue;
        if (!load)
            load = NEW(Load);
        vec_push(&load->accounts, (Loading){a->id, a->generation});
        a->filters_state = FILTERS_LOADING;
        pg_array_add(&list, a->id);
    }
    if (load) {
        load->job = job;
        job->loads++;
        job->loading++;
        pg_array_end(&list);
        lookup_filters(job->jobs->server->lookup, list.p, on_filters, load);
    }
    return ready;
}

/* ---- delivering ---- */

/* The text is taken from the message when the first viewer needs it. */
static void prepare_text(Jobs *j, const Job *job)
{
    Server *s = j->server;
    Str payload = {job->text.p + job->event_len, job->text.len - job->event_len};

    buf_truncate(&j->text, 0);
    if (js_read(&s->js_small, payload))
        text_of_status(&s->js_small, s->js_small.nodes.items, &j->text);
    haystack_set(&j->haystack, buf_as_str(&j->text));
}

static void deliver_filtered(Jobs *j, const Job *job, const FrameEvent *plain)
{
    Server *s = j->server;
    Msec now = time_now();
    FrameCache shared = {0}, own = {0};
    bool prepared = false;

    for (const Link *l = job->channel->first; l; l = l->next) {
        const Account *a = l->of->conn->account;
        FrameEvent e = *plain;
        if (!a || !may_see(l->of, job) || is_hidden(job, a->id))
            continue;
        if (!job->facts.has_filtered && a->filters_state != FILTERS_KNOWN) {
            s->metrics.failed_filter++;
            continue;
        }
        if (!job->facts.has_filtered)
            e.filtered = STR_LIT("[]");
        if (!job->facts.has_filtered && a->filters && filters_live(a->filters, now)) {
            if (!prepared)
                prepare_text(j, job);
            prepared = true;
            buf_truncate(&j->matches, 0);
            filters_match(a->filters, &j->haystack, now, &j->matches);
            e.filtered = buf_as_str(&j->matches);
        }
        if (e.filtered.n > 2) {
            message_send(s, l->of, &e, &own);
            frame_cache_clear(&own);
        } else {
            message_send(s, l->of, &e, &shared);
        }
    }
    frame_cache_clear(&shared);
}

static void deliver(Jobs *j, Job *job)
{
    Delivery d = {.event = {job->text.p, job->event_len},
                  .payload = {job->text.p + job->event_len, job->text.len - job->event_len},
                  .number = job->number};

    if (!job->filter)
        message_deliver(j->server, job->channel, &d);
    else if (!job->failed)
        deliver_filtered(j, job, &(FrameEvent){.event = d.event, .payload = d.payload});
}

static void job_free(Job *job)
{
    facts_clear(&job->facts);
    buf_clear(&job->text);
    vec_clear(&job->hidden_from);
    free(job);
}

static bool is_ready(Job *job)
{
    if (!job->filter)
        return true;
    if (job->asked || job->loading)
        return false;
    return job->failed || filters_ready(job);
}

/* Delivers from the front as far as answers are there: order is kept. */
static void advance(Jobs *j, Channel *c)
{
    while (c->jobs) {
        Job *first = c->jobs->next;
        if (!is_ready(first))
            return;
        deliver(j, first);
        if (first == c->jobs)
            c->jobs = NULL;
        else
            c->jobs->next = first->next;
        j->len--;
        j->bytes -= first->text.len;
        job_free(first);
    }
    for (size_t i = 0; i < j->channels.len; i++)
        if (j->channels.items[i] == c) {
            vec_remove(&j->channels, i);
            break;
        }
    if (!c->first)
        hub_touch(&j->server->hub, c);
}

static void advance_all(Jobs *j)
{
    for (size_t i = j->channels.len; i > 0; i--)
        advance(j, j->channels.items[i - 1]);
}

/* ---- beginning ---- */

static void on_relations(void *user, const PGresult *r)
{
    Job *job = user;

    job->asked = false;
    job->failed = !r;
    job->jobs->server->metrics.failed_filter += !r;
    for (int i = 0; r && i < PQntuples(r); i++)
        vec_push(&job->hidden_from, pg_cell_int(r, i, 0));
    if (job->hidden_from.len)
        qsort(job->hidden_from.items, job->hidden_from.len, sizeof(int64_t), compare);
    advance(job->jobs, job->channel);
}

/* One statement for all of its viewers. */
static void ask(Job *job)
{
    _cleanup_(buf_clear) Buf viewers = BUF_INIT(BUF_MAX_BODY), targets = BUF_INIT(BUF_MAX_BODY);
    char author[24];
    const Facts *f = &job->facts;

    for (const Link *l = job->channel->first; l; l = l->next)
        if (l->of->conn->account && may_see(l->of, job))
            pg_array_add(&viewers, l->of->conn->account->id);
    pg_array_end(&viewers);
    for (size_t i = 0; i < f->targets.len; i++)
        pg_array_add(&targets, f->targets.items[i]);
    pg_array_end(&targets);
    (void)snprintf(author, sizeof(author), "%lld", (long long)f->author);
    job->asked = true;
    lookup_relations(job->jobs->server->lookup, viewers.p, targets.p, author, f->domain,
                     on_relations, job);
    (void)filters_ready(job); /* asks for those it needs at the same time */
}

static bool has_viewers(const Job *job)
{
    for (const Link *l = job->channel->first; l; l = l->next)
        if (may_see(l->of, job))
            return true;
    return false;
}

static void append(Jobs *j, Job *job)
{
    Channel *c = job->channel;

    if (c->jobs) {
        job->next = c->jobs->next;
        c->jobs->next = job;
    } else {
        job->next = job;
        vec_push(&j->channels, c);
    }
    c->jobs = job;
    j->len++;
    j->bytes += job->text.len;
}

bool jobs_take(Jobs *j, Channel *c, const Delivery *d, const JsNode *payload)
{
    Server *s = j->server;
    bool status =
        str_eq(d->event, STR_LIT("\"update\"")) || str_eq(d->event, STR_LIT("\"status.update\""));
    bool filter = status && stream_row((StreamId)c->first->of->stream)->filtered;
    Job *job;

    if (!filter && !c->jobs)
        return false;
    if (j->len >= (size_t)s->settings->pending_jobs ||
        j->bytes > (size_t)s->settings->pending_bytes) {
        s->metrics.over_pending++;
        return true;
    }
    job = NEW(Job);
    job->jobs = j;
    job->channel = c;
    job->number = d->number;
    job->filter = filter;
    job->text = BUF_INIT(SIZE_MAX / 2);
    if (filter && !facts_read(&s->js, payload, &job->facts)) {
        s->metrics.malformed++;
        job_free(job);
        return true;
    }
    if (filter && !has_viewers(job)) {
        job_free(job);
        return true;
    }
    buf_add(&job->text, d->event.p, d->event.n);
    job->event_len = d->event.n;
    buf_add(&job->text, d->payload.p, d->payload.n);
    append(j, job);
    if (filter)
        ask(job);
    return true;
}

Jobs *jobs_new(Server *s)
{
    Jobs *j = NEW(Jobs);
    j->server = s;
    j->text = j->matches = BUF_INIT(BUF_MAX_BODY);
    return j;
}

Jobs *jobs_free(Jobs *j)
{
    if (!j)
        return NULL;
    advance_all(j);
    vec_clear(&j->channels);
    haystack_clear(&j->haystack);
    buf_clear(&j->text);
    buf_clear(&j->matches);
    free(j);
    return NULL;
}
