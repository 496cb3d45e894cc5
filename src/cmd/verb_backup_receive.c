/* atoll backup receive: an island's database is filled on its own server, with a kit
 * (backup/kit.h).
 */
#include "backup/kit.h"
#include "base/log.h"
#include "cmd/backup.h"
#include "io/file.h"
#include "io/http.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define TELL_MS (1 * SECOND)
#define PATIENCE (1 * HOUR) /* with an object store that is away */

typedef struct Options {
    const char *programs;
} Options;

static const Opt options[] = {
    {.name = "programs",
     .type = OPT_STRING,
     .argument = "FOLDER",
     .sentence = "PostgreSQL's programs.",
     .offset = offsetof(Options, programs)},
    OPT_END,
};

static int read_secret(const char *folder, const char *name, Secret **ret, Err *err)
{
    _cleanup_free_ char *path = path_join(folder, name);
    _cleanup_(buf_wipe) Buf text = BUF_INIT(BUF_MAX_LINE);
    int r = file_read(path, &text, err);

    if (r == 0)
        *ret = secret_new(text.p, strcspn(text.p, "\r\n"));
    return r;
}

static int read_key(const char *folder, KeyPair *ret, Err *err)
{
    _cleanup_secret_ Secret *hex = NULL, *secret = NULL;
    _cleanup_(buf_wipe) Buf bytes = BUF_INIT(CRYPT_KEY_BYTES);
    int r = read_secret(folder, "key", &hex, err);

    if (r < 0)
        return r;
    if (!crypt_unhex(&bytes, secret_expose(hex)) || bytes.len != CRYPT_KEY_BYTES)
        return err_set(err, ERR_CORRUPT, "the kit's key is none");
    secret = secret_new(bytes.p, bytes.len);
    return crypt_box_public(secret, ret, err);
}

static int fetch_once(const Cmd *c, const Secret *url, HttpResponse *ret, Err *err)
{
    _cleanup_(http_drop) Http *http = http_new(&(HttpOptions){.stop = c->stop});

    http_perform(http,
                 &(HttpRequest){.method = "GET",
                                .url = secret_expose(url).p,
                                .max_body = KIT_MAX,
                                .timeout_ms = 1 * HOUR},
                 ret, 1);
    if (ret->status == 0)
        return err_move(err, &ret->err);
    if (ret->status == 401)
        return err_set(err, ERR_AUTH, "the address of the restore's kit has ended");
    if (ret->status != 200)
        return err_set(err, ERR_TEMPORARY, "the object store answers %d for the restore's kit",
                       ret->status);
    return 0;
}

static int fetch(const Cmd *c, const Secret *url, HttpResponse *ret, Err *err)
{
    Msec until = time_mono() + PATIENCE;
    int r;

    while ((r = fetch_once(c, url, ret, err)) == -ERR_TEMPORARY && time_mono() < until &&
           !*c->stop) {
        http_response_clear(ret);
        *ret = (HttpResponse){0};
        time_sleep(SECOND);
    }
    return r;
}

typedef struct Told {
    const char *file; /* of which the agent makes its report */
    Msec at;
} Told;

static void progress(void *user, const RestoreProgress *p)
{
    Told *told = user;
    Msec now = time_mono();

    if (now - told->at < TELL_MS)
        return;
    told->at = now;
    _cleanup_free_ char *line =
        xasprintf("%s: %lld of %lld MB, %d %%\n", p->phase, (long long)(p->done >> 20),
                  (long long)(p->total >> 20), p->total > 0 ? (int)(p->done * 100 / p->total) : 0);
    fputs(line, stderr);
    (void)!file_write(told->file, str_of(line), 0600, NULL); /* words only */
}

/* A folder that has a cluster and no marker is one that was finished, and not yet renamed. */
static bool is_finished(const char *folder)
{
    _cleanup_free_ char *version = path_join(folder, "PG_VERSION");
    _cleanup_free_ char *marker = path_join(folder, RESTORE_MARKER);

    return file_exists(version) && !file_exists(marker);
}

/* It gets its name at the end. */
static char *to_new(const char *to)
{
    return xasprintf("%s.restored", to);
}

