#include "io/crypt.h"
#include "io/file.h"
#include "pocket/core.h"
#include <signal.h>
#include <unistd.h>

#define LATE_DEATH (10 * SECOND) /* how long a killed client may take to die */

static char *new_request_id(const Pocket *p, PocketService s)
{
    _cleanup_free_ char *uuid = pocket_uuid(s != POCKET_SWIFT);
    if (s != POCKET_SWIFT)
        return xasprintf("req-%s", uuid);
    /* "tx", 21 random digits, the second of the request in ten. */
    return xasprintf("tx%.21s-%010llx", uuid, (unsigned long long)(p->now() / SECOND));
}

/* In slices, so that a stop of pocket does not wait for a long one; and not for a client that has
 * gone. */
static void wait_for(const Arrival *a, const HttpdCall *c, Msec ms)
{
    Msec end = time_mono() + ms;
    while (!a->pocket->core->stopping && !httpd_gone(c)) {
        Msec left = end - time_mono();
        if (left <= 0)
            return;
        time_sleep(MIN(left, 100));
    }
}

/* Kills the process whose id is in the file. Returns it, or 0. */
static pid_t kill_reader_of(const char *pid_file)
{
    _cleanup_(buf_clear) Buf text = BUF_INIT(64);
    int64_t pid;
    if (file_read(pid_file, &text, NULL) < 0)
        return 0;
    _cleanup_free_ char *trimmed = xstrndup(text.p, str_trim(buf_as_str(&text)).n);
    if (!parse_int(trimmed, 2, INT32_MAX, &pid))
        return 0;
    (void)kill((pid_t)pid, SIGKILL);
    return (pid_t)pid;
}

/* Dead, if only as a zombie that its parent has not collected yet: its connections are closed. */
static bool dead(pid_t pid)
{
    _cleanup_free_ char *path = xasprintf("/proc/%d/stat", (int)pid);
    _cleanup_(buf_clear) Buf text = BUF_INIT(4096);
    if (file_read(path, &text, NULL) < 0)
        return true;
    const char *name_end = strrchr(text.p, ')');
    return name_end && (name_end[2] == 'Z' || name_end[2] == 'X');
}

static void answer_status(const Arrival *a, HttpdCall *c)
{
    const Fault *f = &a->fault;
    PocketReply r = {.text = BUF_INIT(BUF_MAX_BODY)};
    pocket_fail(a->service, &r, f->status, NULL, "%s",
                f->message ? f->message : "This is a fault that a rule asked for.");
    c->reply.status = f->status;
    if (f->retry_after_s >= 0) {
        strlist_addf(&c->reply.headers, "Retry-After: %d", f->retry_after_s);
        const char *key;
        json_t *inner;
        if (a->service == POCKET_NOVA || a->service == POCKET_CINDER)
            json_object_foreach (r.json, key, inner) {
                json_object_set_new(inner, "retryAfter", json_integer(f->retry_after_s));
            }
    }
    if (r.json) {
        _cleanup_free_ char *text = json_dumps(r.json, JSON_COMPACT);
        buf_str(&c->reply.body, text);
        strlist_add(&c->reply.headers, "Content-Type: application/json");
    } else {
        buf_add(&c->reply.body, r.text.p, r.text.len);
        strlist_add(&c->reply.headers, "Content-Type: text/html; charset=UTF-8");
    }
    json_decref(r.json);
    buf_clear(&r.text);
    strlist_clear(&r.headers);
}

bool arrival_begin(Arrival *a, const Listener *l, HttpdCall *c)
{
    Pocket *p = l->pocket;
    *a = (Arrival){.pocket = p, .service = l->service};
    a->n = journal_arrival(p->core->journal);
    a->request_id = new_request_id(p, l->service);
    faults_next(p->core->faults, service_name(l->service), c->method, c->target, &a->fault);
    if (a->fault.after)
        return true;
    switch (a->fault.kind) {
    case FAULT_DELAY:
        wait_for(a, c, a->fault.delay_ms);
        return true;
    case FAULT_STATUS:
        answer_status(a, c);
        break;
    case FAULT_RESET:
        c->reply.drop = true;
        break;
    case FAULT_KILL:
        kill_reader_of(a->fault.pid_file);
        c->reply.drop = true;
        break;
    case FAULT_STOP:
        (void)kill(getpid(), SIGKILL);
        break;
    case FAULT_BARRIER:
        (void)faults_meet(p->core->faults, &a->fault, &p->core->stopping);
        return true;
    case FAULT_NONE:
    case FAULT_TRUNCATE:
    case FAULT_LATE:
        return true;
    }
    c->answered = true;
    arrival_end(a, c);
    return false;
}

void arrival_land(Arrival *a, HttpdCall *c)
{
    if (a->fault.kind != FAULT_LATE)
        return;
    pid_t pid = kill_reader_of(a->fault.pid_file);
    Msec end = time_mono() + LATE_DEATH;
    while (pid > 0 && !dead(pid) && time_mono() < end)
        time_sleep(1);
    end = time_mono() + a->fault.delay_ms;
    for (Msec left; !a->pocket->core->stopping && (left = end - time_mono()) > 0;)
        time_sleep(MIN(left, 100));
    c->reply.drop = true;
}

static void write_line(Arrival *a, const HttpdCall *c, int status)
{
    JournalLine line = {.n = a->n,
                        .service = service_name(a->service),
                        .method = c->method,
                        .path = c->target,
                        .query = c->query,
                        .status = status,
                        .user = a->user,
                        .request_id = a->request_id,
                        .fault = fault_word(a->fault.kind)};
    journal_write(a->pocket->core->journal, &line);
    a->logged = true;
}

void arrival_end(Arrival *a, HttpdCall *c)
{
    HttpdReply *r = &c->reply;
    strlist_addf(&r->headers, "X-Openstack-Request-Id: %s", a->request_id);
    if (a->service == POCKET_SWIFT)
        strlist_addf(&r->headers, "X-Trans-Id: %s", a->request_id);
    if (a->service == POCKET_NOVA)
        strlist_addf(&r->headers, "X-Compute-Request-Id: %s", a->request_id);
    if (a->fault.after)
        switch (a->fault.kind) {
        case FAULT_DELAY:
            wait_for(a, c, a->fault.delay_ms);
            break;
        case FAULT_TRUNCATE:
            r->cut_at = a->fault.bytes >= 0 ? a->fault.bytes : httpd_reply_size(r) / 2;
            break;
        case FAULT_RESET:
            r->drop = true;
            break;
        case FAULT_KILL:
            kill_reader_of(a->fault.pid_file);
            r->drop = true;
            break;
        case FAULT_STOP:
            (void)kill(getpid(), SIGKILL);
            break;
        case FAULT_NONE:
        case FAULT_STATUS:
        case FAULT_LATE:
        case FAULT_BARRIER:
            break;
        }
    else if (!r->drop)
        arrival_land(a, c); /* refused at its head */
    write_line(a, c, r->drop ? 0 : r->status);
}

void arrival_close(Arrival *a, const HttpdCall *c)
{
    if (!a->logged && a->request_id)
        write_line(a, c, 499);
    free(a->request_id);
    free(a->user);
    fault_clear(&a->fault);
}
