/* atoll key check: proves that the operator's key and the recovery key open the vault. */
#include "cmd/cmd.h"
#include "host/keys.h"
#include "io/file.h"

typedef struct Options {
    const char *recovery_file;
} Options;

static const Opt options[] = {
    {.name = "recovery-file",
     .type = OPT_STRING,
     .argument = "FILE",
     .sentence = "File with the recovery key's text, to prove that one too.",
     .offset = offsetof(Options, recovery_file)},
    OPT_END,
};

static int check_recovery(Cmd *c, const char *path, Err *err)
{
    _cleanup_(buf_wipe) Buf text = BUF_INIT(BUF_MAX_LINE);
    _cleanup_(keypair_clear) KeyPair key = {0};
    _cleanup_(strlist_clear) StrList recipients = {0};
    Vault *vault = NULL;
    int r = file_read(path, &text, err);
    if (r == 0)
        r = keys_recovery(str_trim(buf_as_str(&text)), &key, err);
    if (r == 0)
        r = keys_recipients(c->island.name, &recipients, err);
    if (r == 0)
        r = vault_open(c->clouds.of[CLOUD_OF_ISLAND], c->island.name, &key, &recipients, false,
                       &vault, err);
    vault_free(vault);
    return r < 0 ? err_wrap(err, "the recovery key") : 0;
}

static int run(Cmd *c, char **operands, Err *err)
{
    (void)operands; /* none */
    const Options *o = c->options;
    Vault *vault = NULL;
    _cleanup_(cmd_keys_clear) CmdKeys keys = {0};
    int r = cmd_keys(c, &keys, err);
    if (r == 0)
        r = cmd_vault(c, &keys, false, &vault, err);
    vault_free(vault);
    if (r < 0)
        return err_wrap(err, "the operator's key");
    cmd_say(c, "ok   the operator's key opens the vault\n");
    if (!o->recovery_file) {
        cmd_say(c, "--   the recovery key was not tried (--recovery-file FILE)\n");
        return 0;
    }
    r = check_recovery(c, o->recovery_file, err);
    if (r == 0)
        cmd_say(c, "ok   the recovery key opens the vault\n");
    return r;
}

const Verb verb_key_check = {
    .name = "key check",
    .usage = "key check [options]",
    .sentence = "Prove that your keys open the island's vault.",
    .text = "Everything secret of an island is in its vault, sealed to two keys: the operator's (a "
            "file wrapped by a passphrase) and the recovery key (shown once by `atoll init`). This "
            "opens the vault with each. Do it after `init`, and once a year.",
    .needs = NEED_ISLAND | NEED_CLOUD,
    .options_size = sizeof(Options),
    .options = options,
    .run = run,
};
