/* The version of a release, as text and in order. Pure.
 *
 * What is understood: Mastodon's own (`v4.7.6`, `4.7.0-rc.1`, a fork's `4.7.6+glitch`), the tag of
 * a minor (`v4.7`, which moves with its patch releases: mastodon.md 4.1), and the canary's `2`. A
 * number alone is always the canary's: Mastodon publishes no such tag.
 *
 * A Version owns nothing; its text is what a person wrote, without the `v`.
 */
#pragma once
#include "base/err.h"

#define VERSION_TEXT_SIZE 64
#define VERSION_UNSAID (-1) /* the patch of `v4.7`; minor and patch of a canary */

typedef struct Version {
    bool canary;
    int major, minor, patch;
    char text[VERSION_TEXT_SIZE];
    size_t pre;     /* where in `text` the pre-release (`rc.1`) begins; 0: it is none */
    size_t pre_len; /* without a build's name behind `+` */
} Version;

/* ERR_CONFIG, with what is wrong and a hint what to write instead. `edge`, `nightly` and `latest`
 * are refused: what they are changes from day to day. */
int version_parse(const char *text, Version *ret, Err *err) _must_check_;
/* Negative, 0 or positive, as in SemVer 2.0 (11): rc.2 is before rc.10, and both before the
 * release; a build's name does not count. An unsaid part counts as 0: ask version_is_tag. Of one
 * kind only: a canary and a Mastodon are not compared (a bug). */
int version_compare(const Version *a, const Version *b) _must_check_;
/* Is this the tag of a minor, whose patch is not known? */
bool version_is_tag(const Version *v);
/* A pre-release (alpha, beta, rc) is not a release of its minor. */
bool version_is_pre(const Version *v);
