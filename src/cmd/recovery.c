#include "cmd/cmd.h"
#include "io/file.h"
#include <stdio.h>
#include <unistd.h>

int cmd_recovery_can(const CmdRecovery *r, Err *err)
{
    if (r->file || isatty(STDOUT_FILENO))
        return 0;
    err_set(err, ERR_USAGE, "the recovery key is shown once, and standard output is no terminal");
    return err_hint(err, "--recovery-file FILE writes it to a file");
}

int cmd_recovery_keep(void *user, const Secret *recovery, Err *err)
{
    const CmdRecovery *k = user;

    if (!k->file) {
        printf("\nThe recovery key. It is shown this once; write it down, keep it elsewhere:\n\n"
               "    %s\n\n",
               secret_expose(recovery).p);
        return fflush(stdout) == 0 ? 0 : err_set(err, ERR_IO, "cannot show the recovery key: %m");
    }
    _cleanup_(buf_wipe) Buf text = BUF_INIT(BUF_MAX_LINE);
    buf_printf(&text, "%s\n", secret_expose(recovery).p);
    int r = file_create(k->file, buf_as_str(&text), 0600, err);
    if (r == 0)
        cmd_say(k->c, "made  %s: the recovery key; keep it elsewhere\n", k->file);
    return r;
}
