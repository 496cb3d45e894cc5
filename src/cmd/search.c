/* Search indexes are Mastodon's own tootctl's to make (mastodon.md 4.4); here is when. */
#include "base/log.h"
#include "cmd/ask.h"
#include "deploy/facts.h"
#include "deploy/rules.h"

#define OUTPUT_MAX ((size_t)256 << 10)
/* An instance that is there already is read whole. */
#define MAKE_LIMIT ASK_LIMIT_MAX
#define MAP_LIMIT (1 * HOUR)

bool cmd_has_search(const Cmd *c)
{
    _cleanup_free_ char *server = island_first_server(&c->island, ROLE_SEARCH);

    return server != NULL;
}

static int put(Cmd *c, ReleaseRecord *r, const char *index, Err *err)
{
    free(r->index);
    r->index = index ? xstrdup(index) : NULL;
    r->index_due = false;
    r->number++;
    return cmd_release_put(c, r, err);
}

/* The definitions of the release that runs, wherever its folder is; of their names and content. */
static int find_index(AskSession *s, char **ret, Err *err)
{
    static const char script[] = "cd app/chewy && find . -type f -print0 | LC_ALL=C sort -z | "
                                 "xargs -0 sha256sum | sha256sum";
    _cleanup_(buf_clear) Buf out = BUF_INIT(OUTPUT_MAX);
    int status;

    int r = ask_session_collect(s, (const char *const[]){"sh", "-c", script, NULL}, MINUTE, &status,
                                &out, err);
    if (r < 0)
        return r;
    *ret = facts_index_new(buf_as_str(&out));
    return *ret ? 0 : err_set(err, ERR_PARTIAL, "the release has no definitions of search indexes");
}

static Str last_line(const Buf *out)
{
    Str text = str_trim(buf_as_str(out)), line = text;

    for (size_t i = text.n; i-- > 0;)
        if (text.p[i] == '\n') {
            line = (Str){text.p + i + 1, text.n - i - 1};
            break;
        }
    return line;
}

/* `words`: what follows bin/tootctl. */
static int run_tootctl(AskSession *s, const char *words, Msec limit, Err *err)
{
    _cleanup_(strlist_clear) StrList argv = {0};
    _cleanup_(buf_clear) Buf out = BUF_INIT(OUTPUT_MAX);
    Str rest = str_of(words), word;
    int status = 0;

    strlist_add(&argv, "bin/tootctl");
    while (str_next(&rest, ' ', &word))
        strlist_addf(&argv, "%.*s", (int)word.n, word.p);
    int r = ask_session_collect(s, (const char *const *)argv.items, limit, &status, &out, err);
    if (r < 0 || status == 0)
        return r;
    Str line = last_line(&out);
    return err_set(err, ERR_PARTIAL, "tootctl %s: %.*s", words, (int)MIN(line.n, (size_t)200),
                   line.p);
}

static int make_indexes(Cmd *c, AskSession *s, Err *err)
{
    cmd_say(c,
            "Making the search indexes; on an instance that is large already this takes hours.\n");
    int r = run_tootctl(s, "search deploy", MAKE_LIMIT, err);
    if (r < 0)
        return err_hint(err, "all else is as the file says; `atoll apply` tries it again");
    cmd_say(c, "The search indexes are made.\n");
    return 0;
}

/* A rule that is a person's to follow is said once. */
static int change_indexes(Cmd *c, AskSession *s, const ReleaseRecord *r, Err *err)
{
    Version runs;

    int k = version_parse(json_str_or(r->now, "version", ""), &runs, err);
    if (k < 0)
        return k;
    const SearchRule *rule = rules_search(&runs);
    if (c->common.json)
        cmd_json(json_make_new("{s:s, s:s, s:b, s:s}", "event", "search", "command", rule->command,
                               "by_itself", (int)rule->by_itself, "words", rule->words));
    if (!rule->by_itself) {
        log_warn("%s: atoll tootctl %s", rule->words, rule->command);
        return 0;
    }
    cmd_say(c, "search: %s (tootctl %s)\n", rule->words, rule->command);
    k = run_tootctl(s, rule->command, MAP_LIMIT, err);
    return k < 0 ? err_hint(err,
                            "the release runs; where a mapping can't be changed the index has to "
                            "be made anew: `atoll tootctl search deploy`, which takes hours to "
                            "days on a large instance, then `atoll apply`")
                 : 0;
}

int cmd_search_settle(Cmd *c, ReleaseRecord *r, Err *err)
{
    _cleanup_(ask_session_close) AskSession s = {0};
    _cleanup_free_ char *index = NULL;

    /* What comes back one day begins anew. */
    if (!cmd_has_search(c))
        return r->index ? put(c, r, NULL, err) : 0;
    if (r->phase != RELEASE_DONE || (r->index && !r->index_due))
        return 0;
    int k = ask_session_open(c, "web", false, true, &s, err);
    if (k < 0)
        return k;
    ask_session_role(&s, "web");
    k = find_index(&s, &index, err);
    if (k == 0 && !r->index)
        k = make_indexes(c, &s, err);
    else if (k == 0 && !streq(r->index, index))
        k = change_indexes(c, &s, r, err);
    return k < 0 ? k : put(c, r, index, err);
}
