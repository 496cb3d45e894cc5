#include "deploy/deploy.h"

static void wave_of_one(DeployWaves *ret, const char *key)
{
    vec_push(ret, (StrList){0});
    strlist_add(vec_last(ret), key);
}

void deploy_waves(const ResourceVec *want, DeployWaves *ret)
{
    StrList jobs = {0};
    const char *last = NULL;

    for (size_t i = 0; i < want->len; i++) {
        const Resource *r = &want->items[i];
        const json_t *roles = json_object_get(r->attrs, "roles");

        if (r->kind != RESOURCE_HOST)
            continue;
        if (json_bool(r->attrs, "scheduler", false))
            last = r->key;
        else if (json_bool(r->attrs, "streams_node", false) || json_list_has(roles, "web"))
            wave_of_one(ret, r->key);
        else if (json_list_has(roles, "worker"))
            strlist_add(&jobs, r->key);
    }
    if (jobs.len)
        vec_push(ret, jobs);
    if (last)
        wave_of_one(ret, last);
}

void deploy_waves_clear(DeployWaves *w)
{
    for (size_t i = 0; i < w->len; i++)
        strlist_clear(&w->items[i]);
    vec_clear(w);
}

static void step(const ReleaseRecord *r, ReleasePhase phase, ReleaseRecord *ret)
{
    release_next(r, ret);
    ret->phase = phase;
    ret->attempt = 1;
}

void deploy_begin(const ReleaseRecord *r, const json_t *to, int gate_s, ReleaseRecord *ret)
{
    step(r, RELEASE_FETCH, ret);
    json_decref(ret->to);
    ret->to = json_deep_copy(to);
    ret->gate_s = gate_s;
}

/* `release` runs everywhere, and nothing is under way. */
static void settle(const ReleaseRecord *r, const json_t *release, ReleasePrepare prepare,
                   ReleaseRecord *ret)
{
    json_t *runs = json_deep_copy(release);

    step(r, RELEASE_DONE, ret);
    json_decref(ret->now);
    json_decref(ret->to);
    ret->now = runs;
    ret->to = json_incref(runs);
    ret->prepare = prepare;
    ret->attempt = r->attempt;
    /* Whether its definitions are others is looked at then, and found out again until it is done.
     */
    ret->index_due = r->index && (r->index_due || !release_same(r->now, release));
    strlist_clear(&ret->told);
}

static bool all_told(const ReleaseRecord *r, const StrList *wave)
{
    for (size_t i = 0; i < wave->len; i++)
        if (!strlist_has(&r->told, wave->items[i]))
            return false;
    return true;
}

/* Tells the first wave that is not; false if all are. */
static bool tell_next(ReleaseRecord *r, const DeployWaves *waves)
{
    for (size_t i = 0; i < waves->len; i++) {
        const StrList *wave = &waves->items[i];

        if (all_told(r, wave))
            continue;
        for (size_t k = 0; k < wave->len; k++)
            if (!strlist_has(&r->told, wave->items[k]))
                strlist_add(&r->told, wave->items[k]);
        return true;
    }
    return false;
}

/* Takes the last wave that was told out again. Hosts that are in no wave any more go with it. */
static void untell_last(ReleaseRecord *r, const DeployWaves *waves)
{
    StrList left = {0};
    size_t last = waves->len;

    for (size_t i = 0; i < waves->len; i++)
        for (size_t k = 0; k < waves->items[i].len; k++)
            if (strlist_has(&r->told, waves->items[i].items[k]))
                last = i;
    for (size_t i = 0; i < last; i++)
        for (size_t k = 0; k < waves->items[i].len; k++)
            if (strlist_has(&r->told, waves->items[i].items[k]))
                strlist_add(&left, waves->items[i].items[k]);
    strlist_clear(&r->told);
    if (last < waves->len)
        r->told = left;
    else
        strlist_clear(&left);
}

static DeployEnd go_back(const ReleaseRecord *r, const DeployWaves *waves, ReleaseRecord *ret)
{
    if (r->told.len == 0) {
        settle(r, r->now, r->phase == RELEASE_FETCH ? r->prepare : PREPARE_NONE, ret);
        return DEPLOY_WENT_BACK;
    }
    step(r, RELEASE_BACK, ret);
    ret->prepare = PREPARE_NONE;
    untell_last(ret, waves);
    return DEPLOY_GOES_ON;
}

