#include "host/release_store.h"
#include "base/log.h"
#include "host/container.h"
#include "io/child.h"
#include "io/file.h"
#include "island/island.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define RETRY (10 * SECOND)
/* A network or a registry that is away for a moment is no reason to take a deploy back: so many
 * attempts before it is called failed. */
#define TRIES 3
/* Of a script: another attempt would find the same. */
#define FINAL 2
#define LIMIT (30 * MINUTE)
#define OUTPUT_MAX ((size_t)64 << 10)
#define FOLDER "/opt/atoll/releases"

struct ReleaseStore {
    char *root, *canary;
    /* What is being fetched; pid 0: nothing. */
    pid_t pid;
    int out_fd;
    char *what, *name;
    Msec began, try_at;
    Buf output;
    char *why;    /* the last attempt failed; NULL: it did not */
    char *failed; /* its folder's name; of the last that did */
    int failures; /* of it, in a row */
    /* Names of folders: of the release that runs, and of the one before. In a file too. */
    char *ran[2];
};

/* Each gets D (the folder to be), V, REF, IMAGE, URL, SHA, CANARY, and KEEP (names beside D) in its
 * environment, and says in its last line what is wrong; FINAL is its status where that is no
 * accident. What a kill or a power cut leaves has another name than D, and goes at the next try. */
static const char begin_script[] =
    "set -eu; umask 022\n"
    "podman() { command podman --events-backend=none \"$@\"; }\n"
    "remove() { ! podman image exists \"$1\" || podman rmi \"$1\"; }\n"
    "if cd \"${D%/*}\" 2>/dev/null; then\n"
    "    for f in *; do\n"
    "        case \" $KEEP \" in *\" $f \"*) continue ;; esac\n"
    /* Of an image that is in use podman says so, and it goes with the next. */
    "        case $f in image-* | search-* | streaming-*) remove \"$(cat \"$f\")\" || continue ;; "
    "esac\n"
    "        rm -rf \"./$f\"\n"
    "    done\n"
    "    cd /\n"
    "fi\n"
    /* What the bundle has an address of, to the file that is named. */
    "download() {\n"
    "    [ -n \"$URL\" ] || { echo 'the bundle has no address for it'; exit 2; }\n"
    "    printf 'url = \"%s\"\\noutput = \"%s\"\\n' \"$URL\" \"$1\" |\n"
    "        curl --silent --show-error --fail --connect-timeout 10 --speed-limit 1000 \\\n"
    "            --speed-time 60 --config -\n"
    "    printf '%s  %s\\n' \"$SHA\" \"$1\" | sha256sum -c --status - ||\n"
    "        { echo 'its archive is not the one that was deployed: the SHA-256 differs'; exit 2; "
    "}\n"
    "}\n";
#define BEGIN_FOLDER                                                                               \
    "mkdir -p \"${D%/*}\"\n"                                                                       \
    "trap 'rm -rf \"$D.new\" \"$D.tar.gz\"' EXIT\n"                                                \
    "mkdir \"$D.new\"\n"
#define END_FOLDER "chmod -R a+rX \"$D.new\"; sync -f \"$D.new\"; mv \"$D.new\" \"$D\"\n"
static const char canary_script[] =
    "on=''\n"
    "if [ \"$V\" != \"$(cat \"$CANARY/VERSION\")\" ] && [ ! -d \"$CANARY/releases/$V\" ]; then\n"
    "    echo \"the canary has no version $V\"; exit 2\n"
    "fi\n"
    "if [ -f \"$CANARY/releases/$V/ON\" ]; then\n"
    "    on=$(cat \"$CANARY/releases/$V/ON\")\n"
    "    [ -n \"$on\" ] && [ -d \"$CANARY/releases/$on\" ] ||\n"
    "        { echo \"the canary's version $V stands on '$on', which is not there\"; exit 2; }\n"
    "fi\n" BEGIN_FOLDER "cp -a \"$CANARY/.\" \"$D.new\"; rm -rf \"$D.new/releases\"\n"
    "[ -z \"$on\" ] || cp -a \"$CANARY/releases/$on/.\" \"$D.new\"\n"
    "[ ! -d \"$CANARY/releases/$V\" ] || cp -a \"$CANARY/releases/$V/.\" \"$D.new\"\n"
    "rm -f \"$D.new/ON\"\n" END_FOLDER;
