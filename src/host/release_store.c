#include "host/release_store.h"
#include "base/log.h"
#include "io/child.h"
#include "io/file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define RETRY (10 * SECOND)
#define LIMIT (30 * MINUTE)
#define OUTPUT_MAX ((size_t)64 << 10)

struct ReleaseStore {
    char *root, *canary;
    /* What is being fetched; pid 0: nothing. */
    pid_t pid;
    int out_fd;
    char *what;
    Msec began, try_at;
    Buf output;
    char *why; /* the last attempt failed; NULL: it did not */
};

/* Each gets D (the folder to be), V, REF, URL and CANARY in its environment, and says in its last
 * line what is wrong. */
static const char canary_script[] =
    "set -eu; umask 022\n"
    "if [ \"$V\" != \"$(cat \"$CANARY/VERSION\")\" ] && [ ! -d \"$CANARY/releases/$V\" ]; then\n"
    "    echo \"the canary has no version $V\"; exit 1\n"
    "fi\n"
    "mkdir -p \"${D%/*}\"; rm -rf \"$D.new\"; mkdir \"$D.new\"\n"
    "cp -a \"$CANARY/.\" \"$D.new\"; rm -rf \"$D.new/releases\"\n"
    "if [ -f \"$CANARY/releases/$V/ON\" ]; then\n"
    "    cp -a \"$CANARY/releases/$(cat \"$CANARY/releases/$V/ON\")/.\" \"$D.new\"\n"
    "fi\n"
    "[ ! -d \"$CANARY/releases/$V\" ] || cp -a \"$CANARY/releases/$V/.\" \"$D.new\"\n"
    "chmod -R a+rX \"$D.new\"; mv \"$D.new\" \"$D\"\n";
static const char tree_script[] =
    "set -eu; umask 022\n"
    "[ -n \"$URL\" ] || { echo 'the bundle has no address for it'; exit 1; }\n"
    "mkdir -p \"${D%/*}\"; rm -rf \"$D.new\" \"$D.tar.gz\"; mkdir \"$D.new\"\n"
    "printf 'url = \"%s\"\\noutput = \"%s\"\\n' \"$URL\" \"$D.tar.gz\" |\n"
    "    curl --silent --show-error --fail --connect-timeout 10 --config -\n"
    "tar --extract --gzip --no-same-owner --file \"$D.tar.gz\" --directory \"$D.new\"\n"
    "rm \"$D.tar.gz\"; chmod -R a+rX \"$D.new\"; mv \"$D.new\" \"$D\"\n";
static const char image_script[] = "podman pull --quiet \"$REF:$V\"\n";

static const struct {
    const char *kind, *script;
} rows[] = {{"canary", canary_script}, {"tree", tree_script}, {"image", image_script}};

ReleaseStore *release_store_open(const char *root, const char *canary)
{
    ReleaseStore *s = NEW(ReleaseStore);

    s->root = xstrdup(root);
    s->canary = xstrdup(canary);
    s->out_fd = -1;
    s->output = BUF_INIT(OUTPUT_MAX);
    return s;
}

static void end_child(ReleaseStore *s)
{
    if (s->out_fd >= 0)
        close(s->out_fd);
    s->out_fd = -1;
    s->pid = 0;
    free(TAKE(s->what));
    buf_clear(&s->output);
    s->output = BUF_INIT(OUTPUT_MAX);
}

ReleaseStore *release_store_close(ReleaseStore *s)
{
    if (!s)
        return NULL;
    if (s->pid) {
        child_kill_tree(s->pid);
        (void)waitpid(s->pid, NULL, 0); /* killed: it can't take long */
    }
    end_child(s);
    buf_clear(&s->output);
    free(s->root);
    free(s->canary);
    free(s->why);
    free(s);
    return NULL;
}

char *release_folder_new(const char *root, const json_t *release)
{
    return xasprintf("%s/opt/atoll/releases/%s-%s", root, json_str_or(release, "kind", ""),
                     json_str_or(release, "version", ""));
}

static const char *script_of(const json_t *release)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (streq(rows[i].kind, json_str_or(release, "kind", "")))
            return rows[i].script;
    return NULL;
}

