/* The lease: a security group that nobody uses. */
#include "plan/lease.h"
#include "io/crypt.h"
#include "plan/lease_text.h"

#define NONCE_DIGITS 16

static Cloud *cloud_of(const Clouds *c)
{
    return c->of[CLOUD_OF_ISLAND];
}

static int list(const Clouds *c, LeaseTexts *ret, Err *err)
{
    _cleanup_(call_clear)
        Call call = {.cloud = cloud_of(c),
                     .service = CLOUD_NETWORK,
                     .kind = CALL_READ,
                     .method = "GET",
                     .path = xasprintf("/security-groups?name=%s-lease", c->island),
                     .plural = "security_groups"};
    int r = cloud_perform(&call, 1, err);

    if (r < 0)
        return err_wrap(err, "looking for the lease");
    lease_read(call.json, c->island, ret);
    return 0;
}

static int remove_group(const Clouds *c, const char *id, Err *err)
{
    _cleanup_(call_clear) Call call = {.cloud = cloud_of(c),
                                       .service = CLOUD_NETWORK,
                                       .kind = CALL_IDEMPOTENT,
                                       .method = "DELETE",
                                       .path = xasprintf("/security-groups/%s", id),
                                       .last_word = true};
    int r = cloud_perform(&call, 1, err);

    if (r == -ERR_NOT_FOUND) {
        err_clear(err);
        return 0;
    }
    return r;
}

static int held(const LeaseText *l, Err *err)
{
    char at[TIME_TEXT_MAX];

    (void)err_set(err, ERR_HELD, "%s is at work on this island (until %s, unless renewed)",
                  l ? l->holder : "another run",
                  l ? time_format(l->until, false, at) : "it is done");
    return err_hint(err,
                    "wait for it (--lease-wait 10m), or `atoll unlock --force` if it is certainly "
                    "dead");
}

/* Removes those of the dead; *ret_live is the first of the living, or NULL. */
static int clear_dead(const Clouds *c, const LeaseTexts *l, Msec now, Lease *lease,
                      const LeaseText **ret_live, Err *err)
{
    *ret_live = NULL;
    for (size_t i = 0; i < l->len; i++) {
        const LeaseText *one = &l->items[i];

        if (one->until > now && lease_run_lives(one->run)) {
            *ret_live = *ret_live ? *ret_live : one;
            continue;
        }
        if (remove_group(c, one->id, err) < 0)
            return err_wrap(err, "taking over the lease of %s", one->holder);
        lease->took_over = true;
    }
    return 0;
}

static char *own_id(const LeaseTexts *l, const char *run)
{
    for (size_t i = 0; i < l->len; i++) {
        if (streq(l->items[i].run, run))
            return xstrdup(l->items[i].id);
    }
    return NULL;
}

/* Makes ours. A lost answer is no trouble: our run's name is in it. */
static int make(const Clouds *c, const char *run, Lease *lease, Err *err)
{
    _cleanup_free_ char *name = xasprintf("%s-lease", c->island);
    _cleanup_(lease_texts_clear) LeaseTexts there = {0};
    _cleanup_(call_clear)
        Call call = {.cloud = cloud_of(c),
                     .service = CLOUD_NETWORK,
                     .kind = CALL_CREATE,
                     .method = "POST",
                     .path = xstrdup("/security-groups"),
                     .body = json_make_new("{s:{s:s, s:s}}", "security_group", "name", name,
                                           "description", lease->description)};
    int r = cloud_perform(&call, 1, err);

    if (r == 0 && json_str(call.json, "security_group.id")) {
        lease->id = xstrdup(json_str(call.json, "security_group.id"));
        return 0;
    }
    if (r < 0 && !call.unknown_effect)
        return err_wrap(err, "taking the lease");
    err_clear(err);
    if ((r = list(c, &there, err)) < 0)
        return r;
    lease->id = own_id(&there, run);
    if (lease->id)
        return 0;
    return err_set(err, ERR_TEMPORARY, "taking the lease: the cloud's answer was lost");
}

