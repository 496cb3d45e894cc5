/* A change of release, step by step: what comes next. Pure; the record that it makes
 * (host/release.h) is what is put into the cloud, and the engine then makes the hosts so.
 *
 *   done ─► fetch ─► pre ─► roll (once a wave) ─► [held ─►] post ─► done
 *              │       │        │                   │         └─ failed: stays, to be tried again
 *              └───────┴────────┴──── back ◄────────┘
 *
 * What fails before `post` goes back by itself, one wave after the other, the one that failed
 * first.
 */
#pragma once
#include "base/vec.h"
#include "cloud/resource.h"
#include "host/release.h"

/* Hosts that change together, in this order: web servers one by one (and those with Mastodon's own
 * streaming server; atoll's is of no release), then all servers that only do jobs, and last the one
 * whose worker takes the scheduler's queue. */
typedef VEC(StrList) DeployWaves;
/* From the wanted resources of an island (island/want.h). */
void deploy_waves(const ResourceVec *want, DeployWaves *ret);
void deploy_waves_clear(DeployWaves *w);
DEFINE_CLEAR(DeployWaves, deploy_waves_clear)

typedef enum DeployEnd {
    DEPLOY_GOES_ON,
    DEPLOY_ENDED,     /* the new release runs, whole */
    DEPLOY_WENT_BACK, /* the old one runs */
    DEPLOY_HOLDS,     /* as asked, before the post-deployment migrations */
    DEPLOY_STUCK      /* a post-deployment migration, or the way back, failed: a person is needed */
} DeployEnd;

/* The first step: `to` is to run. r->phase must be RELEASE_DONE. */
void deploy_begin(const ReleaseRecord *r, const json_t *to, int gate_s, ReleaseRecord *ret);
/* After the hosts are as `r` says, or one of them failed at it. *ret is set when it goes on or has
 * ended or gone back, and is to be put into the cloud. */
DeployEnd deploy_next(const ReleaseRecord *r, const DeployWaves *waves, bool failed, bool hold,
                      ReleaseRecord *ret);
/* The same phase again, after it has failed: what runs on is ended by another attempt. */
void deploy_again(const ReleaseRecord *r, ReleaseRecord *ret);
/* A person wants back. False, and why not and what to do, if that can't be any more. */
bool deploy_back(const ReleaseRecord *r, const DeployWaves *waves, ReleaseRecord *ret, Err *err);
/* "web.0 runs 2", what a phase means for the eye; to be freed. */
char *deploy_words_new(const ReleaseRecord *r);
