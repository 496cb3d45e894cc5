#include "base/log.h"
#include "base/buf.h"
#include "base/time.h"
#include <errno.h>
#include <unistd.h>

static struct {
    const char *word;
    LogLevel level;
} logger = {.level = LOG_LEVEL_INFO};

void log_init(const char *word, LogLevel level)
{
    logger.word = word;
    logger.level = level;
}

bool log_on(LogLevel level)
{
    return level <= logger.level;
}

/* Texts carry what a cloud or a child process said: no escape sequence of theirs reaches a
 * terminal, and for a collector one line stays one line. */
static void defuse(char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\n')
            text[i] = logger.word ? ' ' : '\n';
        else if (text[i] != '\t' && ((unsigned char)text[i] < ' ' || text[i] == 0x7f))
            text[i] = '?';
    }
}

void log_line(LogLevel level, const char *format, ...)
{
    if (!log_on(level))
        return;
    int error = errno;
    va_list ap;
    va_start(ap, format);
    _cleanup_free_ char *text = xvasprintf(format, ap);
    va_end(ap);
    defuse(text, strlen(text));

    _cleanup_(buf_clear) Buf line = BUF_INIT(SIZE_MAX);
    if (logger.word) {
        char now[TIME_TEXT_MAX];
        buf_printf(&line, "%.8s %s: ", time_format(time_now(), false, now) + 11, logger.word);
    }
    buf_str(&line, text);
    buf_char(&line, '\n');
    /* One write, so that lines of several threads and processes do not mix. */
    size_t done = 0;
    while (done < line.len) {
        ssize_t n = write(STDERR_FILENO, line.p + done, line.len - done);
        if (n > 0)
            done += (size_t)n;
        else if (errno != EINTR)
            break; /* there is nowhere to say so */
    }
    errno = error;
}

void log_err(const Err *err)
{
    const ErrRow *row = err_row(err->kind);
    log_error("error: %s", err->text ? err->text : row->name);
    if (err->hint)
        log_error("hint: %s", err->hint);
    if (err->request_id)
        log_error("request: %s", err->request_id);
}