static const char tree_script[] = BEGIN_FOLDER
    "download \"$D.tar.gz\"\n"
    "words=$(tar --extract --gzip --no-same-owner --file \"$D.tar.gz\" --directory \"$D.new\" "
    "2>&1) "
    "||\n"
    "    { echo \"its archive can't be unpacked: $(echo \"$words\" | sed '/^$/d;q')\"; exit 2; }\n"
    "[ -f \"$D.new/bin/rails\" ] ||\n"
    "    { echo 'its archive has no bin/rails: it has to be packed inside the tree'; exit 2; }\n"
    "rm \"$D.tar.gz\"\n" END_FOLDER;
/* D is a file with the image's name in it, so that podman need not be asked whether it is there.
 * It is written when the image is on the disk; a power cut may not leave the one without the other.
 */
static const char image_script[] =
    "folder=${D%/*} new=${D%/*}/.image.new tar=${D%/*}/.image.tar\n"
    "mkdir -p \"$folder\"\n"
    "trap 'rm -f \"$new\" \"$tar\"' EXIT\n"
    "old=$(cat \"$D\" 2>/dev/null || echo \"$IMAGE\")\n"
    "if ! podman image exists \"$IMAGE\"; then\n"
    "    case $REF in\n"
    "    oci-archive:*)\n"
    "        download \"$tar\"\n"
    "        id=$(podman pull --quiet \"oci-archive:$tar\")\n"
    /* Under one name, so that it goes with that. */
    "        podman untag \"$id\"; podman tag \"$id\" \"$IMAGE\" ;;\n"
    "    *) podman pull --quiet \"$IMAGE\" ;;\n"
    "    esac\n"
    "fi\n"
    "sync -f /var/lib/containers\n"
    "echo \"$IMAGE\" >\"$new\"; sync \"$new\"; mv \"$new\" \"$D\"\n"
    "[ \"$old\" = \"$IMAGE\" ] || remove \"$old\" || true\n";

static const struct {
    const char *kind, *script;
} rows[] = {
    {"canary", canary_script}, {"tree", tree_script},       {"image", image_script},
    {"search", image_script},  {"streaming", image_script},
};

/* Of the folder, and of the image in `ran`. To be freed. */
static char *name_new(const json_t *release)
{
    return xasprintf("%s-%s", json_str_or(release, "kind", ""),
                     json_str_or(release, "version", ""));
}

static char *ran_path(const ReleaseStore *s)
{
    return xasprintf("%s" FOLDER "/.ran", s->root);
}

/* A file that can't be read costs disk space: nothing is known to have run. */
static void read_ran(ReleaseStore *s)
{
    _cleanup_free_ char *path = ran_path(s);
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);
    Str rest, name;

    if (file_read(path, &text, NULL) < 0)
        return;
    rest = str_trim(buf_as_str(&text));
    for (size_t i = 0; i < ARRAY_LEN(s->ran) && str_next(&rest, ' ', &name); i++)
        s->ran[i] = xstrndup(name.p, name.n);
}

static void note_ran(ReleaseStore *s, const json_t *release)
{
    _cleanup_free_ char *name = name_new(release), *path = ran_path(s), *folder = NULL;
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);
    _cleanup_(err_clear) Err err = {0};

    if (!release || streq(name, s->ran[0]))
        return;
    free(s->ran[1]);
    s->ran[1] = TAKE(s->ran[0]);
    s->ran[0] = TAKE(name);
    buf_printf(&text, "%s %s\n", s->ran[0], s->ran[1] ? s->ran[1] : "");
    folder = path_folder(path);
    int r = file_mkdirs(folder, 0755, &err);
    if (r == 0)
        r = file_write(path, buf_as_str(&text), 0644, &err);
    if (r < 0)
        log_warn("which release ran before is forgotten at the next start: %s", err.text);
}

