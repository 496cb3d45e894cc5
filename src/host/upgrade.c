#include "host/upgrade.h"
#include "base/log.h"
#include "host/machine_job.h"
#include "io/file.h"

#include <sys/wait.h>

#define RETRY (30 * SECOND)
#define INSTALL_LIMIT (20 * MINUTE) /* apt may wait for half of it */

struct Upgrade {
    char *root, *folder;
    Job job;
    char *of; /* the package that is fetched or installed; NULL: none yet */
    Msec try_at, began;
    bool installing, exec, alive;
    char *why; /* the last attempt failed; NULL: it did not */
};

/* Arguments: the folder, the SHA-256, the root. The address comes on standard input: it lets who
 * has it fetch the package. */
static const char fetch_script[] =
    "set -eu; umask 077\n"
    "dir=$1 sha=$2 root=$3; new=$dir/package.new.deb\n"
    "read -r url\n"
    /* A power cut came between the note and the new name: it runs, and is what is gone back to. */
    "if [ -f \"$new\" ] && [ \"$(sha256sum <\"$new\" | cut -c1-64)\" = "
    "\"$(cat \"$dir/package.sha256\" || :)\" ]; then\n"
    "    mv \"$new\" \"$dir/package.deb\"\n"
    "fi\n"
    "printf 'url = \"%s\"\\noutput = \"%s\"\\n' \"$url\" \"$new\" |\n"
    "    curl --silent --show-error --fail --connect-timeout 10 --max-time 600 --config -\n"
    "printf '%s  %s\\n' \"$sha\" \"$new\" | sha256sum -c --status - ||\n"
    "    { echo 'the package is not what it should be'; exit 1; }\n"
    "if [ -n \"$root\" ]; then\n"
    "    (umask 022; rm -rf \"$root/usr.new\"; dpkg-deb -x \"$new\" \"$root/usr.new\"\n"
    /* A program that runs can't be written to, but another can have its name. */
    "        cp -a --remove-destination \"$root/usr.new/.\" \"$root\"; rm -rf \"$root/usr.new\")\n"
    "    mv \"$new\" \"$dir/package.deb\"; echo \"$sha\" >\"$dir/package.sha256\"\n"
    "    exit 0\n"
    "fi\n";

/* The unit atoll-upgrade: it outlives the agent that began it. */
static const char install_script[] =
    "set -u; umask 022; export DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin\n"
    "dir=$1 sha=$2; new=$dir/package.new.deb old=$dir/package.deb\n"
    "apt_it() {\n"
    "    apt-get -qy -o DPkg::Lock::Timeout=600 install --no-install-recommends --allow-downgrades "
    "--reinstall \"$1\"\n"
    "}\n"
    /* After a power cut in the middle of it apt refuses everything until dpkg has finished. */
    "install_it() {\n"
    "    apt_it \"$1\" && return\n"
    "    [ -n \"$(ls /var/lib/dpkg/updates; dpkg --audit)\" ] || return\n"
    "    dpkg --force-confdef --force-confold --configure -a; apt_it \"$1\"\n"
    "}\n"
    /* Whole or not at all, on a full disk too. */
    "note() { echo \"$2\" >\"$dir/$1.new\" && mv \"$dir/$1.new\" \"$dir/$1\"; }\n"
    "was=$(cat \"$dir/package.sha256\")\n"
    "rm -f \"$dir/package.alive\"\n"
    "if install_it \"$new\"; then\n"
    "    note package.sha256 \"$sha\"\n"
    "    systemctl daemon-reload; systemctl restart --no-block atoll-host\n"
    "    for i in $(seq 60); do\n"
    "        sleep 1\n"
    "        if [ \"$(cat \"$dir/package.alive\" 2>/dev/null)\" = \"$sha\" ]; then\n"
    "            mv \"$new\" \"$old\"; rm -f \"$dir/package.bad\"; echo 'the new agent works'; "
    "exit 0\n"
    "        fi\n"
    "    done\n"
    "    echo 'the new agent does not come up: the one before is put back'\n"
    "fi\n"
    "note package.bad \"$sha\"; note package.sha256 \"$was\"; rm -f \"$new\"\n"
    "install_it \"$old\"\n"
    "systemctl daemon-reload; systemctl restart --no-block atoll-host\n"
    "exit 1\n";

Upgrade *upgrade_open(const char *root)
{
    Upgrade *u = NEW(Upgrade);

    u->root = xstrdup(root);
    u->folder = xasprintf("%s/var/lib/atoll", root);
    return u;
}

Upgrade *upgrade_close(Upgrade *u)
{
    if (!u)
        return NULL;
    if (u->job.pid)
        job_drop(&u->job);
    free(u->root);
    free(u->folder);
    free(u->of);
    free(u->why);
    free(u);
    return NULL;
}

