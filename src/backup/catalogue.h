/* What is known to have been stored, when, by the word of somebody who is not the database's host.
 *
 * The database's host can only put. A second identity (the operator's side or `control`: `atoll
 * backup audit`) lists the store once a minute and writes down what it saw for the first time, with
 * the store's own sizes, hashes and times: a note. Notes are numbered, created once (STORE_NEW),
 * hold the SHA-256 of the one before and are signed by the audit key. Names in a store:
 *
 *     host/wal/<timeline>/<start>-<end>-<identity>     a piece of WAL (object.h); 8 and 16 hex
 * digits host/wal/<timeline>/history-<identity> host/pack/<run>-<number>-<identity> pages (pack.h)
 *     host/base/<UTC 20261129T013000Z>-<run>-<identity>   a backup's manifest (base.h)
 *     segment/<timeline>/<segment's file name>-<n>    pieces of a finished segment, one behind
 * another catalogue/<number, 10 digits>                   notes
 *
 * All under host/ is what the host's TempURLs reach; nothing else is. A note is one line of JSON
 * (keys sorted), and a line with its Ed25519 signature (base64, of "atoll backup note\n" and the
 * line):
 *     {"at":"<store's time>","body":{...},"kind":"seen","number":7,"prev":"<hash>","v":1}
 * `prev` is the SHA-256 of the line of the note before, without its end; "" in note 1.
 *
 * Kinds, and their bodies:
 *     begin   {"system", "hosts":[public keys]}, note 1
 *     host    {"hosts":[public keys]}: further ones
 *     seen    {"objects":[[name, bytes, etag, written], ...]}
 *     merged  {"segment": name, "sha256", "from":[names]}
 *     mark    {"objects":[names], "not_before"}: what a prune will remove, and when at the earliest
 *     unmark  {"objects":[names]}: they are kept after all; `marked` is 0 again
 *     pruned  {"objects":[names], "mark": number}
 *     drill   report (drill.h)
 * Unknown kinds are kept and shown, and are an error to a prune.
 *
 * Where there are many, `audit` puts NOTES_BUNDLE of them one behind another into one object more,
 * "catalogue/<first>-<last>" (10 digits each; first - 1 is a multiple of NOTES_BUNDLE): reading a
 * year's notes costs some thousand requests and not a million. It needs no trust: each note in it
 * is checked as if it came alone, and one that is no good is asked for alone.
 *
 * Times are the store's, as text (RFC 3339, UTC, with milliseconds). Who can write over a note or
 * an object (a thief of the audit's login) leaves the first version where the store keeps versions:
 * that is the one that counts. Limits: 5,000 objects a note.
 */
#pragma once
#include "backup/lsn.h"
#include "backup/object.h"
#include "backup/store.h"

/* A name taken apart; pure. */
typedef enum NameKind {
    NAME_WAL,
    NAME_HISTORY,
    NAME_PACK,
    NAME_BASE,
    NAME_SEGMENT,
    NAME_NOTE,
    NAME_NOTES, /* a bundle of them */
    NAME_OTHER
} NameKind;
typedef struct Name {
    NameKind kind;
    Timeline tli;
    Lsn start, end;    /* NAME_WAL */
    char identity[33]; /* first 32 hex digits of the object's SHA-256 */
    char id[64]; /* NAME_BASE: "20261129T013000Z-<run>"; NAME_PACK: "<run>-<number>"; NAME_SEGMENT:
                    the file name */
    int64_t number; /* NAME_NOTE, NAME_NOTES (the first), NAME_SEGMENT */
    int64_t last;   /* NAME_NOTES */
} Name;
Name name_parse(const char *name);
/* To be freed. */
char *name_wal_new(Timeline tli, Lsn start, Lsn end, const char *hash);
char *name_history_new(Timeline tli, const char *hash);
char *name_pack_new(const char *run, uint32_t number, const char *hash);
char *name_base_new(const char *id, const char *hash);
char *name_note_new(int64_t number);
char *name_notes_new(int64_t first, int64_t last);

/* One object that was seen. */
typedef struct Seen {
    char *name;
    char *etag;
    int64_t bytes;
    Msec written;
    int64_t note;           /* that saw it; 0: not yet countersigned, only listed */
    int64_t marked, pruned; /* notes that say so; 0: none */
    Msec not_before;
    bool gone;    /* not in the listing */
    bool rubbish; /* catalogue_disown */
} Seen;
typedef VEC(Seen) SeenList;

