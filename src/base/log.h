/* Lines for a person or for a log collector, on standard error. Only verbs and daemon loops log.
 *
 * On a terminal or in a file a line is "12:34:56 word: text" for daemons and plain text for
 * commands (whose --json prints results, see cmd/; their lines stay as they are). Nothing here ever
 * prints a Secret: its type has no format.
 */
#pragma once
#include "base/err.h"

typedef enum LogLevel { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG } LogLevel;

/* `word`: the daemon's name, put before each line with the time; NULL for a command. */
void log_init(const char *word, LogLevel level);
/* For a collector that reads what pino writes, the logger of Mastodon's Node server: on standard
 * output, a line {"level": 20 to 50, "time": ms, "pid", "hostname", "name": word, "msg"}. */
void log_init_pino(const char *word, LogLevel level);
bool log_on(LogLevel level);
void log_line(LogLevel level, const char *format, ...) _printf_(2, 3);
#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) (log_on(LOG_LEVEL_DEBUG) ? log_line(LOG_LEVEL_DEBUG, __VA_ARGS__) : (void)0)
/* "error: <text>", then "hint: <hint>", then "request: <id>", as far as there are. */
void log_err(const Err *err);
