#include "host/mailbox.h"
#include "host/bundle.h"
#include "host/mail.h"
#include "io/http.h"

#include <pthread.h>

#define REQUEST_MS (20 * SECOND)
#define RETRY_FIRST (2 * SECOND)
#define RETRY_MAX (30 * SECOND)
#define CLOSE_GRACE_MS 500

typedef struct Letter {
    char *name, *body;
    int64_t life_s;
    Msec until; /* not given up before; 0: for a newer one, at any time */
} Letter;

/* Both kinds, and one that comes back. */
#define LETTERS (MAILBOX_PENDING + MAILBOX_KEPT + 1)

struct Mailbox {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* told to both sides */
    volatile sig_atomic_t closing;
    /* Under the lock. */
    char *in_url, *out_url;
    int64_t next, found;
    Msec poll_ms;
    Letter out[LETTERS];
    size_t n_out;
    bool busy;
    bool busy_kept; /* with a letter that must not be lost */
    char *text;     /* the bundle `found` */
    char *trouble;
    /* The thread's own. */
    Http *http;
    Msec retry, poll_at, send_at;
};

static void letter_clear(Letter *l)
{
    free(l->name);
    free(l->body);
    *l = (Letter){0};
}

/* The oldest letter, with the URL to send it to; false if there is none. */
static bool next_letter(Mailbox *m, Letter *ret, char **ret_url)
{
    if (m->n_out == 0)
        return false;
    *ret = m->out[0];
    m->n_out--;
    memmove(m->out, m->out + 1, m->n_out * sizeof *m->out);
    m->busy_kept = ret->until > 0;
    *ret_url = mail_url(m->out_url, ret->name);
    return true;
}

static bool has_letter(const Mailbox *m, const char *name)
{
    for (size_t i = 0; i < m->n_out; i++)
        if (streq(m->out[i].name, name))
            return true;
    return false;
}

static size_t count(const Mailbox *m, bool kept)
{
    size_t n = kept && m->busy_kept;

    for (size_t i = 0; i < m->n_out; i++)
        n += (m->out[i].until > 0) == kept;
    return n;
}

static void remove_letter(Mailbox *m, size_t i)
{
    letter_clear(&m->out[i]);
    m->n_out--;
    memmove(m->out + i, m->out + i + 1, (m->n_out - i) * sizeof *m->out);
}

static void set_trouble(Mailbox *m, char *words)
{
    free(m->trouble);
    m->trouble = words;
}

/* What an answer means: NULL if it is as it should be, else words. A 404 for a bundle is not one.
 */
static char *trouble_of(const char *what, const HttpResponse *r)
{
    if (r->status == 0)
        return xasprintf("%s: %s", what, r->err.text ? r->err.text : "no answer");
    if (r->status == 401)
        return xasprintf("%s: its URL has expired or is not good", what);
    if (r->status / 100 != 2)
        return xasprintf("%s: the object store answers %d", what, r->status);
    return NULL;
}

static char *send_letter(Mailbox *m, const Letter *l, const char *url)
{
    _cleanup_(strlist_clear) StrList headers = {0};
    _cleanup_(http_response_clear) HttpResponse answer = {0};

    strlist_add(&headers, "Content-Type: application/json");
    if (l->life_s > 0)
        strlist_addf(&headers, "X-Delete-After: %lld", (long long)l->life_s);
    http_perform(m->http,
                 &(HttpRequest){.method = "PUT",
                                .url = url,
                                .headers = &headers,
                                .body = str_of(l->body),
                                .timeout_ms = REQUEST_MS},
                 &answer, 1);
    return trouble_of("sending a report", &answer);
}

static char *fetch(Mailbox *m, const char *url, char **ret_text)
{
    _cleanup_(http_response_clear) HttpResponse answer = {0};

    http_perform(
        m->http,
        &(HttpRequest){
            .method = "GET", .url = url, .max_body = BUNDLE_TEXT_MAX, .timeout_ms = REQUEST_MS},
        &answer, 1);
    if (answer.status == 404)
        return NULL;
    char *trouble = trouble_of("looking for a bundle", &answer);
    if (!trouble)
        *ret_text = buf_detach(&answer.body);
    return trouble;
}

/* Called with the lock held, and gives it up for the request. */
static void send_one(Mailbox *m)
{
    _cleanup_free_ char *url = NULL;
    Letter l;

    if (time_mono() < m->send_at || !next_letter(m, &l, &url))
        return;
    m->busy = true;
    pthread_mutex_unlock(&m->lock);
    char *trouble = send_letter(m, &l, url);
    pthread_mutex_lock(&m->lock);
    m->busy = false;
    m->retry = trouble ? MIN(MAX(2 * m->retry, RETRY_FIRST), RETRY_MAX) : 0;
    m->send_at = time_mono() + m->retry;
    m->busy_kept = false;
    /* It goes back to the front, unless a newer one of its name has come in the meantime. */
    bool room = l.until ? time_mono() < l.until : count(m, false) < MAILBOX_PENDING;
    if (trouble && room && !has_letter(m, l.name)) {
        memmove(m->out + 1, m->out, m->n_out * sizeof *m->out);
        m->out[0] = l;
        m->n_out++;
        l = (Letter){0};
    }
    letter_clear(&l);
    set_trouble(m, trouble);
    pthread_cond_broadcast(&m->changed);
}

static void fetch_next(Mailbox *m)
{
    if (m->text || time_mono() < m->poll_at)
        return;
    int64_t number = m->next;
    char name[16], *text = NULL;
    snprintf(name, sizeof name, "%08lld", (long long)number);
    _cleanup_free_ char *url = mail_url(m->in_url, name);
    pthread_mutex_unlock(&m->lock);
    char *trouble = fetch(m, url, &text);
    pthread_mutex_lock(&m->lock);
    m->poll_at = time_mono() + (trouble ? MAX(m->poll_ms, RETRY_FIRST) : m->poll_ms);
    if (text && number == m->next) {
        m->text = text;
        m->found = number;
    } else {
        free(text);
    }
    if (trouble || m->n_out == 0)
        set_trouble(m, trouble);
}

