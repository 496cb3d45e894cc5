/* What is taken as an island can be asked for its resources; what is not says where and why. */
#include "fuzz.h"
#include "island/want.h"

/* A message points into the file, unless the file as a whole can't be read. */
static void check_refusal(const Err *err)
{
    int line, column;

    BUG_IF(err->kind != ERR_CONFIG);
    BUG_IF(sscanf(err->text, "f:%d:%d: ", &line, &column) != 2 || line < 1 || column < 1);
}

static void check_island(const Island *i)
{
    ResourceVec want = {0};
    char *scheduler = island_scheduler(i), *edge = island_first_server(i, ROLE_EDGE);
    int hosts = 0;

    BUG_IF(!i->n_tiers || i->n_tiers > ISLAND_TIERS_MAX || !scheduler || !edge);
    island_want(i, NULL, &want);
    for (size_t k = 0; k < want.len; k++) {
        hosts += want.items[k].kind == RESOURCE_HOST;
        BUG_IF(!want.items[k].key || !want.items[k].name || !want.items[k].attrs);
        resource_clear(&want.items[k]);
    }
    BUG_IF(hosts != island_count(i));
    vec_clear(&want);
    free(scheduler);
    free(edge);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_(err_clear) Err err = {0};
    _cleanup_(island_clear) Island i = {0};

    if (island_parse("f", (Str){(const char *)data, size}, &i, &err) < 0) {
        check_refusal(&err);
        return 0;
    }
    BUG_IF(err.kind);
    check_island(&i);
    return 0;
}
