#include "base/log.h"
#include "base/json.h"
#include "base/time.h"
#include <errno.h>
#include <limits.h>
#include <unistd.h>

static struct {
    const char *word;
    LogLevel level;
    bool pino;
    char host[HOST_NAME_MAX + 1];
} logger = {.level = LOG_LEVEL_INFO};

void log_init(const char *word, LogLevel level)
{
    logger.word = word;
    logger.level = level;
    logger.pino = false;
}

void log_init_pino(const char *word, LogLevel level)
{
    log_init(word, level);
    logger.pino = true;
    if (gethostname(logger.host, sizeof logger.host) < 0)
        logger.host[0] = '\0';
    logger.host[HOST_NAME_MAX] = '\0';
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

static void pino_line(LogLevel level, char *text, Buf *line)
{
    /* pino's numbers: https://getpino.io/#/docs/api?id=loggerlevels-object */
    static const int numbers[] = {[LOG_LEVEL_ERROR] = 50,
                                  [LOG_LEVEL_WARN] = 40,
                                  [LOG_LEVEL_INFO] = 30,
                                  [LOG_LEVEL_DEBUG] = 20};
    json_t *msg = json_string(text);

    /* It is no UTF-8: what is not ASCII is lost. */
    for (char *p = text; !msg && *p; p++)
        if ((unsigned char)*p >= 0x80)
            *p = '?';
    _cleanup_json_ json_t *o =
        json_make_new("{s:i, s:I, s:i, s:s, s:s, s:o}", "level", numbers[level], "time",
                      (json_int_t)time_now(), "pid", (int)getpid(), "hostname", logger.host, "name",
                      logger.word, "msg", msg ? msg : json_string(text));
    _cleanup_free_ char *object = json_text_new(o);

    buf_str(line, object);
}

static void plain_line(const char *text, Buf *line)
{
    char now[TIME_TEXT_MAX];

    if (logger.word)
        buf_printf(line, "%.8s %s: ", time_format(time_now(), false, now) + 11, logger.word);
    buf_str(line, text);
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
    if (logger.pino)
        pino_line(level, text, &line);
    else
        plain_line(text, &line);
    buf_char(&line, '\n');
    /* One write, so that lines of several threads and processes do not mix. */
    size_t done = 0;
    while (done < line.len) {
        ssize_t n =
            write(logger.pino ? STDOUT_FILENO : STDERR_FILENO, line.p + done, line.len - done);
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
