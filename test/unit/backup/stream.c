/* The stream's decisions: when a piece is cut, where the log begins, who waits for whom. */
#include "backup/stream.h"
#include <setjmp.h>

#include <cmocka.h>

#define MIB ((Lsn)1 << 20)
#define SEGMENT (16 * MIB)

static void test_pieces(void **state)
{
    static const struct {
        const char *words;
        Piece p;
        Msec now, wait;
    } table[] = {
        {"nothing waits", {.start = 5, .end = 5, .oldest = 100}, 9000, -1},
        {"fresh", {.start = MIB, .end = MIB + 5, .oldest = 1000}, 1000, 1000},
        {"half a second old", {.start = MIB, .end = MIB + 5, .oldest = 1000}, 1500, 500},
        {"due", {.start = MIB, .end = MIB + 5, .oldest = 1000}, 2000, 0},
        {"late", {.start = MIB, .end = MIB + 5, .oldest = 1000}, 9000, 0},
        {"a MiB ends", {.start = MIB, .end = 2 * MIB, .oldest = 1000}, 1000, 0},
        {"a small one too", {.start = 2 * MIB - 8, .end = 2 * MIB, .oldest = 1000}, 1000, 0},
        {"puts take time", {.start = 1, .end = 9, .oldest = 1000, .put_ms = 200}, 1100, 500},
        {"much time", {.start = 1, .end = 9, .oldest = 1000, .put_ms = 480}, 1000, 120},
        {"too much", {.start = 1, .end = 9, .oldest = 1000, .put_ms = 3000}, 1000, 750},
        {"hopeless", {.start = 1, .end = 9, .oldest = 1000, .put_ms = 60000}, 1000, 1000},
        {"commits wait", {.start = 1, .end = 9, .oldest = 1000, .eager = true}, 1000, 0},
        {"the clock of the first byte", {.start = 1, .end = 9, .oldest = 2000}, 1000, 2000},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        Msec wait = piece_wait(&table[i].p, table[i].now);
        if (wait != table[i].wait || piece_due(&table[i].p, table[i].now) != (wait == 0))
            fail_msg("%s: %lld", table[i].words, (long long)wait);
    }
}

/* However slow: a byte waits at most a second before its put begins, never so short that a message
 * would be a piece. */
static void test_patience(void **state)
{
    (void)state;
    for (Msec put = 0; put < 100000; put += 7) {
        Piece p = {.start = 1, .end = 2, .oldest = 0, .put_ms = put};
        Msec wait = piece_wait(&p, 0);
        assert_in_range(wait, 20, PIECE_WAIT_MS);
        if (put <= 400)
            assert_true(wait + 2 * put <= PIECE_WAIT_MS);
    }
}

