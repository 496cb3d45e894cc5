/* A real Redis for a file of tests, and what Sidekiq would write into it. Without redis-server the
 * tests are skipped. */
#pragma once
#include "base/buf.h"
#include "base/time.h"
#include "io/redis.h"

#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char address[32];
static pid_t server;

static Redis *open_redis(void)
{
    Redis *r = NULL;
    RedisTarget t = {.host = address, .port = 6379};

    for (int i = 0; i < 500 && redis_open(&t, &r, NULL) < 0; i++)
        time_sleep(10);
    return r;
}

static int redis_begin(void **state)
{
    (void)state;
    snprintf(address, sizeof address, "127.%d.%d.77", 100 + (int)(getpid() / 250 % 100),
             (int)(getpid() % 250) + 1);
    if (access("/usr/bin/redis-server", X_OK) < 0)
        return 0;
    server = fork();
    if (server == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)freopen("/dev/null", "w", stdout);
        execl("/usr/bin/redis-server", "redis-server", "--bind", address, "--port", "6379",
              "--save", "", "--appendonly", "no", NULL);
        _exit(127);
    }
    return server < 0;
}

static int redis_end(void **state)
{
    (void)state;
    if (server > 0) {
        kill(server, SIGTERM);
        (void)waitpid(server, NULL, 0);
    }
    return 0;
}

static void run(Redis *r, const char *const *argv)
{
    _cleanup_(redis_reply_clear) RedisReply reply = {0};
    _cleanup_(err_clear) Err err = {0};

    if (redis_command(r, argv, &reply, &err) < 0)
        fail_msg("%s: %s", argv[0], err.text);
}
#define RUN(r, ...) run(r, (const char *const[]){__VA_ARGS__, NULL})

static Redis *fresh(void)
{
    if (server <= 0)
        skip();
    Redis *r = open_redis();
    assert_non_null(r);
    RUN(r, "FLUSHALL");
    return r;
}

static void push(Redis *r, const char *queue, const char *at_text)
{
    _cleanup_free_ char *key = xasprintf("queue:%s", queue);
    _cleanup_free_ char *job = xasprintf("{\"class\":\"%sJob\",\"jid\":\"x\",\"queue\":\"%s\","
                                         "\"enqueued_at\":%s}",
                                         queue, queue, at_text);
    RUN(r, "SADD", "queues", queue);
    RUN(r, "LPUSH", key, job);
}

static void beat(Redis *r, const char *identity, const char *info, const char *busy, double ago)
{
    _cleanup_free_ char *at = xasprintf("%.3f", (double)time_now() / 1000 - ago);
    RUN(r, "SADD", "processes", identity);
    RUN(r, "HSET", identity, "info", info, "busy", busy, "beat", at, "quiet", "false", "rss", "1");
}