ReleaseStore *release_store_open(const char *root, const char *canary)
{
    ReleaseStore *s = NEW(ReleaseStore);

    s->root = xstrdup(root);
    s->canary = xstrdup(canary);
    s->out_fd = -1;
    s->output = BUF_INIT(OUTPUT_MAX);
    read_ran(s);
    return s;
}

static void end_child(ReleaseStore *s)
{
    if (s->out_fd >= 0)
        close(s->out_fd);
    s->out_fd = -1;
    s->pid = 0;
    free(TAKE(s->what));
    free(TAKE(s->name));
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
    free(s->failed);
    for (size_t i = 0; i < ARRAY_LEN(s->ran); i++)
        free(s->ran[i]);
    free(s);
    return NULL;
}

char *release_folder_new(const char *root, const json_t *release)
{
    _cleanup_free_ char *name = name_new(release);

    return xasprintf("%s" FOLDER "/%s", root, name);
}

static const char *script_of(const json_t *release)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (streq(rows[i].kind, json_str_or(release, "kind", "")))
            return rows[i].script;
    return NULL;
}

static bool is_image(const json_t *release)
{
    const char *kind = json_str_or(release, "kind", "");

    return streq(kind, "image") || streq(kind, "search") || streq(kind, "streaming");
}

/* Asked at every turn until all is there: podman would take a tenth of a second. */
static bool has_image(const char *note, const json_t *release)
{
    _cleanup_free_ char *name = container_image_new(release);
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);

    if (!file_exists(note) || file_read(note, &text, NULL) < 0)
        return false;
    return str_eq(str_trim(buf_as_str(&text)), str_of(name));
}

static bool is_there(const ReleaseStore *s, const json_t *release)
{
    _cleanup_free_ char *folder = release_folder_new(s->root, release);

    return is_image(release) ? has_image(folder, release) : file_exists(folder);
}

/* "KEEP=canary-1 canary-2": what stays on the disk. */
static void add_keep(const ReleaseStore *s, const json_t *spec, StrList *env)
{
    const json_t *const named[] = {
        json_object_get(spec, "release"), json_at(spec, "prepare.release"),
        json_object_get(spec, "search"), json_object_get(spec, "streaming")};
    _cleanup_(buf_clear) Buf keep = BUF_INIT(BUF_MAX_BODY);
    const json_t *more;
    size_t i;

    for (i = 0; i < ARRAY_LEN(s->ran); i++)
        buf_printf(&keep, "%s ", s->ran[i] ? s->ran[i] : "");
    for (i = 0; i < ARRAY_LEN(named); i++) {
        _cleanup_free_ char *name = name_new(named[i]);
        buf_printf(&keep, "%s ", name);
    }
    json_array_foreach (json_object_get(spec, "fetch"), i, more) {
        _cleanup_free_ char *name = name_new(more);
        buf_printf(&keep, "%s ", name);
    }
    strlist_addf(env, "KEEP=%s", keep.p);
}