static void test_begin(void **state)
{
    static const struct {
        const char *words;
        StreamPlace slot, server, known, begin;
    } table[] = {
        {"a new slot", {1, 3 * SEGMENT + 77}, {1, 3 * SEGMENT + 99}, {0, 0}, {1, 3 * SEGMENT}},
        {"a slot that holds nothing", {0, 0}, {1, 3 * SEGMENT + 99}, {0, 0}, {1, 3 * SEGMENT}},
        {"what is known goes on",
         {1, 3 * SEGMENT + 77},
         {1, 4 * SEGMENT},
         {1, 3 * SEGMENT + 77},
         {1, 3 * SEGMENT + 77}},
        {"the slot's position was lost in a crash",
         {1, 3 * SEGMENT},
         {1, 4 * SEGMENT},
         {1, 3 * SEGMENT + 77},
         {1, 3 * SEGMENT + 77}},
        {"known is older than the slot",
         {1, 5 * SEGMENT + 9},
         {1, 6 * SEGMENT},
         {1, 3 * SEGMENT + 77},
         {1, 5 * SEGMENT}},
        {"the slot was invalidated",
         {0, 0},
         {1, 6 * SEGMENT},
         {1, 3 * SEGMENT + 77},
         {1, 3 * SEGMENT + 77}},
        {"promoted, the slot has the old timeline",
         {1, 2 * SEGMENT + 5},
         {2, 6 * SEGMENT},
         {1, 3 * SEGMENT + 77},
         {1, 2 * SEGMENT + 5}},
        {"promoted, the slot has nothing",
         {0, 0},
         {2, 6 * SEGMENT},
         {1, 3 * SEGMENT + 77},
         {1, 3 * SEGMENT + 77}},
        {"promoted, a slot made afterwards",
         {2, 5 * SEGMENT + 5},
         {2, 6 * SEGMENT},
         {1, 3 * SEGMENT + 77},
         {2, 5 * SEGMENT}},
        {"before 15 no slot knows its timeline",
         {0, 5 * SEGMENT + 5},
         {2, 6 * SEGMENT},
         {0, 0},
         {2, 5 * SEGMENT}},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        StreamPlace p =
            stream_begin(table[i].slot, table[i].server, table[i].known, (uint32_t)SEGMENT);
        if (p.tli != table[i].begin.tli || p.lsn != table[i].begin.lsn)
            fail_msg("%s: %u %llx", table[i].words, p.tli, (unsigned long long)p.lsn);
    }
}

static void test_sync(void **state)
{
    static const struct {
        const char *words;
        SyncView v;
        Msec now;
        SyncStep step;
    } table[] = {
        {"asynchronous", {BACKUP_ASYNC, false, true, 0, 0}, 9, SYNC_STAY},
        {"left over", {BACKUP_ASYNC, true, false, 0, 0}, 9, SYNC_DEMOTE},
        {"not caught up yet", {BACKUP_STRICT, false, false, 5, 0}, 9, SYNC_STAY},
        {"caught up", {BACKUP_STRICT, false, true, 0, 0}, 9, SYNC_PROMOTE},
        {"strict waits for ever", {BACKUP_STRICT, true, false, 1, 0}, 1 << 30, SYNC_STAY},
        {"in time", {BACKUP_GIVE_UP, true, false, 1000, 30000}, 30999, SYNC_STAY},
        {"too long", {BACKUP_GIVE_UP, true, false, 1000, 30000}, 31000, SYNC_DEMOTE},
        {"nothing to wait for", {BACKUP_GIVE_UP, true, true, 0, 30000}, 99000, SYNC_STAY},
        {"given up", {BACKUP_GIVE_UP, false, false, 1000, 30000}, 99000, SYNC_STAY},
        {"healed", {BACKUP_GIVE_UP, false, true, 0, 30000}, 99000, SYNC_PROMOTE},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (sync_next(&table[i].v, table[i].now) != table[i].step)
            fail_msg("%s", table[i].words);
}

static void test_alarm(void **state)
{
    static const int64_t gib = (int64_t)1 << 30;
    const struct {
        SlotView v;
        SlotAlarm alarm;
    } table[] = {
        {{"reserved", 9 * gib, 10 * gib, gib}, SLOT_FINE},
        {{"extended", 4 * gib, 10 * gib, 6 * gib}, SLOT_WARN},
        {{"extended", 2 * gib, 10 * gib, 8 * gib}, SLOT_URGENT},
        {{"unreserved", 0, 10 * gib, 11 * gib}, SLOT_URGENT},
        {{"lost", -1, 10 * gib, 0}, SLOT_LOST},
        {{"reserved", -1, -1, gib - 1}, SLOT_FINE},
        {{"reserved", -1, -1, gib}, SLOT_WARN},
        {{"extended", -1, -1, 8 * gib}, SLOT_URGENT},
        {{"", -1, -1, 0}, SLOT_FINE},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (slot_alarm(&table[i].v) != table[i].alarm)
            fail_msg("row %zu", i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces), cmocka_unit_test(test_patience),
        cmocka_unit_test(test_begin),  cmocka_unit_test(test_sync),
        cmocka_unit_test(test_alarm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
