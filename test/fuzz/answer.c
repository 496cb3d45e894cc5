/* What a service answers: the first byte says which service and whether it failed, the rest is the
 * body. Errors always have words, pages always end, and readers take any JSON.
 */
#include "cloud/answer.h"
#include "cloud/kind.h"
#include "fuzz.h"

static void read_as_error(CloudService service, Str body)
{
    static const int statuses[] = {400, 401, 403, 404, 409, 413, 429, 498, 500, 502, 503};

    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        _cleanup_(err_clear) Err err = {0};
        Answer a = {.service = service, .status = statuses[i], .body = body};
        BUG_IF(answer_error(&a, NULL, &err) != -(int)err.kind);
        BUG_IF(!err.text || !*err.text || strlen(err.text) > 1000);
    }
}

static void read_as_page(CloudService service, const json_t *page)
{
    static const char *const plurals[] = {"servers", "server_groups", ""};

    for (size_t i = 0; i < ARRAY_LEN(plurals); i++) {
        _cleanup_(err_clear) Err err = {0};
        _cleanup_free_ char *next = NULL;
        json_t *items;
        AnswerPage p = {service, plurals[i], "http://h/v2/x?limit=2&marker=a", page, 0, 9};
        int r = answer_page(&p, &items, &next, &err);
        BUG_IF(r < 0 && !err.text);
        BUG_IF(r == 0 && (!json_is_array(items) || (next && !starts_with(next, "http://h/v2/x?"))));
    }
}

static void read_as_items(json_t *items)
{
    _cleanup_(world_clear) World w = {0};
    Clouds clouds = {.island = "reef"};
    Look l = {.clouds = &clouds, .marker = "atoll:reef", .world = &w};
    const json_t *item;
    size_t i;

    json_array_foreach (items, i, item) {
        for (int kind = 0; kind < RESOURCE_KINDS; kind++) {
            const KindRow *row = kind_row((ResourceKind)kind);
            Resource r = {0};
            if (row && row->read && row->read(&l, item, &r))
                (void)world_add(&w, r);
        }
    }
    world_link(&w);
    for (i = 0; i < w.items.len; i++)
        BUG_IF(!w.items.items[i].id || !w.items.items[i].key || !w.items.items[i].attrs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    Str body = {(const char *)data + 1, size - 1};
    CloudService service = (CloudService)(data[0] % CLOUD_SERVICES);
    _cleanup_json_ json_t *j = json_parse_new(body.p, body.n, NULL);

    read_as_error(service, body);
    if (j)
        read_as_page(service, j);
    read_as_items(j);
    return 0;
}
