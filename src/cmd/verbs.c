/* The verb table and the options that all verbs share. */
#include "cmd/cmd.h"

const Verb *const verbs[] = {
    &verb_init,    &verb_check,   &verb_plan,        &verb_apply,
    &verb_adopt,   &verb_status,  &verb_deploy,      &verb_rollback,
    &verb_upgrade, &verb_destroy, &verb_media_check, &verb_key_check,
    &verb_unlock,  &verb_host,    &verb_reference,   &verb_version,
    NULL,
};

const Opt common_options[] = {
    {.name = "file",
     .letter = 'f',
     .type = OPT_STRING,
     .argument = "FILE",
     .sentence = "The island file.",
     .offset = offsetof(CmdCommon, file),
     .def = "island.yaml"},
    {.name = "json",
     .type = OPT_FLAG,
     .sentence = "Print one event a line, as JSON.",
     .offset = offsetof(CmdCommon, json)},
    {.name = "verbose",
     .letter = 'v',
     .type = OPT_FLAG,
     .sentence = "Print a line for each HTTP call, with its request id.",
     .offset = offsetof(CmdCommon, verbose)},
    {.name = "quiet",
     .letter = 'q',
     .type = OPT_FLAG,
     .sentence = "Print results and errors only.",
     .offset = offsetof(CmdCommon, quiet)},
    {.name = "no-cache",
     .type = OPT_FLAG,
     .sentence = "Neither read nor write the files in ~/.cache/atoll (token, facts of the cloud).",
     .offset = offsetof(CmdCommon, no_cache)},
    {.name = "color",
     .type = OPT_FLAG,
     .sentence = "Colours on a terminal (the default; --no-color or $NO_COLOR turns them off).",
     .offset = offsetof(CmdCommon, color),
     .def = "true"},
    OPT_END,
};
