#include "backup/pack.h"

#include "backup/catalogue.h"
#include "backup/pool.h"

#define PUT_THREADS 2
#define FRAME_BYTES ((size_t)FRAME_PAGES * PAGE_BYTES)
/* A pack's head stays small, and a frame's number fits into PagePlace. */
#define FRAMES_MAX 4096

/* A pack that is being filled, then waits for its last frames, then is stored. */
typedef struct Pack {
    const PackerOptions *o;
    uint32_t number; /* the caller's */
    Secret *data_key;
    ObjectFrames frames; /* those that are compressed */
    Buf stored;
    uint32_t begun;   /* frames that were handed out */
    size_t under_way; /* plain bytes of those that are not yet compressed */
    bool closed;      /* no frame will follow */
    uint32_t serial;  /* of the packer: in the name */
    PackRef ref;      /* once it is stored */
    int r;            /* how that went */
    Err err;
} Pack;

/* A frame on its way through the pool. */
typedef struct Frame {
    uint8_t *plain; /* FRAME_BYTES */
    size_t pages;
    uint32_t index;
    int level;
    Pack *pack;
    Buf out;
    int r; /* of compressing */
    Err err;
} Frame;

struct Packer {
    PackerOptions o;
    Pool *frames, *puts;
    Frame *frame; /* being filled */
    Pack *pack;   /* being filled; NULL before its first page */
    Frame *spare; /* its memory can be used again */
    uint32_t packs;
    double ratio; /* stored bytes per plain byte, lately */
    int64_t bytes;
};

static Pack *pack_free(Pack *k)
{
    if (!k)
        return NULL;
    secret_free(k->data_key);
    vec_clear(&k->frames);
    buf_clear(&k->stored);
    err_clear(&k->err);
    free(k->ref.name);
    free(k);
    return NULL;
}

static Frame *frame_free(Frame *f)
{
    if (!f)
        return NULL;
    free(f->plain);
    buf_clear(&f->out);
    err_clear(&f->err);
    free(f);
    return NULL;
}

/* In the pools' threads */

static void compress_work(void *state, void *job)
{
    Frame *f = job;

    (void)state;
    Str plain = {(const char *)f->plain, f->pages * PAGE_BYTES};
    f->r = object_frame(f->pack->data_key, f->index, plain, f->level, &f->out, &f->err);
}

static int name_head(Pack *k, Str object, Err *err)
{
    _cleanup_(object_head_clear) ObjectHead head = {0};
    _cleanup_(buf_clear) Buf hex = BUF_INIT(65);
    int r = object_head_whole(object, &head, err);

    if (r < 0)
        return r;
    crypt_hash(CRYPT_SHA256, (Str){object.p, head.frames_at}, &hex);
    memcpy(k->ref.head, hex.p, 65);
    return 0;
}

static int store_pack(Store *s, Pack *k, Err *err)
{
    _cleanup_(buf_clear) Buf object = BUF_INIT(OBJECT_MAX);
    char hash[OBJECT_HASH_MAX];
    ObjectParts parts = {.kind = OBJECT_PACK,
                         .data_key = k->data_key,
                         .frames = &k->frames,
                         .stored = buf_as_str(&k->stored)};
    json_t *facts = json_make_new("{s:s, s:i}", "run", k->o->run, "number", (int)k->serial);
    int r = object_write(k->o->seal, &parts, facts, &object, hash, err);

    if (r < 0)
        return r;
    buf_clear(&k->stored);
    r = name_head(k, buf_as_str(&object), err);
    if (r < 0)
        return r;
    k->ref.name = name_pack_new(k->o->run, k->serial, hash);
    k->ref.bytes = (int64_t)object.len;
    return store_put(s, k->ref.name, buf_as_str(&object), STORE_ANY, err);
}

static void *put_begin(void *user)
{
    return store_clone(((const PackerOptions *)user)->store);
}

static void put_work(void *state, void *job)
{
    Pack *k = job;

    k->r = store_pack(state, k, &k->err);
}

static void put_end(void *state)
{
    (void)store_free(state);
}

/* In the owner's thread */

Packer *packer_new(const PackerOptions *o)
{
    Packer *p = NEW(Packer);

    *p = (Packer){.o = *o, .ratio = 0.5};
    const PoolWork frames = {.work = compress_work};
    const PoolWork puts = {.begin = put_begin, .work = put_work, .end = put_end, .user = &p->o};
    p->frames = pool_new(&frames, o->threads, o->threads + 1);
    p->puts = pool_new(&puts, PUT_THREADS, PUT_THREADS);
    return p;
}

static void drop_frame(void *job)
{
    Frame *f = job;

    /* The pack goes with its last frame; the one that is being filled is the packer's. */
    if (f->pack->closed && f->index + 1 == f->pack->begun)
        pack_free(f->pack);
    frame_free(f);
}

static void drop_pack(void *job)
{
    pack_free(job);
}

Packer *packer_free(Packer *p)
{
    if (!p)
        return NULL;
    pool_free(p->frames, drop_frame);
    pool_free(p->puts, drop_pack);
    frame_free(p->frame);
    frame_free(p->spare);
    pack_free(p->pack);
    free(p);
    return NULL;
}

