/* What the backup verbs share. */
#pragma once
#include "backup/catalogue.h"
#include "backup/settings.h"
#include "cmd/cmd.h"

/* The row of their settings file; their options have a const char *settings. */
#define OPT_SETTINGS(T)                                                                            \
    {                                                                                              \
        .name = "settings", .type = OPT_STRING, .argument = "FILE",                                \
        .sentence = "The backup's settings (default: backup.yaml in ~/.config/atoll).",            \
        .offset = offsetof(T, settings)                                                            \
    }
/* For this process: packs and segments are a few large pieces of memory that come and go; they are
 * given back when they are freed, instead of being kept by each thread that once had one. */
void cmd_backup_memory(void);
/* `given`: by the option, or NULL. */
int cmd_backup_settings(const char *given, BackupSettings *ret, Err *err) _must_check_;
/* As the keys' folder lets it be read: by its auditors, and where no note says who signs, by its
 * hosts. */
int cmd_backup_catalogue(const BackupSettings *s, Store *store, Catalogue *ret,
                         Err *err) _must_check_;

/* The database's side: who writes into the repository. */
typedef struct CmdWriter {
    BackupSettings settings;
    StrList recipients;
    KeyPair host;
    ObjectSeal seal; /* `system` NULL */
    PgTarget server; /* replication */
    PgTarget sql;    /* the same role, database postgres */
    Secret *password;
    Store *store;
} CmdWriter;
/* `patience_ms`: of the store, as in StoreOptions. *ret is borrowed from by its own fields: it must
 * stay where it is. */
int cmd_writer_open(Cmd *c, const char *settings, Msec patience_ms, CmdWriter *ret,
                    Err *err) _must_check_;
void cmd_writer_clear(CmdWriter *w);
DEFINE_CLEAR(CmdWriter, cmd_writer_clear)
