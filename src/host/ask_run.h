/* The host's side of asks (host/ask.h): programs of an operator's, their output, their end.
 *
 * A command runs as the user of a role's services, with their environment and folder, in a
 * session of its own; its input is what the operator sends, or empty. At its limit it is told to
 * end (SIGTERM), and 5 seconds later killed with everything that it started; what it leaves running
 * when it ends by itself is killed too. It dies with the agent. Of its output ASK_OUTPUT_MAX bytes
 * are sent, the rest is read and dropped, and the answer says so. Logs come from where the driver
 * keeps them: files of the child driver, journald under systemd.
 *
 * Nothing is lost on the way: output is only read while the mailbox has room for it, so a cloud
 * that is slow slows the command down. What runs is noted in <root>/var/lib/atoll/asks, and an
 * agent that finds a note says that the rest of that answer is lost. <root>/var/log/atoll/audit.log
 * (0600) and the agent's own log get a line when a command begins and one when it ends: who asked,
 * what program (no arguments: they may hold secrets), how it ended.
 *
 * One thread, the agent's; no call waits, but for a child_spawn and the killing. At most ASK_RUNS
 * at a time.
 */
#pragma once
#include "host/ask.h"
#include "host/mailbox.h"
#include "host/role_services.h"

#define ASK_RUNS 8
#define ASK_OUTPUT_MAX ((int64_t)16 << 20)

typedef struct AskRuns AskRuns;

/* What stays the same while the agent runs; borrowed. */
typedef struct AskHost {
    const char *server, *nonce;
    const char *folder; /* <root>/var/lib/atoll */
    const HostPaths *paths;
    const char *driver; /* its name */
    Mailbox *mail;
} AskHost;

/* What is asked, and of what: borrowed for the call. */
typedef struct AskInput {
    int64_t number;
    const json_t *ask;
    const json_t *spec; /* that runs; NULL: none yet */
    const Vault *secrets;
    const char *refuse; /* why not; NULL */
    Msec now, clock;    /* monotonic; of the wall */
} AskInput;

/* `last`: the number of the last bundle or ask that was taken. */
AskRuns *ask_runs_open(const AskHost *h, int64_t last);
/* Before the number is noted as taken: from here on the ask is answered for. */
void ask_runs_note(AskRuns *a, int64_t number, const json_t *ask);
/* Begins it, or answers why not. ERR_CORRUPT for an ask that this version does not know: it has no
 * answer. */
int ask_runs_take(AskRuns *a, const AskInput *in, Err *err) _must_check_;
void ask_runs_tick(AskRuns *a, Msec now);
/* Something runs. */
bool ask_runs_busy(const AskRuns *a);
/* Somebody has asked within the last minute, and may ask again. */
bool ask_runs_lively(const AskRuns *a, Msec now);
/* Kills what runs and says so. Takes NULL, returns NULL. */
AskRuns *ask_runs_close(AskRuns *a);