/* What a small file in the folder says; "" if it is not there. */
static char *note_new(const Upgrade *u, const char *name)
{
    _cleanup_free_ char *path = path_join(u->folder, name);
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);

    if (!file_exists(path) || file_read(path, &text, NULL) < 0)
        return xstrdup("");
    Str word = str_trim(buf_as_str(&text));
    return xstrndup(word.p, word.n);
}

static int begin_fetch(Upgrade *u, const char *sha, const char *url, Msec now, Err *err)
{
    _cleanup_free_ char *line = xasprintf("%s\n", url);

    log_info("fetching another version of atoll");
    free(u->of);
    u->of = xstrdup(sha);
    int r = job_begin(
        &u->job, NULL,
        (const char *const[]){"sh", "-c", fetch_script, "fetch", u->folder, sha, u->root, NULL},
        str_of(line), now, err);
    explicit_bzero(line, strlen(line));
    return r;
}

static int begin_install(Upgrade *u, const char *sha, Msec now, Err *err)
{
    log_info("installing another version of atoll");
    return job_begin(&u->job, NULL,
                     (const char *const[]){"systemd-run", "--unit=atoll-upgrade", "--collect",
                                           "--quiet",
                                           "--description=atoll: another version of itself", "sh",
                                           "-c", install_script, "install", u->folder, sha, NULL},
                     (Str){0}, now, err);
}

/* What has ended leads to the next: fetched, then installed by a unit that ends us. */
static int go_on(Upgrade *u, const char *sha, Msec now, Err *err)
{
    _cleanup_(buf_clear) Buf out = BUF_INIT(JOB_OUTPUT_MAX);
    int status = 0;

    if (!job_end(&u->job, now, &status, &out))
        return err_set(err, ERR_TEMPORARY, "another version of atoll is on its way");
    if (status != 0) {
        int r = job_failed(u->installing ? "installing another version of atoll"
                                         : "fetching another version of atoll",
                           status, &out, err);
        free(u->why);
        u->why = xstrdup(err->text);
        u->installing = false;
        u->try_at = now + RETRY;
        err->kind = ERR_IO;
        return r < 0 ? -ERR_IO : r;
    }
    free(TAKE(u->why));
    if (!u->installing && !streq(u->of, sha))
        return err_set(err, ERR_TEMPORARY, "yet another version of atoll is wanted");
    if (*u->root) {
        u->exec = true;
    } else if (!u->installing) {
        u->installing = true;
        u->began = now;
        int r = begin_install(u, sha, now, err);
        if (r < 0) {
            u->installing = false;
            return r;
        }
    }
    return err_set(err, ERR_TEMPORARY, "another version of atoll is being started");
}

int upgrade_ready(Upgrade *u, const json_t *spec, const json_t *urls, Msec now, Err *err)
{
    const char *sha = json_str_or(spec, "atoll", ""), *url = json_str_or(urls, "package", "");
    _cleanup_free_ char *has = note_new(u, "package.sha256"), *bad = note_new(u, "package.bad");

    if (u->installing && now - u->began > INSTALL_LIMIT) {
        u->installing = false;
        u->try_at = now + RETRY;
        free(u->why);
        u->why = xstrdup("installing another version of atoll did not end");
    }
    /* The note comes before the new agent. While this one waits to be ended by it, nothing is well:
     * that is for the new one to say. */
    bool begun = u->job.pid || u->installing || u->exec;
    if (!*sha || (streq(sha, has) && !begun))
        return 0;
    if (streq(sha, bad))
        return err_set(
            err, ERR_CONFLICT,
            "the version of atoll that it was sent did not come up; the one before runs");
    if (u->job.pid)
        return go_on(u, sha, now, err);
    if (begun)
        return err_set(err, ERR_TEMPORARY, "another version of atoll is being started");
    if (now < u->try_at)
        return err_set(err, ERR_IO, "%s", u->why);
    if (!*url)
        return err_set(err, ERR_CONFIG, "the bundle has no address for atoll's package");
    int r = begin_fetch(u, sha, url, now, err);
    return r < 0 ? r : err_set(err, ERR_TEMPORARY, "fetching another version of atoll");
}

bool upgrade_wants_exec(const Upgrade *u)
{
    return u->exec;
}

void upgrade_alive(Upgrade *u)
{
    _cleanup_free_ char *sha = NULL, *path = NULL, *line = NULL;

    if (u->alive)
        return;
    u->alive = true;
    sha = note_new(u, "package.sha256");
    path = path_join(u->folder, "package.alive");
    line = xasprintf("%s\n", sha);
    _cleanup_(err_clear) Err err = {0};
    /* On a full disk the one before comes back. */
    if (*sha && file_write(path, str_of(line), 0600, &err) < 0)
        log_err(&err);
}
