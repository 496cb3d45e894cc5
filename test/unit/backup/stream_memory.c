/* What the stream remembers: read back as written, and taken for lost when it isn't whole. */
#include "backup/stream_internal.h"
#include "io/file.h"
#include <setjmp.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/atoll-stream.XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    return file_remove_tree(folder, NULL);
}

static void open_it(MemoryFile *ret_file, Memory *ret)
{
    _cleanup_(err_clear) Err err = {0};
    if (memory_open(folder, ret_file, ret, &err) < 0)
        fail_msg("%s", err.text);
}

static const Memory full = {.system = "7713389401060153586",
                            .stored = {0xffffffff, 0xfffffffffffffffe},
                            .hash =
                                "bfd74c3c4a4e8495bee1b2bd7bb65534de5233f2a10db75be1683368eacac60d",
                            .history = 0xffffffff};

static void test_remembered(void **state)
{
    _cleanup_(memory_close) MemoryFile f = {-1, -1};
    Memory m;

    (void)state;
    open_it(&f, &m);
    assert_int_equal(m.stored.lsn, 0);
    assert_string_equal(m.system, "");
    memory_write(&f, &full);
    memory_close(&f);
    open_it(&f, &m);
    assert_memory_equal(&m, &full, sizeof m);
    /* A shorter one leaves nothing of the longer. */
    memory_write(&f, &(Memory){.system = "7", .stored = {1, 16}});
    memory_close(&f);
    open_it(&f, &m);
    assert_string_equal(m.system, "7");
    assert_int_equal(m.stored.lsn, 16);
    assert_string_equal(m.hash, "");
}

static void test_lost(void **state)
{
    static const char *const texts[] = {
        "",
        "\n",
        "{",
        "[]",
        "{\"system\":\"7\",\"tli\":1,\"stored\":\"x\",\"hash\":\"\",\"history\":0}",
        "{\"system\":\"\",\"tli\":1,\"stored\":\"0/10\",\"hash\":\"\",\"history\":0}",
        "{\"system\":\"77133894010601535861234567\",\"tli\":1,\"stored\":\"0/10\"}",
        "{\"system\":\"7\",\"tli\":1,\"stored\":\"0/10\",\"hash\":\"\"} {",
    };
    _cleanup_free_ char *path = path_join(folder, "stream.json");

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        _cleanup_(memory_close) MemoryFile f = {-1, -1};
        Memory m;
        assert_int_equal(file_write(path, str_of(texts[i]), 0600, NULL), 0);
        open_it(&f, &m);
        if (m.stored.lsn || *m.system)
            fail_msg("%s", texts[i]);
    }
}

static void test_one_stream(void **state)
{
    _cleanup_(memory_close) MemoryFile f = {-1, -1}, other = {-1, -1};
    _cleanup_(err_clear) Err err = {0};
    Memory m;

    (void)state;
    open_it(&f, &m);
    assert_int_equal(memory_open(folder, &other, &m, &err), -ERR_HELD);
    assert_non_null(strstr(err.text, folder));
    memory_close(&f);
    open_it(&other, &m);
    /* Without a folder there is nothing to remember, and nothing to hold. */
    assert_int_equal(memory_open(NULL, &f, &m, &err), 0);
    memory_write(&f, &full);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_remembered),
        cmocka_unit_test(test_lost),
        cmocka_unit_test(test_one_stream),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