/* A pack that came back from the store's threads. */
static int end_pack(Packer *p, Pack *k, Err *err)
{
    int r = k->r < 0 ? err_move(err, &k->err) : 0;

    if (r == 0) {
        p->bytes += k->ref.bytes;
        r = p->o.stored(p->o.user, k->number, &k->ref, err);
    }
    pack_free(k);
    return r;
}

static int take_packs(Packer *p, bool wait, Err *err)
{
    int r = 0;
    void *job;

    while (r == 0 && (job = pool_take(p->puts, wait)))
        r = end_pack(p, job, err);
    return r;
}

static int put_pack(Packer *p, Pack *k, Err *err)
{
    int r = pool_full(p->puts) ? end_pack(p, pool_take(p->puts, true), err) : 0;

    if (r < 0) {
        pack_free(k);
        return r;
    }
    pool_push(p->puts, k);
    return 0;
}

/* A frame that came back compressed joins its pack. */
static int end_frame(Packer *p, Frame *f, Err *err)
{
    Pack *k = f->pack;
    size_t plain = f->pages * PAGE_BYTES;
    bool last = k->closed && f->index + 1 == k->begun;
    int r = f->r < 0 ? err_move(err, &f->err) : 0;

    if (r == 0) {
        vec_push(&k->frames, (ObjectFrame){(uint32_t)f->out.len, (uint32_t)plain});
        buf_add(&k->stored, f->out.p, f->out.len);
        k->under_way -= plain;
        p->ratio = 0.8 * p->ratio + 0.2 * (double)f->out.len / (double)plain;
    }
    /* Its memory serves the next frame. */
    buf_truncate(&f->out, 0);
    f->pack = NULL;
    frame_free(p->spare);
    p->spare = f;
    if (r < 0 && last)
        pack_free(k);
    return r == 0 && last ? put_pack(p, k, err) : r;
}

static int take_frames(Packer *p, bool wait, Err *err)
{
    int r = 0;
    void *job;

    while (r == 0 && (job = pool_take(p->frames, wait)))
        r = end_frame(p, job, err);
    return r;
}

static Frame *new_frame(Packer *p)
{
    Frame *f = p->spare ? TAKE(p->spare) : NEW(Frame);

    if (!f->plain) {
        f->plain = xcalloc(FRAME_BYTES, 1);
        f->out = BUF_INIT(OBJECT_MAX);
    }
    f->pages = 0;
    f->level = p->o.level;
    return f;
}

uint8_t *packer_room(Packer *p)
{
    if (!p->frame)
        p->frame = new_frame(p);
    return p->frame->plain + p->frame->pages * PAGE_BYTES;
}

static void begin_pack(Packer *p)
{
    p->pack = NEW(Pack);
    *p->pack = (Pack){.o = &p->o,
                      .number = p->o.begin(p->o.user),
                      .serial = p->packs++,
                      .data_key = crypt_random_new(CRYPT_KEY_BYTES),
                      .stored = BUF_INIT(OBJECT_MAX)};
}

/* Hands the frame to the pool, and closes the pack when it is likely to be large enough. */
static int push_frame(Packer *p, bool close, Err *err)
{
    Pack *k = p->pack;
    size_t plain = p->frame->pages * PAGE_BYTES;

    if (pool_full(p->frames)) {
        int r = end_frame(p, pool_take(p->frames, true), err);
        if (r < 0)
            return r;
    }
    k->under_way += plain;
    double likely = (double)k->stored.len + p->ratio * (double)k->under_way;
    k->closed = close || likely >= (double)PACK_BYTES || k->begun == FRAMES_MAX;
    if (k->closed)
        p->pack = NULL;
    pool_push(p->frames, TAKE(p->frame));
    return packer_tick(p, err);
}

int packer_add(Packer *p, size_t bytes, PagePlace *ret, Err *err)
{
    uint8_t *room = packer_room(p);
    Frame *f = p->frame;

    BUG_IF(bytes == 0 || bytes > PAGE_BYTES);
    memset(room + bytes, 0, PAGE_BYTES - bytes);
    if (!p->pack)
        begin_pack(p);
    if (f->pages == 0) {
        f->pack = p->pack;
        f->index = p->pack->begun++;
    }
    *ret = (PagePlace){p->pack->number, (uint16_t)f->index, (uint16_t)f->pages};
    f->pages++;
    return f->pages == FRAME_PAGES ? push_frame(p, false, err) : 0;
}

int packer_tick(Packer *p, Err *err)
{
    int r = take_frames(p, false, err);

    return r < 0 ? r : take_packs(p, false, err);
}

int packer_end(Packer *p, Err *err)
{
    int r = 0;

    if (p->frame && p->frame->pages > 0) {
        r = push_frame(p, true, err);
    } else if (p->pack) {
        /* Its last frame is already on its way, or even back. */
        Pack *k = p->pack;
        k->closed = true;
        if (k->under_way == 0) {
            p->pack = NULL;
            r = put_pack(p, k, err);
        } else {
            p->pack = NULL;
        }
    }
    if (r == 0)
        r = take_frames(p, true, err);
    return r < 0 ? r : take_packs(p, true, err);
}

int64_t packer_bytes(const Packer *p)
{
    return p->bytes;
}
