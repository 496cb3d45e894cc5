#include "backup/manifest.h"

#define FRAME_PLAIN ((size_t)1 << 20)
/* Of one file: 32 TB in runs of which each has one page would be more. */
#define LINE_MAX_BYTES ((size_t)64 << 20)
#define LEVEL 3

typedef struct Run {
    PagePlace at;
    uint32_t pages;
} Run;

struct Manifest {
    Secret *data_key;
    Buf plain, stored, runs; /* runs: text of the file that is being collected */
    ObjectFrames frames;
    Run run; /* the last one, not yet in `runs` */
};

Manifest *manifest_new(void)
{
    Manifest *m = NEW(Manifest);

    *m = (Manifest){.data_key = crypt_random_new(CRYPT_KEY_BYTES),
                    .plain = BUF_INIT(LINE_MAX_BYTES + 2 * FRAME_PLAIN),
                    .stored = BUF_INIT(OBJECT_MAX),
                    .runs = BUF_INIT(LINE_MAX_BYTES)};
    return m;
}

Manifest *manifest_free(Manifest *m)
{
    if (!m)
        return NULL;
    secret_free(m->data_key);
    buf_clear(&m->plain);
    buf_clear(&m->stored);
    buf_clear(&m->runs);
    vec_clear(&m->frames);
    free(m);
    return NULL;
}

static void end_run(Manifest *m)
{
    const Run *r = &m->run;
    bool zeros = r->at.pack == PAGEMAP_NO_PACK;

    if (r->pages == 0)
        return;
    buf_printf(&m->runs, "%s[%lld,%u,%u,%u]", m->runs.len ? "," : "",
               zeros ? -1LL : (long long)r->at.pack, zeros ? 0 : r->at.frame,
               zeros ? 0 : r->at.page, r->pages);
    m->run = (Run){0};
}

/* A run stays within a frame: who restores reads frames. */
static bool goes_on(const Run *r, PagePlace at)
{
    if (r->pages == 0 || r->at.pack != at.pack)
        return false;
    return at.pack == PAGEMAP_NO_PACK ||
           (r->at.frame == at.frame && r->at.page + r->pages == at.page);
}

void manifest_page(Manifest *m, PagePlace at)
{
    if (!goes_on(&m->run, at)) {
        end_run(m);
        m->run.at = at;
    }
    m->run.pages++;
}

/* Frames that are full; with `all` also what is left. */
static int pack_frames(Manifest *m, bool all, Err *err)
{
    size_t at = 0;
    int r = 0;

    while (r == 0 && (m->plain.len - at >= FRAME_PLAIN || (all && at < m->plain.len))) {
        Str part = {m->plain.p + at, MIN(FRAME_PLAIN, m->plain.len - at)};
        size_t before = m->stored.len;
        r = object_frame(m->data_key, (uint32_t)m->frames.len, part, LEVEL, &m->stored, err);
        vec_push(&m->frames, (ObjectFrame){.stored = (uint32_t)(m->stored.len - before),
                                           .plain = (uint32_t)part.n});
        at += part.n;
    }
    buf_cut(&m->plain, at);
    return r;
}

int manifest_file(Manifest *m, const ManifestFile *f, Err *err)
{
    json_t *path = json_string(f->path), *target = f->target ? json_string(f->target) : NULL;

    if (!path || (f->target && !target)) {
        json_decref(path);
        return err_set(err, ERR_CONFIG, "a file of the cluster has a name that is not UTF-8: %s",
                       f->path);
    }
    _cleanup_json_ json_t *head = json_make_new(
        "{s:o, s:s, s:i, s:I, s:I, s:o*}", "path", path, "kind", f->kind, "mode", (int)f->mode,
        "size", (json_int_t)f->size, "mtime", (json_int_t)f->mtime, "target", target);
    if (f->tablespace)
        json_object_set_new(head, "tablespace", json_integer(f->tablespace));
    _cleanup_free_ char *text = json_text_new(head);
    end_run(m);
    /* The runs are many, and numbers alone: they are put into the text as they are. */
    buf_add(&m->plain, text, strlen(text) - 1);
    if (m->runs.len > 0) {
        buf_str(&m->plain, ",\"runs\":[");
        buf_add(&m->plain, m->runs.p, m->runs.len);
        buf_char(&m->plain, ']');
    }
    buf_str(&m->plain, "}\n");
    if (m->runs.overflow || m->plain.overflow)
        return err_set(err, ERR_QUOTA, "%s has more pieces than a manifest holds", f->path);
    buf_truncate(&m->runs, 0);
    return pack_frames(m, false, err);
}

int manifest_end(Manifest *m, const ObjectSeal *seal, json_t *facts, Buf *ret,
                 char ret_hash[static OBJECT_HASH_MAX], Err *err)
{
    _cleanup_json_ json_t *owned = facts;
    int r = pack_frames(m, true, err);

    if (r < 0)
        return r;
    ObjectParts parts = {.kind = OBJECT_BASE,
                         .data_key = m->data_key,
                         .frames = &m->frames,
                         .stored = buf_as_str(&m->stored)};
    return object_write(seal, &parts, json_incref(owned), ret, ret_hash, err);
}
