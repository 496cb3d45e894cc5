/* A scaler's turn: look at the pool and at Redis, decide, act through the pool's driver. The daemon
 * is a loop around it.
 *
 * What is missing lowers nothing: without Redis or without the cloud it looks and says so, and only
 * who has the lease acts. It keeps no state that a restart would miss. Thread: belongs to one.
 */
#pragma once
#include "scale/decide.h"
#include "scale/pool.h"

typedef struct ScalerOptions {
    const ScaleConfig *config;
    RedisTarget redis; /* what it points at outlives the Scaler */
    ObserveOptions observe;
    Msec tick_ms;
    PoolRules rules;
    const PoolDriver *driver;
    void *self; /* the driver's */
    bool dry_run;
} ScalerOptions;

typedef struct ScalerTick {
    ScaleObservation seen;
    int quota; /* servers that there may be, as it was decided with; 0: not known */
    ScaleDecision decision;
    bool leader;
    const char *holder;  /* of the lease, if it is another; borrowed until the next tick */
    const Pool *pool;    /* the same */
    StrList did;         /* in words */
    Err redis, api, act; /* what went wrong, each by itself */
} ScalerTick;
void scaler_tick_clear(ScalerTick *t);
DEFINE_CLEAR(ScalerTick, scaler_tick_clear)

typedef struct Scaler Scaler;
Scaler *scaler_new(const ScalerOptions *o); /* config and driver outlive it */
Scaler *scaler_free(Scaler *s);             /* lets go of the lease; takes NULL, returns NULL */
/* `mono` never goes back, `epoch` is the wall clock; ms. *ret is dropped first. */
void scaler_tick(Scaler *s, Msec mono, Msec epoch, ScalerTick *ret);
