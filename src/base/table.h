/* Options and settings as tables: one row has name, type, range, default, unit and sentence, and
 * the parser, --help, the man page and completion all come from the row (style.md 8).
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"

typedef enum OptType {
    OPT_FLAG,
    OPT_STRING,
    OPT_INT,
    OPT_SPAN, /* "30s" "5m" "2h", kept in ms */
    OPT_LIST  /* may be given again and again: an OptList */
} OptType;

#define OPT_LIST_MAX 64
typedef struct OptList {
    const char *items[OPT_LIST_MAX]; /* borrowed from argv */
    size_t len;
} OptList;

typedef struct Opt {
    const char *name; /* "detailed-exitcode", without dashes */
    char letter;      /* 'v', or 0 */
    OptType type;
    const char *argument; /* word for the help: "FILE"; NULL for a flag */
    const char *sentence; /* one, with a full stop */
    int64_t min, max;     /* for OPT_INT and OPT_SPAN; both 0: any that is not negative */
    size_t offset;   /* of the field in the verb's options: bool, const char *, int64_t, OptList */
    const char *def; /* shown in the help; parsed first; NULL: zero */
} Opt;
#define OPT_END ((Opt){0})

/* Reads argv[1..] into `options` (zeroed here first, then defaults). Options may stand anywhere;
 * "--" ends them; "--no-NAME" unsets a flag; "--name=value" and "-nvalue" work. Operands are
 * collected, in order, in *ret_operands (borrowed from argv; NULL-ended array to be freed by the
 * caller). ERR_USAGE with the nearest right spelling. `tables`: a NULL-ended list (the verb's own,
 * then the ones common to all verbs). */
int opt_parse(int argc, char **argv, const Opt *const *tables, void *const *options,
              char ***ret_operands, Err *err) _must_check_;
/* The same, but the first operand ends the options: all behind it are operands, but for a "--" that
 * stands before it. */
int opt_parse_leading(int argc, char **argv, const Opt *const *tables, void *const *options,
                      char ***ret_operands, Err *err) _must_check_;
/* The options as help text, two columns, wrapped at `width`. */
void opt_help(const Opt *table, int width, Buf *out);
/* "30s", "5m", "2h", "7d", "250ms"; a bare number is refused. */
bool span_parse(const char *s, int64_t *ret_ms) _must_check_;
/* The same, and a bare number is of ms. */
bool span_or_ms_parse(const char *s, int64_t *ret_ms) _must_check_;
/* "10GB", "512MB", "1TB" (powers of 1000, whole GB at least where `unit_gb`); result in bytes. */
bool size_parse(const char *s, int64_t *ret_bytes) _must_check_;
#define SIZE_TEXT_MAX 32
/* "512 bytes", "3.4 MB", "120 GB": for people, powers of 1000. Returns `out`. */
const char *size_format(int64_t bytes, char out[static SIZE_TEXT_MAX]);
