#include "backup/segments.h"
#include "backup/restore.h"
#include "io/child.h"
#include "wal_store.h"

#include <poll.h>
#include <sys/wait.h>

/* Answers one request of a client in another process; its exit code. */
static int ask(SegmentServer *s, const char *socket, const char *name, const char *path)
{
    pid_t pid = fork();
    int status = 0;

    assert_true(pid >= 0);
    if (pid == 0)
        _exit(segment_client(socket, name, path));
    struct pollfd p = {.fd = s ? segment_server_fd(s) : -1, .events = POLLIN};
    if (s && poll(&p, 1, 10000) == 1)
        segment_server_turn(s);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* Found, absent, and what could not be had are three things. */
static void the_client_tells_absent_from_away(void **state)
{
    WalStore w;
    SegmentServer *s = NULL;
    _cleanup_(buf_clear) Buf got = BUF_INIT(SEGMENT);
    (void)state;

    wal_store_make(&w);
    const char *name = add_piece_as(&w, 1, 0, 2 * SEGMENT, 0, 1);
    _cleanup_free_ char *piece = path_join(w.folder, name), *away = xasprintf("%s.away", piece);
    _cleanup_free_ char *socket = path_join(w.folder, "socket"), *out = path_join(w.folder, "out");
    WalReader *r = reader_of(&w, NULL, 1);
    assert_int_equal(segment_server_open(socket, r, (uid_t)-1, (gid_t)-1, &s, NULL), 0);

    assert_int_equal(ask(s, socket, "000000010000000000000001", out), 0);
    assert_int_equal(file_read(out, &got, NULL), 0);
    assert_int_equal(got.len, SEGMENT);
    assert_string_equal(segment_server_last(s), "000000010000000000000001");
    assert_int_equal(ask(s, socket, "000000010000000000000002", out), 1);
    assert_int_equal(ask(s, socket, "00000002.history", out), 1);
    assert_false(segment_server_error(s)->kind);
    /* A name that is none, a file that can't be written. */
    assert_true(ask(s, socket, "nonsense", out) > 125);
    assert_int_equal(segment_server_error(s)->kind, ERR_USAGE);
    assert_true(ask(s, socket, "000000010000000000000001", "/nonexistent/file") > 125);
    s = segment_server_free(s);
    (void)wal_reader_free(r);

    /* The store lost it. */
    assert_int_equal(rename(piece, away), 0);
    r = reader_of(&w, NULL, 1);
    assert_int_equal(segment_server_open(socket, r, (uid_t)-1, (gid_t)-1, &s, NULL), 0);
    assert_true(ask(s, socket, "000000010000000000000001", out) > 125);
    assert_int_equal(segment_server_error(s)->kind, ERR_CORRUPT);
    s = segment_server_free(s);
    (void)wal_reader_free(r);
    /* Nobody listens. */
    assert_true(ask(NULL, socket, "000000010000000000000001", out) > 125);
    wal_store_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_client_tells_absent_from_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
