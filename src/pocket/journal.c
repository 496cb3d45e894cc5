#include "pocket/journal.h"
#include "base/buf.h"
#include "base/json.h"
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

struct Journal {
    int fd;
    pthread_mutex_t lock;
    int64_t arrivals;
};

int journal_open(const char *path, Journal **ret, Err *err)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set(err, ERR_IO, "opening %s: %m", path);
    Journal *j = NEW(Journal);
    j->fd = fd;
    pthread_mutex_init(&j->lock, NULL);
    *ret = j;
    return 0;
}

Journal *journal_close(Journal *j)
{
    if (!j)
        return NULL;
    close(j->fd);
    pthread_mutex_destroy(&j->lock);
    free(j);
    return NULL;
}

int64_t journal_arrival(Journal *j)
{
    return __atomic_add_fetch(&j->arrivals, 1, __ATOMIC_SEQ_CST);
}

/* The query without what would let a reader of the log fetch the object. */
static void redact(const char *query, Buf *out)
{
    static const char name[] = "temp_url_sig=";
    Str rest = str_of(query), part;
    while (str_next(&rest, '&', &part)) {
        if (out->len > 0)
            buf_char(out, '&');
        bool secret = part.n >= sizeof name - 1 && memcmp(part.p, name, sizeof name - 1) == 0;
        if (secret)
            buf_printf(out, "%s...", name);
        else
            buf_add(out, part.p, part.n);
    }
}

static void set_text(json_t *o, const char *key, const char *value)
{
    /* A path may hold bytes that are no UTF-8; the log shows such a request all the same. */
    json_t *text = json_string(value);
    json_object_set_new(o, key, text ? text : json_string("(not UTF-8)"));
}

void journal_write(Journal *j, const JournalLine *l)
{
    _cleanup_(buf_clear) Buf query = BUF_INIT(BUF_MAX_LINE);
    redact(l->query, &query);
    _cleanup_json_ json_t *o = json_object();
    json_object_set_new(o, "n", json_integer(l->n));
    set_text(o, "service", l->service);
    set_text(o, "method", l->method);
    set_text(o, "path", l->path);
    set_text(o, "query", query.p);
    json_object_set_new(o, "status", json_integer(l->status));
    json_object_set_new(o, "user", l->user ? json_string(l->user) : json_null());
    set_text(o, "request_id", l->request_id);
    if (l->fault)
        set_text(o, "fault", l->fault);
    _cleanup_free_ char *text = json_dumps(o, JSON_COMPACT | JSON_PRESERVE_ORDER);
    _cleanup_(buf_clear) Buf line = BUF_INIT(2 * BUF_MAX_LINE);
    buf_printf(&line, "%s\n", text);
    pthread_mutex_lock(&j->lock);
    /* The log must not stop the cloud: a full disk shows elsewhere. */
    ssize_t n _unused_ = write(j->fd, line.p, line.len);
    pthread_mutex_unlock(&j->lock);
}
