/* atoll certbot: a service of the edge; started by the agent, never by a person. */
#include "base/log.h"
#include "cmd/cmd.h"
#include "host/acme_run.h"

static volatile sig_atomic_t again;

static void on_hangup(int number)
{
    (void)number;
    again = 1;
}

static int run(Cmd *c, char **operands, Err *err)
{
    struct sigaction sa = {.sa_handler = on_hangup};

    if (!operands[0])
        return err_set(err, ERR_USAGE, "atoll certbot needs its folder");
    sigemptyset(&sa.sa_mask);
    sigaction(SIGHUP, &sa, NULL);
    log_init("certbot", c->common.verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
    return acme_run(&(AcmeRun){.folder = operands[0], .stop = c->stop, .again = &again}, err);
}

const Verb verb_certbot = {
    .name = "certbot",
    .usage = "certbot FOLDER",
    .sentence =
        "Get and renew the island's certificate (a service of the edge, with edge.tls.acme).",
    .text =
        "Runs Debian's certbot when a certificate is due: a third of its life before its end. "
        "Looks "
        "twice a day, at its start, and on SIGHUP; after a failure again in 5 minutes, and in an "
        "hour at last. Keeps everything in FOLDER, which the agent has filled.",
    .operands = 1,
    .run = run,
};