/* After ours is made: does it hold? */
static int elect(const Clouds *c, Lease *lease, Msec now, Err *err)
{
    for (int again = 0; again < 2; again++) {
        _cleanup_(lease_texts_clear) LeaseTexts there = {0};
        const LeaseText *other = NULL;
        LeaseElection e;
        int r = list(c, &there, err);

        if (r < 0)
            return r;
        e = lease_elect(&there, lease->id, now, &other);
        for (size_t i = 0; i < there.len; i++) {
            if (streq(there.items[i].id, lease->id))
                lease->created_at = there.items[i].created_at;
        }
        if (e == LEASE_WON)
            return 0;
        /* Whoever made the other in that second either saw ours and goes, or did not and stays. */
        if (e == LEASE_LOST || again)
            return held(other, err);
        time_sleep(SECOND + SECOND / 5);
    }
    return held(NULL, err);
}

int lease_take(const Clouds *c, const char *holder, Msec now, Lease *ret, Err *err)
{
    _cleanup_(lease_texts_clear) LeaseTexts there = {0};
    _cleanup_free_ char *run = NULL;
    char nonce[NONCE_DIGITS + 1];
    const LeaseText *live;
    Lease lease = {.until = now + LEASE_LIFE};
    int r;

    if ((r = list(c, &there, err)) < 0 || (r = clear_dead(c, &there, now, &lease, &live, err)) < 0)
        return r;
    if (live)
        return held(live, err);
    crypt_random_hex(nonce, NONCE_DIGITS);
    run = lease_run_new(nonce);
    lease.description = lease_text_new(c->island, holder, run, lease.until);
    r = make(c, run, &lease, err);
    if (r == 0 && (r = elect(c, &lease, now, err)) < 0)
        lease_drop(c, &lease);
    if (r < 0)
        lease_clear(&lease);
    else
        *ret = lease;
    return r;
}

/* The description with another end. */
static char *prolonged(const char *description, Msec until)
{
    const char *at = strstr(description, " until=");
    char text[TIME_TEXT_MAX];

    BUG_IF(!at);
    return xasprintf("%.*s until=%s", (int)(at - description), description,
                     time_format(until, false, text));
}

int lease_renew(const Clouds *c, Lease *l, Msec now, Err *err)
{
    Msec until = now + LEASE_LIFE;
    _cleanup_free_ char *description = NULL;
    int r;

    if (l->until - now >= LEASE_LIFE / 4 * 3)
        return 0;
    description = prolonged(l->description, until);
    _cleanup_(call_clear) Call call = {
        .cloud = cloud_of(c),
        .service = CLOUD_NETWORK,
        .kind = CALL_IDEMPOTENT,
        .method = "PUT",
        .path = xasprintf("/security-groups/%s", l->id),
        .body = json_make_new("{s:{s:s}}", "security_group", "description", description)};
    r = cloud_perform(&call, 1, err);
    if (r == -ERR_NOT_FOUND) {
        err_clear(err);
        return err_set(err, ERR_HELD, "the lease was taken away; another run may be at work");
    }
    if (r < 0)
        return err_wrap(err, "renewing the lease");
    free(l->description);
    l->description = TAKE(description);
    l->until = until;
    return 0;
}

/* The last request of a run that died may have landed since ours was made: a lease that nobody
 * holds. */
static void drop_late(const Clouds *c)
{
    _cleanup_(lease_texts_clear) LeaseTexts there = {0};
    const LeaseText *live;
    Lease none = {0};

    if (list(c, &there, NULL) == 0)
        (void)!clear_dead(c, &there, cloud_now(cloud_of(c)), &none, &live, NULL);
}

void lease_drop(const Clouds *c, Lease *l)
{
    if (!l->id)
        return;
    drop_late(c);
    (void)!remove_group(c, l->id, NULL); /* it expires */
}

void lease_clear(Lease *l)
{
    free(l->id);
    free(l->description);
    *l = (Lease){0};
}

int lease_show(const Clouds *c, Msec now, char **ret, Err *err)
{
    _cleanup_(lease_texts_clear) LeaseTexts there = {0};
    char at[TIME_TEXT_MAX];
    int r = list(c, &there, err);

    if (r < 0)
        return r;
    *ret = NULL;
    for (size_t i = 0; i < there.len && !*ret; i++) {
        const LeaseText *l = &there.items[i];

        if (l->until > now)
            *ret = xasprintf("%s, until %s%s", l->holder, time_format(l->until, false, at),
                             lease_run_lives(l->run) ? "" : " (its process is gone)");
    }
    return 0;
}

int lease_break(const Clouds *c, Err *err)
{
    _cleanup_(lease_texts_clear) LeaseTexts there = {0};
    int r = list(c, &there, err);

    for (size_t i = 0; r == 0 && i < there.len; i++)
        r = remove_group(c, there.items[i].id, err);
    return r;
}
