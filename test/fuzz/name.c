/* A name that is one of ours is made again from what was read of it; any other is none. */
#include "backup/catalogue.h"
#include "fuzz.h"

static char *again_new(const Name *n)
{
    switch (n->kind) {
    case NAME_WAL:
        return name_wal_new(n->tli, n->start, n->end, n->identity);
    case NAME_HISTORY:
        return name_history_new(n->tli, n->identity);
    case NAME_PACK:
        return xasprintf("host/pack/%s-%s", n->id, n->identity);
    case NAME_BASE:
        return name_base_new(n->id, n->identity);
    case NAME_SEGMENT:
        return xasprintf("segment/%08x/%s-%lld", n->tli, n->id, (long long)n->number);
    case NAME_NOTE:
        return name_note_new(n->number);
    case NAME_NOTES:
        return name_notes_new(n->number, n->last);
    case NAME_OTHER:
        break;
    }
    return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *s = fuzz_string_new(data, size);
    Name n = name_parse(s);
    _cleanup_free_ char *again = again_new(&n);

    BUG_IF((n.kind == NAME_OTHER) != !again);
    BUG_IF(again && !streq(again, s));
    BUG_IF(n.kind == NAME_WAL && n.start >= n.end);
    BUG_IF(n.kind == NAME_NOTES && (n.number < 1 || n.last < n.number));
    BUG_IF(strlen(n.id) >= sizeof n.id || strlen(n.identity) >= sizeof n.identity);
    return 0;
}
