/* What a Scale knows of the load, and what would come of it: arrivals, service times, and each
 * queue's wait over the next minutes with so many servers. Pure; decide.c's own. */
#pragma once
#include "scale/decide.h"

#define SCALE_BOOTS 256

typedef struct ModelQueue {
    bool known; /* len, done, ms are of an earlier tick */
    double len, done, ms;
    double sum_done, sum_ms; /* fading sums: service time is their quotient */
    double fast, slow;       /* arrivals a second */
    double age_s;            /* of the head, as far as it is believed */
} ModelQueue;

typedef struct Model {
    double t, since;  /* of the last tick; since when rates are counted; since < 0: not yet */
    double ticks;     /* so many were counted */
    double busy, ran; /* fading means: busy threads, and what the counters account for */
    double due;       /* what the retry set usually gives a second */
    ModelQueue queues[SCALE_QUEUES];
    double boots[SCALE_BOOTS]; /* when those that are booting were asked for, oldest first */
    int n_boots;
} Model;

/* Takes in a tick. False if its counters went back: everything is begun anew. */
bool model_tick(Model *m, const ScaleConfig *c, const ScaleObservation *o);
/* Threads that the arrivals keep busy: of the last minutes, or (`rush`) of the last moments. */
double model_work(const Model *m, const ScaleConfig *c, bool rush);
/* Seconds of one job of queue q. */
double model_service(const Model *m, size_t q);

typedef struct Foresight {
    double horizon_s; /* so far is looked ahead */
    double from_s;    /* waits before this are not counted: nothing can be done about them */
    double share;     /* of a deadline that may be used */
    double arrivals;  /* times the arrivals */
    bool rush;        /* arrivals go on as in the last moments, if these had more; else as in the
                         last minutes */
} Foresight;
typedef struct Foreseen {
    double late_s;   /* in which any queue's head waits longer than it may */
    double over_s;   /* the same, times by how many deadlines */
    size_t worst;    /* the queue that is nearest to its deadline */
    double worst_at; /* the longest wait there, as a share of the deadline */
} Foreseen;
/* With `n` servers from now on: fewer go at once, more come after boot_s. */
Foreseen model_foresee(const Model *m, const ScaleConfig *c, const ScaleObservation *o, int n,
                       const Foresight *f);
