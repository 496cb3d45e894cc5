/* What `restore` and `drill` share: a repository that is read, a choice in it, and progress. */
#pragma once
#include "backup/restore.h"
#include "cmd/backup.h"
#include "cmd/cmd.h"

/* Options of both. */
typedef struct CmdRestoreOptions {
    const char *settings, *at, *base, *recovery_file, *programs, *user, *role;
    int64_t timeline, threads;
    OptList tablespaces;
} CmdRestoreOptions;
#define OPTS_RESTORE(T, field)                                                                     \
    {.name = "settings",                                                                           \
     .type = OPT_STRING,                                                                           \
     .argument = "FILE",                                                                           \
     .sentence = "The backup's settings (default: backup.yaml in ~/.config/atoll).",               \
     .offset = offsetof(T, field.settings)},                                                       \
        {.name = "base",                                                                           \
         .type = OPT_STRING,                                                                       \
         .argument = "ID",                                                                         \
         .sentence = "Begin from this backup, not from the newest that leads there.",              \
         .offset = offsetof(T, field.base)},                                                       \
        {.name = "timeline",                                                                       \
         .type = OPT_INT,                                                                          \
         .argument = "N",                                                                          \
         .sentence = "Follow the log to this timeline, not to the newest.",                        \
         .min = 1,                                                                                 \
         .max = UINT32_MAX,                                                                        \
         .offset = offsetof(T, field.timeline)},                                                   \
        {.name = "recovery-file",                                                                  \
         .type = OPT_STRING,                                                                       \
         .argument = "FILE",                                                                       \
         .sentence = "Read with the recovery key, whose text is in this file.",                    \
         .offset = offsetof(T, field.recovery_file)},                                              \
        {.name = "programs",                                                                       \
         .type = OPT_STRING,                                                                       \
         .argument = "FOLDER",                                                                     \
         .sentence = "PostgreSQL's programs, in place of the settings'.",                          \
         .offset = offsetof(T, field.programs)},                                                   \
        {.name = "user",                                                                           \
         .type = OPT_STRING,                                                                       \
         .argument = "NAME",                                                                       \
         .sentence = "As root: who PostgreSQL runs as and the files belong to.",                   \
         .offset = offsetof(T, field.user),                                                        \
         .def = "postgres"},                                                                       \
        {.name = "role",                                                                           \
         .type = OPT_STRING,                                                                       \
         .argument = "NAME",                                                                       \
         .sentence = "A superuser of the cluster.",                                                \
         .offset = offsetof(T, field.role),                                                        \
         .def = "postgres"},                                                                       \
        {.name = "tablespace",                                                                     \
         .type = OPT_LIST,                                                                         \
         .argument = "OLD=NEW",                                                                    \
         .sentence = "Where a tablespace goes (OID or old folder, new folder; default: below the " \
                     "restored folder); may be given again.",                                      \
         .offset = offsetof(T, field.tablespaces)},                                                \
    {                                                                                              \
        .name = "threads", .type = OPT_INT, .argument = "N",                                       \
        .sentence = "How many fetch and write at once (default: twice the processors).", .min = 1, \
        .max = 256, .offset = offsetof(T, field.threads)                                           \
    }

#define OPT_RESTORE_AT(T, field)                                                                   \
    {                                                                                              \
        .name = "at", .type = OPT_STRING, .argument = "WHEN",                                      \
        .sentence = "latest, a time (2026-11-29T01:30:00Z; without a zone UTC) or an LSN.",        \
        .offset = offsetof(T, field.at), .def = "latest"                                           \
    }
/* What --at says; without it latest. */
int cmd_restore_target(const CmdRestoreOptions *o, Target *ret, Err *err) _must_check_;

typedef struct CmdRestore {
    const Cmd *c;
    BackupSettings settings;
    Store *store;
    KeyPair reader;
    Catalogue catalogue;
    WalHistories histories;
    Bases bases;
    StrList auditors, tablespaces, bad, bad_timelines, left_out;
    char *client, *programs;
    const CmdRestoreOptions *asked; /* cmd_restore_options */
    const Target *target;
    Choice *choice;
    /* of the progress line */
    const char *phase;
    Msec phase_began, told;
    int64_t phase_first;
    bool drawn;
} CmdRestore;
void cmd_restore_clear(CmdRestore *r);
DEFINE_CLEAR(CmdRestore, cmd_restore_clear)
/* Opens the repository, reads its catalogue, histories and manifests. Warns of what can't be used.
 */
int cmd_restore_open(Cmd *c, const CmdRestoreOptions *o, CmdRestore *ret, Err *err) _must_check_;
/* The part of it behind an open store: with `store`, `reader` and `auditors` filled in. `host`: the
 * public key that is believed where no note says who signs; NULL: those of the settings. */
int cmd_restore_read(CmdRestore *r, const char *host, Err *err) _must_check_;
/* Chooses, and warns of a hole or a timeline that nothing leads to. */
int cmd_restore_choose(CmdRestore *r, const CmdRestoreOptions *o, const Target *target, Choice *ret,
                       Err *err) _must_check_;
/* Fills in all but where to. Borrows all: while the restore runs *choice may be made anew. */
void cmd_restore_options(CmdRestore *r, const CmdRestoreOptions *o, Choice *choice,
                         const Target *target, RestoreOptions *ret);
/* restore_run; where the chosen backup itself is at fault, and none was asked for, again from the
 * next one that leads there, which is said. */
int cmd_restore_run(CmdRestore *r, const RestoreOptions *o, RestoreResult *ret,
                    Err *err) _must_check_;
/* Ends the live line, if there is one. */
void cmd_restore_line_end(CmdRestore *r);
/* An absolute path, to be freed. */
char *cmd_absolute_new(const char *path);