static bool has_image(const json_t *release)
{
    _cleanup_free_ char *name =
        xasprintf("%s:%s", json_str_or(release, "ref", ""), json_str_or(release, "version", ""));
    int status = 0;

    int r = child_run(
        &(ChildSpec){.argv = (const char *const[]){"podman", "image", "exists", name, NULL}},
        (Str){0}, 10 * SECOND, NULL, &status, NULL);
    return r == 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool is_there(const ReleaseStore *s, const json_t *release)
{
    _cleanup_free_ char *folder = release_folder_new(s->root, release);

    return streq(json_str(release, "kind"), "image") ? has_image(release) : file_exists(folder);
}

static int begin(ReleaseStore *s, const json_t *release, const json_t *urls, Msec now, Err *err)
{
    const char *script = script_of(release), *version = json_str_or(release, "version", "");
    _cleanup_(strlist_wipe) StrList env = {0};
    _cleanup_free_ char *folder = release_folder_new(s->root, release);
    int pipe_fds[2];

    if (!script)
        return err_set(err, ERR_CONFIG, "a release of the kind '%s' is not known to atoll %s",
                       json_str_or(release, "kind", ""), ATOLL_VERSION);
    strlist_add(&env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    strlist_add(&env, "HOME=/root");
    strlist_addf(&env, "D=%s", folder);
    strlist_addf(&env, "V=%s", version);
    strlist_addf(&env, "REF=%s", json_str_or(release, "ref", ""));
    strlist_addf(&env, "URL=%s", json_str_or(json_object_get(urls, "trees"), version, ""));
    strlist_addf(&env, "CANARY=%s", s->canary);
    if (pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) < 0)
        return err_set(err, ERR_IO, "cannot make a pipe: %m");
    int r = child_spawn(&(ChildSpec){.argv = (const char *const[]){"sh", "-c", script, NULL},
                                     .env = (const char *const *)env.items,
                                     .out_fd = pipe_fds[1],
                                     .err_fd = pipe_fds[1],
                                     .new_session = true,
                                     .die_with_parent = true},
                        &s->pid, err);
    close(pipe_fds[1]);
    if (r < 0) {
        close(pipe_fds[0]);
        s->pid = 0;
        return r;
    }
    s->out_fd = pipe_fds[0];
    s->what = xasprintf("%s %s", json_str_or(release, "kind", ""), version);
    s->began = now;
    log_info("fetching the release %s", s->what);
    return 0;
}

/* The last line that it wrote: what is wrong, if something is. */
static const char *last_line(Buf *output)
{
    while (output->len > 0 && output->p[output->len - 1] == '\n')
        buf_truncate(output, output->len - 1);
    const char *line = strrchr(output->p, '\n');
    return line ? line + 1 : output->p;
}

static void read_output(ReleaseStore *s)
{
    char text[4096];
    ssize_t n;

    while ((n = read(s->out_fd, text, sizeof text)) > 0)
        buf_add(&s->output, text, (size_t)n); /* what is beyond its limit is of no interest */
}

/* True when nothing is being fetched any more. */
static bool look(ReleaseStore *s, Msec now)
{
    char words[64];
    int status;

    if (!s->pid)
        return true;
    read_output(s);
    if (now - s->began > LIMIT)
        child_kill_tree(s->pid);
    if (waitpid(s->pid, &status, WNOHANG) == 0)
        return false;
    read_output(s);
    free(TAKE(s->why));
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        const char *line = last_line(&s->output);
        s->why = xasprintf("%s: %.120s", s->what, *line ? line : child_status_text(status, words));
        s->try_at = now + RETRY;
        log_warn("cannot fetch the release %s", s->why);
    }
    end_child(s);
    return true;
}

static int want(ReleaseStore *s, const json_t *release, const json_t *urls, Msec now, Err *err)
{
    if (!release || is_there(s, release))
        return 0;
    if (!s->pid && now >= s->try_at) {
        int r = begin(s, release, urls, now, err);
        if (r < 0)
            return r;
    }
    if (s->why)
        return err_set(err, ERR_IO, "cannot fetch the release %s", s->why);
    return err_set(err, ERR_TEMPORARY, "fetching the release %s", s->what ? s->what : "");
}

int release_store_ready(ReleaseStore *s, const json_t *spec, const json_t *urls, Msec now, Err *err)
{
    const json_t *more;
    size_t i;

    (void)look(s, now); /* what it found is asked for below */
    int r = want(s, json_object_get(spec, "release"), urls, now, err);
    if (r == 0)
        r = want(s, json_at(spec, "prepare.release"), urls, now, err);
    json_array_foreach (json_object_get(spec, "fetch"), i, more) {
        if (r == 0)
            r = want(s, more, urls, now, err);
    }
    if (r == 0)
        free(TAKE(s->why));
    return r;
}
