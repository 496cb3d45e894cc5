/* Help texts and the man page, from the verb and option tables. */
#include "cmd/cmd.h"
#include "stream/settings.h"

void cmd_help(const Verb *v, int width, Buf *out)
{
    buf_printf(out, "usage: atoll %s\n\n%s\n\n", v->usage, v->sentence);
    if (v->options) {
        buf_str(out, "options:\n");
        opt_help(v->options, width, out);
        buf_char(out, '\n');
    }
    buf_str(out, "options of all verbs:\n");
    /* A letter that the verb has for something else is its own. */
    Opt common[16];
    size_t n = 0;
    for (; common_options[n].name; n++) {
        BUG_IF(n + 1 >= ARRAY_LEN(common));
        common[n] = common_options[n];
        for (const Opt *o = v->options; o && o->name; o++)
            if (o->letter == common[n].letter)
                common[n].letter = 0;
    }
    common[n] = OPT_END;
    opt_help(common, width, out);
}

/* Text for roff: a leading dot or quote would be a macro, a backslash an escape. */
static void roff(Buf *out, const char *s)
{
    bool line_start = true;
    for (; *s; s++) {
        if (line_start && (*s == '.' || *s == '\''))
            buf_str(out, "\\&");
        line_start = *s == '\n';
        if (*s == '\\')
            buf_str(out, "\\e");
        else if (*s == '-')
            buf_str(out, "\\-");
        else
            buf_char(out, *s);
    }
}

static void man_paragraphs(Buf *out, const char *text)
{
    _cleanup_free_ char *copy = xstrdup(text);
    char *rest = copy;
    while (rest) {
        char *gap = strstr(rest, "\n\n");
        if (gap)
            *gap = '\0';
        buf_str(out, ".PP\n");
        roff(out, rest);
        buf_char(out, '\n');
        rest = gap ? gap + 2 : NULL;
    }
}

static void man_options(Buf *out, const Opt *options)
{
    for (const Opt *o = options; o && o->name; o++) {
        buf_str(out, ".TP\n.B ");
        if (o->letter)
            buf_printf(out, "\\-%c, ", o->letter);
        buf_str(out, "\\-\\-");
        roff(out, o->name);
        if (o->argument)
            buf_printf(out, " \\fI%s\\fR", o->argument);
        buf_char(out, '\n');
        roff(out, o->sentence);
        if (o->def && o->type != OPT_FLAG) {
            buf_str(out, " Default: ");
            roff(out, o->def);
            buf_char(out, '.');
        }
        buf_char(out, '\n');
    }
}

static void man_stream_settings(Buf *out)
{
    buf_str(out, ".SH SETTINGS OF THE STREAMING SERVER\n");
    roff(out, "Given to `atoll stream` as --set NAME=VALUE, or as ATOLL_STREAM_NAME in its "
              "environment, in capitals "
              "and with underscores.\n");
    for (const StreamSetting *row = stream_settings; row->name; row++) {
        _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);

        buf_str(out, ".TP\n.B ");
        roff(out, row->name);
        buf_printf(&text, "\n%s Default: ", row->sentence);
        stream_setting_default(row, &text);
        buf_str(&text, "; allowed: ");
        stream_setting_allowed(row, &text);
        buf_str(&text, ".\n");
        roff(out, text.p);
    }
}

static void man_exit_status(Buf *out)
{
    buf_str(out, ".SH EXIT STATUS\n.TP\n.B 0\nDone, or no changes.\n.TP\n.B 2\nplan "
                 "\\-\\-detailed\\-exitcode: there are changes.\n");
    for (int kind = ERR_NONE + 1; kind < ERR_KINDS; kind++) {
        const ErrRow *row = err_row((ErrKind)kind);
        buf_printf(out, ".TP\n.B %d\n", row->exit_code);
        roff(out, row->sentence);
        buf_char(out, '\n');
    }
}

void cmd_man(Buf *out)
{
    buf_str(out, ".TH ATOLL 1 \"\" \"atoll " ATOLL_VERSION "\" \"User Commands\"\n"
                 ".SH NAME\natoll \\- from an OpenStack account and one file to a running Mastodon "
                 "instance\n.SH SYNOPSIS\n.B atoll\n.I VERB\n[options]\n.SH VERBS\n");
    for (size_t i = 0; verbs[i]; i++) {
        const Verb *v = verbs[i];
        if (v->hidden)
            continue;
        buf_str(out, ".SS atoll ");
        roff(out, v->usage);
        buf_char(out, '\n');
        roff(out, v->sentence);
        buf_char(out, '\n');
        man_paragraphs(out, v->text);
        man_options(out, v->options);
    }
    buf_str(out, ".SH OPTIONS OF ALL VERBS\n");
    man_options(out, common_options);
    man_stream_settings(out);
    man_exit_status(out);
    buf_str(out,
            ".SH FILES\n.TP\n.I island.yaml\nThe island file: `atoll reference island` documents "
            "every key.\n.TP\n.I clouds.yaml\nLogins, found as openstacksdk finds them.\n.TP\n"
            ".I ~/.config/atoll/keys/\nThe operator's key of each island, wrapped by a passphrase, "
            "and the public halves.\n.TP\n.I ~/.cache/atoll/\nTokens (0600) and what a cloud "
            "offers, for an hour. May be deleted at any time.\n"
            ".SH ENVIRONMENT\n.TP\n.B ATOLL_PASSPHRASE_FILE\nFile whose first line is the "
            "passphrase of the operator's key.\n.TP\n.B ATOLL_VAULT_FILE\nOn a control server: "
            "the vault, in place of key and passphrase.\n.TP\n.B OS_*\nAs openstacksdk reads "
            "them.\n.TP\n"
            ".B NO_COLOR\nNo colours.\n");
}
