/* The program: finds the verb, brings about what it needs, runs it, turns its outcome into an exit
 * code. Signals only set a flag: the first asks to stop with care, the second ends at once. */
#include "base/log.h"
#include "cmd/cmd.h"
#include "io/crypt.h"
#include "io/file.h"
#include <stdio.h>
#include <unistd.h>

static volatile sig_atomic_t stop_signal;

static void on_signal(int number)
{
    if (stop_signal)
        _exit(130);
    stop_signal = number;
}

static void catch_signals(void)
{
    struct sigaction sa = {.sa_handler = on_signal};
    sigemptyset(&sa.sa_mask);
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* A verb's name may be two words: the longest match wins. */
static const Verb *find_verb(int argc, char **argv, int *ret_words)
{
    for (int words = 2; words >= 1; words--) {
        if (argc <= words)
            continue;
        _cleanup_free_ char *name =
            words == 2 ? xasprintf("%s %s", argv[1], argv[2]) : xstrdup(argv[1]);
        for (size_t i = 0; verbs[i]; i++)
            if (streq(verbs[i]->name, name)) {
                *ret_words = words;
                return verbs[i];
            }
    }
    return NULL;
}

static void print_overview(FILE *to)
{
    fputs("atoll: from an OpenStack account and one file to a running Mastodon instance\n\n"
          "usage: atoll VERB [options]\n\n",
          to);
    for (size_t i = 0; verbs[i]; i++)
        if (!verbs[i]->hidden)
            fprintf(to, "  %-14s %s\n", verbs[i]->name, verbs[i]->sentence);
    fputs("\n`atoll VERB --help` tells more; the man page is atoll(1).\n", to);
}

static int unknown_verb(const char *word, Err *err)
{
    StrList names = {0};
    for (size_t i = 0; verbs[i]; i++)
        if (!verbs[i]->hidden)
            strlist_add(&names, verbs[i]->name);
    const char *near = util_nearest(word, (const char *const *)names.items);
    err_set(err, ERR_USAGE, "there is no verb '%s'", word);
    if (near)
        err_hint(err, "did you mean `atoll %s`?", near);
    else
        err_hint(err, "`atoll help` lists the verbs");
    strlist_clear(&names);
    return -ERR_USAGE;
}

static int check_operands(const Cmd *c, char **operands, Err *err)
{
    for (size_t i = 0; i < c->verb->operands; i++)
        if (!operands[i])
            return 0;
    const char *extra = operands[c->verb->operands];
    if (!extra)
        return 0;
    err_set(err, ERR_USAGE, "`atoll %s` does not take '%s'", c->verb->name, extra);
    return err_hint(err, "usage: atoll %s", c->verb->usage);
}

static void trace(void *user, const HttpTrace *t)
{
    Cmd *c = user;
    c->calls++;
    if (c->common.verbose)
        fprintf(stderr, "  %s %s %d %lld ms%s%s\n", t->method, t->url, t->status,
                (long long)t->took_ms, t->request_id ? " " : "",
                t->request_id ? t->request_id : "");
}

static int run(int argc, char **argv, Err *err)
{
    if (argc < 2 || streq(argv[1], "help") || streq(argv[1], "--help") || streq(argv[1], "-h")) {
        print_overview(argc < 2 ? stderr : stdout);
        return argc < 2 ? err_row(ERR_USAGE)->exit_code : 0;
    }
    static char version[] = "version";
    if (streq(argv[1], "--version"))
        argv[1] = version;
    int words = 0;
    Cmd c = {.verb = find_verb(argc, argv, &words), .stop = &stop_signal, .started = time_mono()};
    if (!c.verb)
        return unknown_verb(argv[1], err);
    for (int i = words + 1;
         i < argc && !streq(argv[i], "--") && (!c.verb->verbatim || argv[i][0] == '-'); i++)
        if (streq(argv[i], "--help") || streq(argv[i], "-h")) {
            _cleanup_(buf_clear) Buf help = BUF_INIT(BUF_MAX_LINE);
            cmd_help(c.verb, 100, &help);
            fputs(help.p, stdout);
            return 0;
        }
    c.options = xcalloc(1, c.verb->options_size + 1);
    static const Opt none[] = {{0}};
    const Opt *const tables[] = {c.verb->options ? c.verb->options : none, common_options, NULL};
    void *const into[] = {c.options, &c.common, NULL};
    char **operands = NULL;
    int r = c.verb->verbatim
                ? opt_parse_leading(argc - words, argv + words, tables, into, &operands, err)
                : opt_parse(argc - words, argv + words, tables, into, &operands, err);
    if (r < 0)
        err_hint(err, "`atoll %s --help` tells the options", c.verb->name);
    if (r == 0)
        r = check_operands(&c, operands, err);
    if (r == 0) {
        c.common.color = c.common.color && isatty(STDERR_FILENO) && !getenv("NO_COLOR");
        c.cache_dir = c.common.no_cache ? NULL : path_cache();
        log_init(NULL, c.common.verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
        c.http = http_new(&(HttpOptions){.stop = &stop_signal, .trace = trace, .trace_user = &c});
        r = cmd_prepare(&c, c.verb->needs, err);
        if (r == 0)
            r = c.verb->run(&c, operands, err);
    }
    free(operands);
    for (int i = 0; i < CLOUD_ROLES; i++)
        c.owned[i] = cloud_free(c.owned[i]);
    (void)vault_free(c.vault);
    json_decref(c.trees);
    free(c.tls_letter);
    cmd_keys_clear(&c.keys);
    c.http = http_free(c.http);
    island_clear(&c.island);
    free(c.cache_dir);
    free(c.options);
    return r;
}

int main(int argc, char **argv)
{
    catch_signals();
    crypt_init();
    log_init(NULL, LOG_LEVEL_INFO);
    _cleanup_(err_clear) Err err = {0};
    int r = run(argc, argv, &err);
    if (fflush(stdout) != 0 && r == 0)
        r = err_set(&err, ERR_IO, "writing to standard output failed: %m");
    if (r < 0)
        log_err(&err);
    return r < 0 ? err_exit_code(r) : r;
}
