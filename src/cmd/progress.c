/* Live progress. The terminal block is redrawn whole at each event: a few lines, a few times a
 * second. */
#include "cmd/progress.h"
#include "cmd/cmd.h"
#include <stdio.h>

typedef struct Line {
    char *key; /* "server web.0" */
    char *words;
    Msec since;  /* time_mono */
    Msec waited; /* of the last WAIT event; 0: a step under way */
} Line;

/* A wait that is over sends no event of its own: it is told of at every poll (at most 2 s apart).
 */
#define WAIT_STALE ((Msec)2500)

struct Progress {
    bool terminal, json, quiet, color;
    VEC(Line) live;
    size_t drawn; /* lines of the block on the screen */
};

Progress *progress_new(bool terminal, bool json, bool quiet, bool color)
{
    Progress *p = NEW(Progress);
    *p = (Progress){
        .terminal = terminal && !json && !quiet, .json = json, .quiet = quiet, .color = color};
    return p;
}

static void erase(Progress *p)
{
    if (p->drawn > 0)
        fprintf(stderr, "\033[%zuA\033[J", p->drawn);
    p->drawn = 0;
}

static size_t find(const Progress *p, const char *key)
{
    size_t i = 0;
    while (i < p->live.len && !streq(p->live.items[i].key, key))
        i++;
    return i;
}

static void drop(Progress *p, const char *key)
{
    size_t i = find(p, key);
    if (i == p->live.len)
        return;
    free(p->live.items[i].key);
    free(p->live.items[i].words);
    vec_remove(&p->live, i);
}

static void draw(Progress *p)
{
    if (!p->terminal)
        return;
    for (size_t i = p->live.len; i-- > 0;) {
        const Line *l = &p->live.items[i];
        if (l->waited && time_mono() - l->waited > WAIT_STALE)
            drop(p, l->key);
    }
    for (size_t i = 0; i < p->live.len; i++) {
        char span[TIME_TEXT_MAX];
        const Line *l = &p->live.items[i];
        fprintf(stderr, "  ... %-24.24s %-36.36s %s\n", l->key, l->words,
                time_span(time_mono() - l->since, span));
    }
    p->drawn = p->live.len;
    fflush(stderr);
}

static bool set(Progress *p, const char *key, const char *words, bool wait)
{
    size_t i = find(p, key);
    if (i == p->live.len)
        vec_push(&p->live, ((Line){.key = xstrdup(key), .since = time_mono()}));
    Line *l = &p->live.items[i];
    l->waited = wait ? time_mono() : 0;
    bool changed = !streq(l->words, words);
    free(l->words);
    l->words = xstrdup(words);
    return changed;
}

/* What a verb is called when it is under way, and when it is done. */
static const char *const doing[KIND_VERBS][2] = {
    [KIND_CREATE] = {"being made", "made"},
    [KIND_RULES] = {"rules being added", "rules added"},
    [KIND_UNRULE] = {"a rule being removed", "rule removed"},
    [KIND_ATTACH] = {"being attached", "attached"},
    [KIND_DETACH] = {"being detached", "detached"},
    [KIND_GRANT] = {"being given a role", "role given"},
    [KIND_CHANGE] = {"being changed", "changed"},
    [KIND_EMPTY] = {"being emptied", "emptied"},
    [KIND_DELETE] = {"being deleted", "deleted"},
    [KIND_SEND] = {"being told what to run", "told what to run"},
    [KIND_MARK] = {"being marked", "marked"},
    [KIND_RESIZE] = {"being resized", "resize begun"},
    [KIND_CONFIRM] = {"resize being confirmed", "resize confirmed"},
    [KIND_REBUILD] = {"being rebuilt", "rebuild begun"},
    [KIND_EXTEND] = {"being extended", "extension begun"},
    [KIND_RETYPE] = {"being retyped", "retype begun"},
    [KIND_RENAME] = {"being renamed", "renamed"},
};

static void print_json(const ApplyEvent *e, const char *word)
{
    static const char *const names[] = {[APPLY_START] = "apply_start",
                                        [APPLY_DONE] = "apply_complete",
                                        [APPLY_FAILED] = "apply_errored",
                                        [APPLY_WAIT] = "apply_progress",
                                        [APPLY_LEASE] = "lease"};
    json_t *o = json_make_new("{s:s, s:s, s:s, s:I}", "event", names[e->what], "kind", word, "key",
                              e->key ? e->key : "", "took_ms", (json_int_t)e->took_ms);
    if (e->step)
        json_object_set_new(o, "action", json_string(doing[e->step->verb][0]));
    if (e->words)
        json_object_set_new(o, "words", json_string(e->words));
    if (e->err) {
        json_object_set_new(o, "error", json_string(e->err->text ? e->err->text : ""));
        json_object_set_new(o, "request_id",
                            e->err->request_id ? json_string(e->err->request_id) : json_null());
    }
    cmd_json(o);
}

static void finished(Progress *p, const char *key, const ApplyEvent *e)
{
    char span[TIME_TEXT_MAX];
    if (e->what == APPLY_DONE && !p->quiet)
        fprintf(stderr, "  %s %-24s %s (%s)\n", p->color ? "\033[32mok\033[0m " : "ok ", key,
                doing[e->step->verb][1], time_span(e->took_ms, span));
    if (e->what == APPLY_FAILED)
        fprintf(stderr, "  %s %-24s %s\n", p->color ? "\033[31mNOT\033[0m" : "NOT", key,
                e->err && e->err->text ? e->err->text : "failed");
}

void progress_event(void *progress, const ApplyEvent *e)
{
    Progress *p = progress;
    bool lease = e->what == APPLY_LEASE;
    const char *word = lease ? "lease" : resource_row(e->kind)->prefix;
    if (p->json) {
        print_json(e, word);
        return;
    }
    _cleanup_free_ char *key = lease ? xstrdup(word) : xasprintf("%s %s", word, e->key);
    erase(p);
    switch (e->what) {
    case APPLY_START:
        set(p, key, doing[e->step->verb][0], false);
        break;
    case APPLY_DONE:
    case APPLY_FAILED:
        drop(p, key);
        finished(p, key, e);
        break;
    case APPLY_WAIT:
    case APPLY_LEASE:
        if (set(p, key, e->words ? e->words : "", true) && !p->terminal && !p->quiet)
            fprintf(stderr, "  ... %-24s %s\n", key, e->words ? e->words : "");
        break;
    }
    draw(p);
}

Progress *progress_free(Progress *p)
{
    if (!p)
        return NULL;
    erase(p);
    while (p->live.len > 0)
        drop(p, p->live.items[0].key);
    vec_clear(&p->live);
    free(p);
    return NULL;
}
