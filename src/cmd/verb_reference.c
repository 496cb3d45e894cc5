/* atoll reference: the documents that are made from the program's own tables. */
#include "backup/settings.h"
#include "cmd/cmd.h"
#include "stream/settings.h"

#include <stdio.h>

static int run(Cmd *c, char **operands, Err *err)
{
    (void)c; /* nothing of it is needed */
    static const struct {
        const char *name;
        void (*write)(Buf *out);
    } documents[] = {{"backup", backup_settings_reference},
                     {"island", island_reference},
                     {"man", cmd_man},
                     {"stream", stream_settings_reference}};
    for (size_t i = 0; operands[0] && i < ARRAY_LEN(documents); i++)
        if (streq(operands[0], documents[i].name)) {
            _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_BODY);
            documents[i].write(&text);
            fputs(text.p, stdout);
            return 0;
        }
    return err_set(err, ERR_USAGE, "atoll reference prints one of: backup, island, man, stream");
}

const Verb verb_reference = {
    .name = "reference",
    .usage = "reference backup|island|man|stream",
    .sentence = "Print the reference of the backup's or the streaming server's settings or of the "
                "island file, or the man page.",
    .text =
        "They are made from the tables that the program itself uses, so they cannot differ from "
        "what it does.",
    .operands = 1,
    .run = run,
};
