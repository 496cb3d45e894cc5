#include "stream/census.h"
#include "io/crypt.h"

void census_init(Census *c, bool several)
{
    uint64_t seed;

    crypt_random(&seed, sizeof(seed));
    (void)pthread_mutex_init(&c->lock, NULL); /* cannot fail without attributes */
    c->several = several;
    hub_init(&c->hub, seed);
}

void census_clear(Census *c)
{
    hub_clear(&c->hub);
    (void)pthread_mutex_destroy(&c->lock);
}

Address *census_enter_address(Census *c, const char *text, uint64_t *ret_conns)
{
    pthread_mutex_lock(&c->lock);
    Address *a = hub_address_ref(&c->hub, text);
    *ret_conns = a->conns;
    pthread_mutex_unlock(&c->lock);
    return a;
}

void census_leave_address(Census *c, Address *a)
{
    pthread_mutex_lock(&c->lock);
    hub_address_unref(&c->hub, a);
    pthread_mutex_unlock(&c->lock);
}

uint64_t census_enter_account(Census *c, const Account *a)
{
    if (!c->several)
        return a->conns;
    pthread_mutex_lock(&c->lock);
    uint64_t conns = hub_account_ref(&c->hub, a->id)->conns;
    pthread_mutex_unlock(&c->lock);
    return conns;
}

void census_leave_account(Census *c, const Account *a)
{
    if (!a || !c->several)
        return;
    pthread_mutex_lock(&c->lock);
    hub_account_unref(&c->hub, hub_account(&c->hub, a->id));
    pthread_mutex_unlock(&c->lock);
}
