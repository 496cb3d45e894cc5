/* Processes that have a mark of ours in their environment.
 *
 * A program that an operator started may leave children behind that have left its session and lost
 * their parent. They still have its environment, and in it the random name of what was asked: no
 * other process has that, so this finds them, also after the agent itself was killed. */
#pragma once

#define MARKED_NAME "ATOLL_ASK"

/* Kills all that have MARKED_NAME=<id>; an empty id is nobody's. */
void marked_kill(const char *id);
