/* Asks: what an operator has a host do once (`atoll exec`, `atoll logs`), and the answer.
 *
 * An ask takes a number in the sequence of a host's bundles and is sealed and signed as they are
 * (host/bundle.h), so nobody else can ask, and what was asked is run at most once: the host notes
 * the number before it begins. It says until when it may begin; a host that comes back later leaves
 * it. Nothing of it changes what the host runs, and no plan looks at it (host/mail.h).
 *
 * The answer is a row of chunks, out/answer-<number>-<6 digits> from 0 on, each sealed to the
 * operator and the recovery key (io/crypt.h) with the purpose
 * "answer/<server>/<nonce>/<number>/<chunk>", and gone from the cloud after an hour. The first says
 * that it has begun, the last how it ended. A chunk with nothing in it says that it still runs:
 * they are at most ANSWER_BEAT apart. All say what of the input has been passed on, and up to which
 * number the host has taken what was asked. Chunk ANSWER_LOST stands for the rest of an answer
 * whose host program was killed. Inside: a line of JSON {"parts": [[from, bytes], ..], "begun"?,
 * "end"?, "input": bytes, "taken": number}, then the bytes of all parts. `from` is "out", "err", or
 * a service's name.
 *
 * Pure: no I/O, no clock.
 */
#pragma once
#include "base/json.h"
#include "base/time.h"
#include "io/crypt.h"

#define ASK_ARGV_MAX ((size_t)128 << 10) /* bytes, all words together */
#define ASK_LINES_MAX 100000
#define ASK_LIMIT_MAX (7 * DAY)
#define ASK_INPUT_BYTES ((size_t)64 << 10)  /* of one ask */
#define ASK_INPUT_AHEAD ((size_t)256 << 10) /* so much may be on its way */
#define ANSWER_LIFE HOUR
#define ANSWER_CHUNK_BYTES ((size_t)256 << 10)
#define ANSWER_SEALED_MAX ((size_t)1 << 20)
#define ANSWER_BEAT (15 * SECOND)
#define ANSWER_LOST 999999

typedef enum AskVerb {
    ASK_EXEC,
    ASK_LOGS,
    ASK_CANCEL,
    /* ends the one with the same id */ ASK_EXTEND, /* its limit begins anew */
    ASK_INPUT, /* more of its input, in the order of the numbers */
    ASK_VERBS
} AskVerb;

typedef struct Ask {
    AskVerb verb;
    char *id;   /* 16 hex digits, of the operator's choice */
    char *by;   /* "user@machine", as the operator's side says */
    char *what; /* exec: role; logs: role or service. "": the host's first role; all services */
    StrList argv;
    int64_t lines; /* logs: so many of the last ones */
    bool follow;
    bool input; /* exec: what is sent becomes its standard input; else that is empty */
    Buf data;   /* input */
    bool eof;   /* input: nothing comes after it */
    Msec limit; /* it is ended after so long */
    Msec until; /* the moment (cloud's time) after which it does not begin */
    StrList to; /* public keys that may read the answer */
} Ask;
void ask_clear(Ask *a);
DEFINE_CLEAR(Ask, ask_clear)
/* ERR_USAGE for words that are not UTF-8, or too many of them. */
int ask_write(const Ask *a, json_t **ret, Err *err) _must_check_;
/* ERR_CORRUPT for what is none of this version's. */
int ask_read(const json_t *j, Ask *ret, Err *err) _must_check_;
/* What may be written down of a command: its program, and of Mastodon's own (bin/tootctl,
 * bin/rails) the first word behind it. More could be a secret. Without control characters. To be
 * freed. */
char *ask_words(const Ask *a);
/* True if a service of that name is meant by `what`: itself, or all of a role ("worker.1" and
 * "worker.2" by "worker"). */
bool ask_means(const char *what, const char *service);

typedef struct Chunk {
    json_t *head; /* NULL: nothing in it yet */
    Buf bytes;
} Chunk;
void chunk_clear(Chunk *c); /* empty, and usable after it */
DEFINE_CLEAR(Chunk, chunk_clear)
void chunk_add(Chunk *c, const char *from, Str data);
/* takes `words`; key is "begun" or "end" */
void chunk_say(Chunk *c, const char *key, json_t *words);
/* Part i; false behind the last. Borrowed. */
bool chunk_part(const Chunk *c, size_t i, const char **ret_from, Str *ret_data);

typedef struct ChunkPlace {
    const char *server, *nonce;
    int64_t number, chunk;
} ChunkPlace;
/* "answer-00000007-000000"; to be freed. */
char *chunk_name(const ChunkPlace *p);
int chunk_seal(const Chunk *c, const ChunkPlace *p, const StrList *to, Buf *ret,
               Err *err) _must_check_;
int chunk_open(Str sealed, const ChunkPlace *p, const KeyPair *key, Chunk *ret,
               Err *err) _must_check_;