static int restore(const Cmd *c, const Options *o, const Kit *k, const char *const *operands,
                   Err *err)
{
    _cleanup_(restore_result_clear) RestoreResult result = {0};
    _cleanup_free_ char *file = path_join(operands[0], "progress");
    _cleanup_free_ char *to = to_new(operands[1]);
    Told told = {.file = file};
    char self[4096] = "", lsn[LSN_TEXT_MAX], time[TIME_TEXT_MAX], query[TIME_TEXT_MAX];

    if (readlink("/proc/self/exe", self, sizeof self - 1) <= 0)
        return err_set(err, ERR_IO, "where this program is can't be told: %m");
    int r = restore_run(&(RestoreOptions){.store = k->store,
                                          .catalogue = &k->catalogue,
                                          .reader = &k->reader,
                                          .choice = &k->choice,
                                          .histories = &k->histories,
                                          .target = k->target,
                                          .to = to,
                                          .programs = o->programs,
                                          .client = self,
                                          .stop = c->stop,
                                          .progress = progress,
                                          .progress_user = &told},
                        &result, err);
    for (size_t i = 0; i < result.warnings.len; i++)
        log_warn("%s", result.warnings.items[i]);
    if (r < 0)
        return r;
    printf("restored the backup %s up to %s, %s%s; timeline %u; %s\n", k->base.id,
           lsn_format(result.reached, lsn),
           result.reached_time ? "last transaction of " : "no transaction since",
           result.reached_time ? time_format(result.reached_time, true, time) : "", result.tli,
           time_span(result.query_ms, query));
    return 0;
}

/* The whole of it is there: it gets its name, and what it was read with is removed. */
static int take_place(const char *kit, const char *from, const char *to, Err *err)
{
    _cleanup_free_ char *above = path_folder(to);
    static const char *const used[] = {"url", "key", "progress"};

    if (rename(from, to) < 0)
        return err_set(err, ERR_IO, "renaming %s to %s: %m", from, to);
    int fd = open(above, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = fd < 0 || fsync(fd) < 0 ? err_set(err, ERR_IO, "writing %s: %m", above) : 0;
    if (fd >= 0)
        close(fd);
    for (size_t i = 0; i < ARRAY_LEN(used); i++) {
        _cleanup_free_ char *path = path_join(kit, used[i]);
        (void)unlink(path); /* what the address leads to is removed, too */
    }
    return r;
}

static int run(Cmd *c, char **operands, Err *err)
{
    const Options *o = c->options;
    _cleanup_secret_ Secret *url = NULL;
    _cleanup_(keypair_clear) KeyPair key = {0};
    _cleanup_(http_response_clear) HttpResponse sealed = {0};
    _cleanup_(kit_clear) Kit kit = {0};

    if (!operands[0] || !operands[1] || !o->programs)
        return err_set(err, ERR_USAGE, "a kit's folder, where to, and --programs are needed");
    _cleanup_free_ char *to = to_new(operands[1]);
    if (is_finished(to))
        return take_place(operands[0], to, operands[1], err);
    cmd_backup_memory();
    int r = read_secret(operands[0], "url", &url, err);
    if (r == 0)
        r = read_key(operands[0], &key, err);
    if (r == 0)
        r = fetch(c, url, &sealed, err);
    if (r == 0)
        r = kit_open(buf_as_str(&sealed.body), &key,
                     &(StoreOptions){.stop = c->stop, .patience_ms = PATIENCE}, &kit, err);
    if (r == 0)
        r = restore(c, o, &kit, (const char *const *)operands, err);
    return r < 0 ? r : take_place(operands[0], to, operands[1], err);
}

const Verb verb_backup_receive = {
    .name = "backup receive",
    .usage = "backup receive --programs FOLDER KIT TO",
    .sentence = "Fill an island's database from a backup, on its own server.",
    .text = "Run by the agent of the database's server, not by people: `atoll restore --island` "
            "gives it an address and a key (files url and key in the folder KIT).",
    .operands = 2,
    .hidden = true,
    .options_size = sizeof(Options),
    .options = options,
    .run = run,
};