static DeployEnd roll_on(const ReleaseRecord *r, const DeployWaves *waves, bool hold,
                         ReleaseRecord *ret)
{
    step(r, RELEASE_ROLL, ret);
    if (tell_next(ret, waves))
        return DEPLOY_GOES_ON;
    ret->phase = hold ? RELEASE_HELD : RELEASE_POST;
    if (!hold)
        ret->prepare = PREPARE_POST;
    return DEPLOY_GOES_ON;
}

DeployEnd deploy_next(const ReleaseRecord *r, const DeployWaves *waves, bool failed, bool hold,
                      ReleaseRecord *ret)
{
    switch (r->phase) {
    case RELEASE_FETCH:
        if (failed)
            return go_back(r, waves, ret);
        step(r, RELEASE_PRE, ret);
        ret->prepare = PREPARE_PRE;
        return DEPLOY_GOES_ON;
    case RELEASE_PRE:
    case RELEASE_ROLL:
        return failed ? go_back(r, waves, ret) : roll_on(r, waves, hold, ret);
    case RELEASE_HELD:
        if (failed)
            return DEPLOY_STUCK;
        if (hold)
            return DEPLOY_HOLDS;
        step(r, RELEASE_POST, ret);
        ret->prepare = PREPARE_POST;
        return DEPLOY_GOES_ON;
    case RELEASE_POST:
        if (failed)
            return DEPLOY_STUCK;
        settle(r, r->to, PREPARE_POST, ret);
        return DEPLOY_ENDED;
    case RELEASE_BACK:
        return failed ? DEPLOY_STUCK : go_back(r, waves, ret);
    case RELEASE_DONE:
    case RELEASE_PHASES:
        break;
    }
    return DEPLOY_ENDED;
}

void deploy_again(const ReleaseRecord *r, ReleaseRecord *ret)
{
    step(r, r->phase, ret);
    ret->attempt = r->attempt + 1;
}

bool deploy_back(const ReleaseRecord *r, const DeployWaves *waves, ReleaseRecord *ret, Err *err)
{
    char words[128];

    if (r->phase == RELEASE_DONE || r->phase == RELEASE_POST) {
        (void)err_set(err, ERR_CONFLICT,
                      r->phase == RELEASE_DONE
                          ? "no change of release is under way: %s runs, with all its migrations"
                          : "the post-deployment migrations of %s have begun: the code before it "
                            "can't run on this database any more",
                      release_words(r->phase == RELEASE_DONE ? r->now : r->to, words));
        (void)err_hint(err,
                       r->phase == RELEASE_DONE
                           ? "to go back, restore the database from before the change, or go on "
                             "to a release that mends it; `atoll deploy --hold` leaves time next "
                             "time"
                           : "`atoll deploy` tries them again; else restore the database from "
                             "before the change");
        return false;
    }
    if (r->phase == RELEASE_HELD) {
        ReleaseRecord all = {0};

        /* By now every host runs it. */
        release_copy(&all, r);
        while (tell_next(&all, waves))
            ;
        (void)go_back(&all, waves, ret);
        release_clear(&all);
    } else if (r->phase == RELEASE_BACK) {
        deploy_again(r, ret);
    } else {
        (void)go_back(r, waves, ret);
    }
    return true;
}

char *deploy_words_new(const ReleaseRecord *r)
{
    static const char *const words[RELEASE_PHASES] = {
        [RELEASE_DONE] = "nothing under way",
        [RELEASE_FETCH] = "every server fetches the release",
        [RELEASE_PRE] = "migrations before",
        [RELEASE_ROLL] = "restarts",
        [RELEASE_HELD] = "the new release runs; migrations after wait",
        [RELEASE_POST] = "migrations after",
        [RELEASE_BACK] = "back to the release before"};
    Buf b = BUF_INIT(BUF_MAX_LINE);

    buf_str(&b, words[r->phase]);
    for (size_t i = 0; r->phase == RELEASE_ROLL && i < r->told.len; i++)
        buf_printf(&b, "%s%s", i ? ", " : ": ", r->told.items[i]);
    return buf_detach(&b);
}