#define NOTE_OBJECTS_MAX 5000
#define NOTES_BUNDLE 256
#define NOTE_MAX ((size_t)4 << 20) /* bytes of its text */

typedef struct Note {
    int64_t number;
    char *kind;
    Msec at;
    json_t *body; /* that of "seen" is {} once it is in a catalogue: its rows are objects there */
    char prev[OBJECT_HASH_MAX];
    char hash[OBJECT_HASH_MAX];
} Note;
typedef VEC(Note) Notes;

/* An object that has the name of a note to come, and is none: nobody who is believed has signed it.
 * Anybody with a login may put one anywhere; it tells nothing, and the next note is put over it. */
typedef struct Stray {
    char *name;
    size_t versions; /* so many of them, from the oldest on */
} Stray;
typedef VEC(Stray) Strays;

typedef struct Catalogue {
    char *system;  /* "" until the first note */
    StrList hosts; /* public keys that may sign objects */
    Notes notes;
    SeenList objects; /* by name */
    Strays strays;    /* by name */
    size_t settled;   /* inside: so many objects are in order */
    int64_t bundled;  /* the last note that a bundle has, as listed */
} Catalogue;
void catalogue_clear(Catalogue *c);
DEFINE_CLEAR(Catalogue, catalogue_clear)
/* Reads and checks all notes (a gap, a wrong hash or signature: ERR_CORRUPT with the note's name;
 * what lies behind the last one and is no note is among the strays), and joins them with a listing
 * of the store: what is listed and in no note is there with note 0, with the facts of its first
 * version. Without notes (nobody audits): what the listing shows. `auditors`: public keys that are
 * believed.
 */
int catalogue_load(Store *s, const StrList *auditors, Catalogue *ret, Err *err) _must_check_;
/* The same for a catalogue that was loaded before: reads only notes that are new, and lists. After
 * an error *c is as good as before. */
int catalogue_refresh(Store *s, const StrList *auditors, Catalogue *c, Err *err) _must_check_;
/* Pure parts of it. A note as text, appended; signed. `n->hash` is filled in. */
void note_write(Note *n, const KeyPair *auditor, Buf *ret);
/* ERR_CORRUPT, also when none of the keys has signed it. */
int note_parse(Str text, const StrList *auditors, Note *ret, Err *err) _must_check_;
/* Does it say that it is note `number`, after the one with the hash `prev`? Whoever signed it. */
bool note_claims(Str text, int64_t number, const char *prev);
void note_clear(Note *n);
DEFINE_CLEAR(Note, note_clear)
/* The next note becomes part of *c (taken in any case). ERR_CORRUPT when it is not the next one, or
 * says what a note of its kind can't. After the last of a run: catalogue_settle. */
int catalogue_add(Catalogue *c, Note *n, Err *err) _must_check_;
void catalogue_settle(Catalogue *c);
/* All objects as a listing of all versions shows them. */
void catalogue_join(Catalogue *c, const StoreItems *listing);
/* Borrowed; NULL. */
const Seen *catalogue_find(const Catalogue *c, const char *name);
/* A piece of log that was found never to be one (wal.h): it counts no longer. False: it did not
 * before. */
bool catalogue_disown(Catalogue *c, const char *name);
const Stray *catalogue_stray(const Catalogue *c, const char *name);
/* Writes the next note and adds it to *c. Takes body. ERR_CONFLICT: another auditor was faster;
 * refresh. (Swift's If-None-Match is no lock: the versions tell who was first.) */
int catalogue_note(Store *s, Catalogue *c, const KeyPair *auditor, const char *kind, json_t *body,
                   Err *err) _must_check_;

/* Makes the next bundle of notes that lacks one; *ret: it did. What is too large to be put into one
 * object is left alone. */
int catalogue_bundle(Store *s, const StrList *auditors, Catalogue *c, bool *ret,
                     Err *err) _must_check_;
/* Inside of it: the notes that *c lacks and a listing of all versions (by name) shows. */
int catalogue_read(Store *s, const StrList *auditors, const StoreItems *listing, Catalogue *c,
                   Err *err) _must_check_;

/* The bytes of an object by its name, checked to be those that the name's identity says: where the
 * newest version is not, older ones are tried. Signature checked with the catalogue's hosts (or
 * `hosts`). ERR_NOT_FOUND, ERR_CORRUPT. */
int catalogue_fetch(Store *s, const StrList *hosts, const char *name, Buf *ret,
                    Err *err) _must_check_;
