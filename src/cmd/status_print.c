/* What `atoll status` knows, for a person. */
#include "cmd/status.h"
#include "deploy/deploy.h"
#include "io/columns.h"
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* "12 s", or "" where nothing was said. */
static const char *ago(const json_t *row, const char *path, Msec now,
                       char out[static TIME_TEXT_MAX])
{
    Msec then;

    out[0] = '\0';
    return time_parse(json_str_or(row, path, ""), &then) ? time_span(MAX(now - then, SECOND), out)
                                                         : out;
}

/* A line with a host's words in it: nothing in them may steer the terminal. */
static _printf_(2, 3) void say_line(const Cmd *c, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    _cleanup_free_ char *line = xvasprintf(format, ap);
    va_end(ap);
    for (char *p = line; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = '?';
    cmd_say(c, "%s\n", line);
}

/* A server that does not run is not what its last report says. */
static const char *health_word(const json_t *row)
{
    const char *status = json_str_or(row, "status", "");

    return streq(status, "ACTIVE") || !*status ? json_str_or(row, "health", "") : status;
}

static void print_table(const json_t *rows, Msec now)
{
    struct winsize size = {0};
    int width =
        isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_BODY);
    /* What may be cut on a narrow terminal comes last. */
    Columns *table = columns_new((const char *const[]){"SERVER", "HEALTH", "RELEASE", "UP",
                                                       "REPORTED", "ADDRESS", "ROLES", NULL});
    const json_t *row;
    size_t i;

    json_array_foreach (rows, i, row) {
        char up[TIME_TEXT_MAX], reported[TIME_TEXT_MAX];
        _cleanup_free_ char *then = xasprintf("%s%s", ago(row, "reported", now, reported),
                                              *json_str_or(row, "reported", "") ? " ago" : "");

        columns_row(table, (const char *const[]){json_str(row, "key"), health_word(row),
                                                 json_str_or(row, "release.version", ""),
                                                 ago(row, "started", now, up), then,
                                                 json_str(row, "address"), json_str(row, "roles")});
    }
    columns_print(table, &text, width);
    columns_free(table);
    fputs(text.p, stdout);
}

/* What is not well, and with -l all there is to know, below the table. */
static void print_server(const Cmd *c, const json_t *row, bool all)
{
    const char *key = json_str_or(row, "key", ""), *health = health_word(row);
    const char *why = json_str_or(row, "why", ""), *atoll = json_str(row, "atoll");
    const json_t *service;
    size_t i;

    if (!streq(health, "healthy") || *why)
        say_line(c, "%s is %s%s%s", key, health, *why ? ": " : "", why);
    if (atoll && !streq(atoll, ATOLL_VERSION))
        say_line(c, "%s has atoll %s, this is " ATOLL_VERSION, key, atoll);
    if (!all)
        return;
    say_line(c, "%s: %s, atoll %s, since %s", key, json_str_or(row, "status", ""),
             atoll ? atoll : "?", json_str_or(row, "started", "?"));
    json_array_foreach (json_object_get(row, "services"), i, service) {
        int64_t restarts = json_int(service, "restarts", 0);
        const char *last = json_str_or(service, "why", "");

        _cleanup_free_ char *again = restarts
                                         ? xasprintf(", started again %lld %s", (long long)restarts,
                                                     restarts == 1 ? "time" : "times")
                                         : xstrdup("");
        say_line(c, "  %-14s %s%s%s%s", json_str_or(service, "name", "?"),
                 json_str_or(service, "state", "?"), again, *last ? ": " : "", last);
    }
}

static void say_backlog(const Cmd *c, const json_t *backlog)
{
    _cleanup_(buf_clear) Buf list = BUF_INIT(BUF_MAX_LINE);
    const char *name;
    json_t *n;
    json_int_t all = 0;

    if (!json_is_object(backlog))
        return;
    json_object_foreach (json_object_get(backlog, "queues"), name, n) {
        buf_printf(&list, "%s%s %lld", list.len ? ", " : " (", name,
                   (long long)json_integer_value(n));
        all += json_integer_value(n);
    }
    say_line(c, "jobs         %lld wait%s%s, %lld at work", (long long)all, list.p,
             list.len ? ")" : "", (long long)json_int(backlog, "busy", 0));
}

static void say_clients(const Cmd *c, const json_t *clients)
{
    long long ws = json_int(clients, "websocket", 0), sse = json_int(clients, "eventsource", 0);

    if (json_is_object(clients))
        say_line(c, "streaming    %lld connected (%lld by WebSocket, %lld event sources)", ws + sse,
                 ws, sse);
}

static void say_release(const Cmd *c, const json_t *island, const ReleaseRecord *release)
{
    char words[128], to[128];

    if (!json_bool(island, "installed", false))
        cmd_say(c, "release      %s, not installed yet\n", release_words(release->now, words));
    else
        cmd_say(c, "release      %s\n", release_words(release->now, words));
    if (release->phase != RELEASE_DONE) {
        _cleanup_free_ char *phase = deploy_words_new(release);

        cmd_say(c, "deploy       %s, to %s: %s\n", release_phase_word(release->phase),
                release_words(release->to, to), phase);
        cmd_say(c, "             `atoll deploy` goes on%s\n",
                release->phase == RELEASE_POST ? "" : ", `atoll rollback` goes back");
    }
}

static void say_search(const Cmd *c, const json_t *search)
{
    static const struct {
        const char *indexes, *words;
    } rows[] = {{"none", "; its indexes are not made yet: `atoll apply` makes them"},
                {"due", "; its indexes may be of the release before: `atoll apply` looks"},
                {"made", ""}};

    for (size_t i = 0; json_is_object(search) && i < ARRAY_LEN(rows); i++)
        if (streq(rows[i].indexes, json_str(search, "indexes")))
            cmd_say(c, "search       %s %s%s\n", json_str_or(search, "image", ""),
                    json_str_or(search, "version", ""), rows[i].words);
}

void status_print_island(const Cmd *c, const World *w, const json_t *island)
{
    _cleanup_(release_clear) ReleaseRecord release = {0};

    cmd_release_read(c, w, &release);
    say_release(c, island, &release);
    if (release.atoll_to)
        cmd_say(c, "upgrade      %zu of the servers have the new atoll; `atoll upgrade` goes on\n",
                release.atoll_told.len);
    if (release.maintenance)
        cmd_say(c, "maintenance  the edge answers 503; `atoll maintenance off` opens it\n");
    say_search(c, json_object_get(island, "search"));
    say_backlog(c, json_object_get(island, "backlog"));
    say_clients(c, json_object_get(island, "clients"));
}

void status_print_servers(const Cmd *c, const json_t *servers, Msec now, bool all)
{
    const json_t *row;
    size_t i;

    print_table(servers, now);
    json_array_foreach (servers, i, row) {
        print_server(c, row, all);
    }
}
