/* A step in words, and as JSON. */
#include "plan/kind.h"

static const struct {
    char symbol;      /* as Terraform's users know it */
    const char *verb; /* for JSON */
    const char *word; /* in a line, after the key; "" for what the symbol says */
} verbs[KIND_VERBS] = {
    [KIND_CREATE] = {'+', "create", ""},
    [KIND_RULES] = {'~', "rules", "add rules"},
    [KIND_UNRULE] = {'~', "unrule", "remove rule"},
    [KIND_ATTACH] = {'~', "attach", "attach"},
    [KIND_DETACH] = {'~', "detach", "detach"},
    [KIND_GRANT] = {'~', "grant", "grant role"},
    [KIND_CHANGE] = {'~', "change", "change"},
    [KIND_EMPTY] = {'~', "empty", "empty"},
    [KIND_DELETE] = {'-', "delete", ""},
    [KIND_SEND] = {'~', "send", "send settings"},
    [KIND_MARK] = {'~', "mark", "mark"},
    [KIND_RESIZE] = {'~', "resize", "resize"},
    [KIND_CONFIRM] = {'~', "confirm", "confirm resize"},
    [KIND_REBUILD] = {'~', "rebuild", "REBUILD"},
    [KIND_EXTEND] = {'~', "extend", "extend"},
    [KIND_RETYPE] = {'~', "retype", "retype"},
    [KIND_RENAME] = {'~', "rename", "rename"},
};

static void column(Buf *out, size_t start, size_t width)
{
    do {
        buf_char(out, ' ');
    } while (out->len - start < width);
}

void plan_line(const Goal *g, const Step *s, Buf *out)
{
    const Resource *want = goal_find(g, s->kind, s->key);
    const PlanKind *row = plan_kind(s->kind);
    char span[TIME_TEXT_MAX];
    size_t start = out->len;

    buf_printf(out, "  %c %s %s", verbs[s->verb].symbol, resource_row(s->kind)->word, s->key);
    if (s->generation > 1)
        buf_printf(out, " (generation %d)", s->generation);
    column(out, start, 30);
    buf_str(out, s->verb == KIND_SEND && s->detail ? "stop services" : verbs[s->verb].word);
    if (s->verb == KIND_RENAME)
        buf_printf(out, " to %s", s->detail);
    if (s->verb == KIND_CREATE && want && row->words)
        row->words(want, out);
    column(out, start, 62);
    buf_str(out, s->reason);
    if (s->downtime_s)
        buf_printf(out, "; downtime about %s", time_span(s->downtime_s * SECOND, span));
    if (s->loss)
        buf_printf(out, "; LOSES %s", s->loss);
}

void plan_stuck_line(const Stuck *s, Buf *out)
{
    size_t start = out->len;

    buf_printf(out, "  ! %s %s", resource_row(s->kind)->word, s->key);
    column(out, start, 30);
    buf_str(out, s->why);
}

void plan_under_way(const Next *n, Msec now, Buf *out)
{
    const Wait *w = n->waits.items;
    char span[TIME_TEXT_MAX];

    if (n->waits.len == 0)
        return;
    buf_printf(out, "%zu %s still under way%s: %s %s is %s", n->waits.len,
               n->waits.len == 1 ? "thing is" : "things are",
               n->waits.len == 1 ? "" : ", the first", resource_row(w->kind)->word, w->key,
               w->what);
    if (w->since > 0 && w->since < now)
        buf_printf(out, " (for %s)", time_span(now - w->since, span));
}

char *plan_words_new(const Step *s)
{
    const char *word = verbs[s->verb].word[0] ? verbs[s->verb].word : verbs[s->verb].verb;

    return xasprintf("%s %s %s (%s)", word, resource_row(s->kind)->word, s->key, s->reason);
}

json_t *plan_step_json_new(const Goal *g, const Step *s)
{
    static const char *const actions[] = {['+'] = "create", ['~'] = "change", ['-'] = "delete"};
    const Resource *want = goal_find(g, s->kind, s->key);
    const PlanKind *row = plan_kind(s->kind);
    _cleanup_(buf_clear) Buf words = BUF_INIT(BUF_MAX_LINE);
    json_t *j;

    if (want && row->words)
        row->words(want, &words);
    j = json_make_new("{s:s, s:s, s:s, s:s, s:i, s:s, s:s, s:i}", "kind",
                      resource_row(s->kind)->prefix, "key", s->key, "action",
                      actions[(unsigned char)verbs[s->verb].symbol], "verb", verbs[s->verb].verb,
                      "generation", s->generation, "what", words.p, "reason", s->reason,
                      "downtime_s", s->downtime_s);
    if (s->detail)
        json_object_set_new(j, "detail", json_string(s->detail));
    if (s->loss)
        json_object_set_new(j, "loss", json_string(s->loss));
    if (s->id && s->verb == KIND_DELETE)
        json_object_set_new(j, "id", json_string(s->id));
    return j;
}
