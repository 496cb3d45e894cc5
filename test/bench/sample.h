/* What a server has used so far, by the kernel's and PostgreSQL's own count. */
#pragma once
#include "base/util.h"

typedef struct Sample {
    double wall_s;
    double server_cpu_s;   /* user and system, all threads (/proc/PID/stat: ticks of 10 ms) */
    double postgres_cpu_s; /* the postmaster, its children and those that have ended; 0 without
                              --postgres-pid */
    double client_cpu_s;   /* this program */
    double statement_s;    /* pg_stat_statements: execution; -1 when it is not there */
    int64_t statements;    /* how many */
} Sample;

typedef struct SampleOf {
    int server_pid, postgres_pid; /* 0: none */
    const char *conninfo;         /* or NULL */
} SampleOf;

void sample_take(const SampleOf *of, Sample *ret);
/* kB of a process: its private pages, and all that are resident. False: it is gone. */
bool sample_memory(int pid, int64_t *ret_private_kb, int64_t *ret_resident_kb) _must_check_;
