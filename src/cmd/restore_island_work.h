/* The parts of `atoll restore --island`, among themselves (restore_island.h is for everybody else):
 * what is looked at and read, and what is said of it. The steps are restore_island.c's.
 */
#pragma once
#include "cmd/deploy.h"
#include "cmd/restore_island.h"

typedef struct IslandRestore {
    Cmd *c;
    const CmdRestoreIsland *o;
    CmdDeploy d;
    CmdRestore repository;
    bool kit; /* this run has put it */
    Target target;
    Choice choice;
    char *db, *volume; /* keys of the database's server, and of the volume that it is to have */
} IslandRestore;

/* The wanted VOLUME of the host with the database; NULL: it is on a root disk. */
const Resource *island_wanted_volume(const Goal *g);
/* The found one of a generation, or NULL. */
const Resource *island_found_volume(const IslandRestore *w, int generation);
/* One that no volume of the database has or had. */
int island_next_generation(const IslandRestore *w);

/* Opens the repository by the island's own vault, so that no settings file is needed, and chooses
 * what leads to the moment that is asked for. */
int island_choose(IslandRestore *w, Err *err) _must_check_;
/* The newest timeline that anything was stored of; by names alone, so that a damaged catalogue is
 * not in the way back. */
int island_newest_timeline(IslandRestore *w, Timeline *ret, Err *err) _must_check_;
/* 16 hex digits; to be freed. */
char *island_new_id(void);
/* Puts together what the server needs for the choice (backup/kit.h), and puts it into the cloud. */
int island_put_kit(IslandRestore *w, const char *id, Err *err) _must_check_;
/* All kits, also those of runs that died before anything was begun. */
void island_remove_kits(const IslandRestore *w);

/* The moment, for people; to be freed. */
char *island_moment_new(const IslandRestore *w);
/* Steps, loss and downtime of what is to come. */
void island_say_restore(const IslandRestore *w);
void island_say_undo(const IslandRestore *w);