static void add_env(const ReleaseStore *s, const json_t *spec, const json_t *urls,
                    const json_t *release, StrList *env)
{
    const char *version = json_str_or(release, "version", "");
    /* A version has dots, so it is no path into `urls`. */
    const json_t *tree = json_object_get(json_object_get(urls, "trees"), version);
    _cleanup_free_ char *folder = release_folder_new(s->root, release);
    _cleanup_free_ char *image = container_image_new(release);

    strlist_add(env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    strlist_add(env, "HOME=/root");
    strlist_add(env, "LANG=C.UTF-8");
    strlist_addf(env, "D=%s", folder);
    strlist_addf(env, "V=%s", version);
    strlist_addf(env, "REF=%s", json_str_or(release, "ref", ""));
    strlist_addf(env, "IMAGE=%s", image);
    strlist_addf(env, "URL=%s", json_str_or(tree, "url", ""));
    strlist_addf(env, "SHA=%s", json_str_or(tree, "sha256", ""));
    strlist_addf(env, "CANARY=%s", s->canary);
    add_keep(s, spec, env);
}

static int spawn(ReleaseStore *s, const char *script, const StrList *env, Err *err)
{
    _cleanup_free_ char *whole = xasprintf("%s%s", begin_script, script);
    int pipe_fds[2];

    if (pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) < 0)
        return err_set(err, ERR_IO, "cannot make a pipe: %m");
    int r = child_spawn(&(ChildSpec){.argv = (const char *const[]){"sh", "-c", whole, NULL},
                                     .env = (const char *const *)env->items,
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
    return 0;
}

static int begin(ReleaseStore *s, const json_t *spec, const json_t *urls, const json_t *release,
                 Msec now, Err *err)
{
    const char *kind = json_str_or(release, "kind", ""), *script = script_of(release);
    const char *version = json_str_or(release, "version", "");
    _cleanup_(strlist_wipe) StrList env = {0};

    if (!script)
        return err_set(err, ERR_CONFIG, "a release of the kind '%s' is not known to atoll %s", kind,
                       ATOLL_VERSION);
    /* It becomes the name of a folder. */
    if (!island_version_ok(version))
        return err_set(err, ERR_CONFIG, "'%s' is no version of a release", version);
    add_env(s, spec, urls, release, &env);
    int r = spawn(s, script, &env, err);
    if (r < 0)
        return r;
    s->what = xasprintf("%s %s", kind, version);
    free(s->name);
    s->name = name_new(release);
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
    bool overdue = now - s->began > LIMIT;
    if (overdue)
        child_kill_tree(s->pid);
    if (waitpid(s->pid, &status, WNOHANG) == 0)
        return false;
    read_output(s);
    free(TAKE(s->why));
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        const char *line = last_line(&s->output);
        s->why = xasprintf("%s: %.120s", s->what, *line ? line : child_status_text(status, words));
        s->try_at = now + RETRY;
        bool final = overdue || (WIFEXITED(status) && WEXITSTATUS(status) == FINAL);
        s->failures = final ? TRIES : streq(s->name, s->failed) ? s->failures + 1 : 1;
        free(s->failed);
        s->failed = TAKE(s->name);
        log_warn("cannot fetch the release %s", s->why);
    }
    end_child(s);
    return true;
}

static int want(ReleaseStore *s, const json_t *spec, const json_t *urls, const json_t *release,
                Msec now, Err *err)
{
    _cleanup_free_ char *name = NULL;

    if (!release || is_there(s, release))
        return 0;
    name = name_new(release);
    if (!s->pid && !streq(name, s->failed)) {
        /* What another one failed of says nothing of this. */
        free(TAKE(s->why));
        s->try_at = 0;
        s->failures = 0;
    }
    if (!s->pid && now >= s->try_at) {
        int r = begin(s, spec, urls, release, now, err);
        if (r < 0)
            return r;
    }
    if (s->why)
        return s->failures < TRIES
                   ? err_set(err, ERR_TEMPORARY, "fetching the release again: %s", s->why)
                   : err_set(err, ERR_IO, "cannot fetch the release %s", s->why);
    return err_set(err, ERR_TEMPORARY, "fetching the release %s", s->what ? s->what : "");
}

int release_store_ready(ReleaseStore *s, const json_t *spec, const json_t *urls, Msec now, Err *err)
{
    const json_t *release = json_object_get(spec, "release"), *more;
    size_t i;

    (void)look(s, now); /* what it found is asked for below */
    int r = want(s, spec, urls, release, now, err);
    if (r == 0)
        r = want(s, spec, urls, json_at(spec, "prepare.release"), now, err);
    /* On pocket what stands for it comes with the package (role_search.c). */
    if (r == 0 && !*s->root)
        r = want(s, spec, urls, json_object_get(spec, "search"), now, err);
    if (r == 0 && !*s->root)
        r = want(s, spec, urls, json_object_get(spec, "streaming"), now, err);
    json_array_foreach (json_object_get(spec, "fetch"), i, more) {
        if (r == 0)
            r = want(s, spec, urls, more, now, err);
    }
    if (r < 0)
        return r;
    free(TAKE(s->why));
    note_ran(s, release);
    return 0;
}
