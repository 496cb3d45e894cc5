/* What parses is a tree within the limits, every node with a place; what does not says where. */
#include "io/yaml.h"
#include "fuzz.h"

static void check_node(const Yaml *y, const YamlNode *n, int depth)
{
    BUG_IF(depth > 32 || n->line < 1 || n->column < 1);
    BUG_IF((n->type == YAML_SCALAR) != (n->text != NULL));
    BUG_IF(n->type == YAML_SCALAR && n->len > 0);
    for (size_t i = 0; i < n->len; i++) {
        const YamlNode *item = &n->items[i];
        BUG_IF((n->type == YAML_MAP) != (item->key != NULL));
        /* The first of two equal keys would hide the second. */
        BUG_IF(item->key && yaml_get(n, item->key) != item);
        check_node(y, item, depth + 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_(err_clear) Err err = {0};
    _cleanup_(yaml_clear) Yaml y = {0};

    if (yaml_parse("f", (Str){(const char *)data, size}, &y, &err) < 0) {
        int line, column;
        BUG_IF(err.kind != ERR_CONFIG);
        BUG_IF(sscanf(err.text, "f:%d:%d: ", &line, &column) != 2 || line < 1 || column < 1);
        return 0;
    }
    BUG_IF(err.kind);
    /* With many keys the check above would take the square of their number. */
    if (size < 4096)
        check_node(&y, &y.root, 1);
    return 0;
}