static void wait_a_while(Mailbox *m)
{
    Msec now = time_mono();
    Msec until = m->text ? now + m->poll_ms : m->poll_at;
    if (m->n_out > 0)
        until = MIN(until, m->send_at);
    until = MAX(until, now + 10);
    struct timespec at = {.tv_sec = until / SECOND, .tv_nsec = (long)(until % SECOND) * 1000000};
    (void)pthread_cond_timedwait(&m->changed, &m->lock, &at);
}

static void *run(void *arg)
{
    Mailbox *m = arg;

    pthread_mutex_lock(&m->lock);
    while (!m->closing) {
        send_one(m);
        if (!m->closing)
            fetch_next(m);
        if (!m->closing)
            wait_a_while(m);
    }
    pthread_mutex_unlock(&m->lock);
    return NULL;
}

Mailbox *mailbox_open(const char *in_url, const char *out_url, int64_t next)
{
    Mailbox *m = NEW(Mailbox);
    pthread_condattr_t attr;
    sigset_t all, before;

    m->in_url = xstrdup(in_url);
    m->out_url = xstrdup(out_url);
    m->next = next;
    m->poll_ms = SECOND;
    m->http = http_new(&(HttpOptions){.stop = &m->closing, .grace_ms = CLOSE_GRACE_MS});
    pthread_mutex_init(&m->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&m->changed, &attr);
    pthread_condattr_destroy(&attr);
    /* Signals are the agent's. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    BUG_IF(pthread_create(&m->thread, NULL, run, m) != 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return m;
}

void mailbox_urls(Mailbox *m, const char *in_url, const char *out_url)
{
    pthread_mutex_lock(&m->lock);
    free(m->in_url);
    free(m->out_url);
    m->in_url = xstrdup(in_url);
    m->out_url = xstrdup(out_url);
    pthread_mutex_unlock(&m->lock);
}

void mailbox_next(Mailbox *m, int64_t number, Msec poll_ms)
{
    pthread_mutex_lock(&m->lock);
    if (poll_ms < m->poll_ms) {
        m->poll_at = MIN(m->poll_at, time_mono() + poll_ms);
        pthread_cond_broadcast(&m->changed);
    }
    m->next = number;
    m->poll_ms = poll_ms;
    pthread_mutex_unlock(&m->lock);
}

void mailbox_put(Mailbox *m, const char *name, const char *body, int64_t life_s)
{
    pthread_mutex_lock(&m->lock);
    for (size_t i = m->n_out; i-- > 0;)
        if (streq(m->out[i].name, name))
            remove_letter(m, i);
    /* The cloud has been away for long: what is oldest is of no more interest. */
    for (size_t i = 0; i < m->n_out && count(m, false) >= MAILBOX_PENDING; i++)
        if (!m->out[i].until)
            remove_letter(m, i--);
    m->out[m->n_out++] = (Letter){.name = xstrdup(name), .body = xstrdup(body), .life_s = life_s};
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
}

bool mailbox_put_kept(Mailbox *m, const char *name, const char *body, int64_t life_s)
{
    pthread_mutex_lock(&m->lock);
    bool room = count(m, true) < MAILBOX_KEPT;
    if (room) {
        m->out[m->n_out++] = (Letter){.name = xstrdup(name),
                                      .body = xstrdup(body),
                                      .life_s = life_s,
                                      .until = time_mono() + life_s * SECOND};
        pthread_cond_broadcast(&m->changed);
    }
    pthread_mutex_unlock(&m->lock);
    return room;
}

size_t mailbox_room(Mailbox *m)
{
    pthread_mutex_lock(&m->lock);
    size_t n = MAILBOX_KEPT - count(m, true);
    pthread_mutex_unlock(&m->lock);
    return n;
}

bool mailbox_take(Mailbox *m, int64_t *ret_number, char **ret_text)
{
    pthread_mutex_lock(&m->lock);
    bool there = m->text != NULL;
    if (there) {
        *ret_number = m->found;
        *ret_text = TAKE(m->text);
        m->next = m->found + 1;
        m->poll_at = 0;
        pthread_cond_broadcast(&m->changed);
    }
    pthread_mutex_unlock(&m->lock);
    return there;
}

char *mailbox_trouble(Mailbox *m)
{
    pthread_mutex_lock(&m->lock);
    char *words = m->trouble ? xstrdup(m->trouble) : NULL;
    pthread_mutex_unlock(&m->lock);
    return words;
}

Mailbox *mailbox_close(Mailbox *m, Msec flush_ms)
{
    if (!m)
        return NULL;
    Msec deadline = time_mono() + flush_ms;
    struct timespec at = {.tv_sec = deadline / SECOND,
                          .tv_nsec = (long)(deadline % SECOND) * 1000000};

    pthread_mutex_lock(&m->lock);
    while ((m->n_out > 0 || m->busy) && pthread_cond_timedwait(&m->changed, &m->lock, &at) == 0)
        ;
    m->closing = 1;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
    pthread_join(m->thread, NULL);
    (void)http_free(m->http);
    for (size_t i = 0; i < m->n_out; i++)
        letter_clear(&m->out[i]);
    free(m->in_url);
    free(m->out_url);
    free(m->text);
    free(m->trouble);
    pthread_cond_destroy(&m->changed);
    pthread_mutex_destroy(&m->lock);
    free(m);
    return NULL;
}
