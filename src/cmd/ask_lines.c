/* Answers as lines: with the server and the service before each, or as JSON events. */
#include "base/vec.h"
#include "cmd/ask.h"
#include <stdio.h>
#include <unistd.h>

#define LINE_MAX_BYTES ((size_t)1 << 20) /* a longer one is broken up */

/* What has come of one stream since its last line end. */
typedef struct Tail {
    const AskTarget *t;
    char *from;
    Buf text;
} Tail;

struct AskLines {
    const Cmd *c;
    VEC(Tail) tails;
    bool named; /* what is written to "out" and "err" has its own place; services have a name */
    bool plain; /* a terminal reads it: no control characters */
    int width;
};

AskLines *ask_lines_new(const Cmd *c, bool services)
{
    AskLines *l = NEW(AskLines);

    l->c = c;
    l->named = services;
    l->plain = isatty(STDOUT_FILENO);
    return l;
}

void ask_lines_free(AskLines *l)
{
    for (size_t i = 0; l && i < l->tails.len; i++) {
        free(l->tails.items[i].from);
        buf_wipe(&l->tails.items[i].text);
    }
    if (l)
        vec_clear(&l->tails);
    free(l);
}

static Tail *tail_of(AskLines *l, const AskTarget *t, const char *from)
{
    for (size_t i = 0; i < l->tails.len; i++)
        if (l->tails.items[i].t == t && streq(l->tails.items[i].from, from))
            return &l->tails.items[i];
    vec_push(&l->tails, (Tail){t, xstrdup(from), BUF_INIT(LINE_MAX_BYTES)});
    return vec_last(&l->tails);
}

/* In JSON, what is not UTF-8 is shown as '?'. */
static json_t *text_new(Str line)
{
    json_t *text = json_stringn(line.p, line.n);
    if (text)
        return text;
    _cleanup_free_ char *copy = xstrndup(line.p, line.n);
    for (size_t i = 0; i < line.n; i++)
        if ((unsigned char)copy[i] >= 0x80 || copy[i] == '\0')
            copy[i] = '?';
    return json_stringn(copy, line.n);
}

static void print_line(AskLines *l, const Tail *tail, Str line)
{
    FILE *to = streq(tail->from, "err") && !l->named ? stderr : stdout;

    if (l->c->common.json) {
        cmd_json(json_make_new("{s:s, s:s, s:s, s:o}", "event", "line", "server",
                               tail->t->host->key, l->named ? "service" : "stream", tail->from,
                               "text", text_new(line)));
        return;
    }
    _cleanup_free_ char *name =
        l->named ? xasprintf("%s %s", tail->t->host->key, tail->from) : xstrdup(tail->t->host->key);
    l->width = MAX(l->width, (int)strlen(name));
    fprintf(to, "%-*s | ", l->width, name);
    /* Anybody may write into a log by what he asks a server for: nothing of it steers a terminal.
     */
    for (size_t i = 0; i < line.n; i++) {
        unsigned char ch = (unsigned char)line.p[i];
        bool control = (ch < ' ' && ch != '\t') || ch == 0x7f;
        fputc(l->plain && control ? '?' : ch, to);
    }
    fputc('\n', to);
}

static bool take_part(void *user, const AskTarget *t, const char *from, Str data)
{
    AskLines *l = user;
    Tail *tail = tail_of(l, t, from);

    while (data.n > 0) {
        const char *end = memchr(data.p, '\n', data.n);
        size_t n = end ? (size_t)(end - data.p) : data.n;
        bool fits = tail->text.len + n <= LINE_MAX_BYTES;

        if (fits) {
            buf_add(&tail->text, data.p, n);
            data.p += n + (end != NULL);
            data.n -= n + (end != NULL);
        }
        if (end || !fits) {
            print_line(l, tail, buf_as_str(&tail->text));
            buf_truncate(&tail->text, 0);
        }
    }
    return fflush(stdout) == 0 && fflush(stderr) == 0;
}

static void end_target(void *user, const AskTarget *t)
{
    AskLines *l = user;

    for (size_t i = 0; i < l->tails.len; i++) {
        Tail *tail = &l->tails.items[i];
        if (tail->t != t || tail->text.len == 0)
            continue;
        print_line(l, tail, buf_as_str(&tail->text));
        buf_truncate(&tail->text, 0);
    }
    fflush(stdout); /* main looks at it once more, and says what is wrong */
}

AskOutput ask_lines_output(AskLines *l)
{
    return (AskOutput){.part = take_part, .end = end_target, .user = l};
}
