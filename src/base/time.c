#include "base/time.h"
#include <ctype.h>
#include <stdio.h>
#include <time.h>

static const char *const weekdays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

const char *const time_days[8] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL};

static Msec clock_ms(clockid_t clock)
{
    struct timespec t;
    BUG_IF(clock_gettime(clock, &t) < 0);
    return (Msec)t.tv_sec * SECOND + t.tv_nsec / 1000000;
}

Msec time_now(void)
{
    return clock_ms(CLOCK_REALTIME);
}

Msec time_mono(void)
{
    return clock_ms(CLOCK_MONOTONIC);
}

void time_sleep(Msec ms)
{
    if (ms <= 0)
        return;
    struct timespec t = {.tv_sec = ms / SECOND, .tv_nsec = (long)(ms % SECOND) * 1000000};
    (void)nanosleep(&t, NULL); /* ends early on a signal: the caller looks at its own deadline */
}

/* Splits into seconds, rounded down, and 0..999 ms, also before 1970. */
static struct tm split(Msec t, int *ret_ms)
{
    time_t seconds = t / SECOND;
    int ms = (int)(t % SECOND);
    if (ms < 0) {
        ms += (int)SECOND;
        seconds--;
    }
    struct tm tm;
    BUG_IF(!gmtime_r(&seconds, &tm)); /* an int64_t of ms has no year that does not fit */
    *ret_ms = ms;
    return tm;
}

const char *time_format(Msec t, bool with_ms, char out[static TIME_TEXT_MAX])
{
    int ms;
    struct tm tm = split(t, &ms);
    char day_and_clock[20], fraction[8] = "";
    (void)strftime(day_and_clock, sizeof day_and_clock, "-%m-%dT%H:%M:%S", &tm);
    if (with_ms)
        (void)snprintf(fraction, sizeof fraction, ".%03d", ms);
    /* Not strftime's %Y, which gives "999" three digits. */
    (void)snprintf(out, TIME_TEXT_MAX, "%04d%s%sZ", tm.tm_year + 1900, day_and_clock, fraction);
    return out;
}

const char *time_format_http(Msec t, char out[static TIME_TEXT_MAX])
{
    int ms;
    struct tm tm = split(t, &ms);
    char clock[16];
    (void)strftime(clock, sizeof clock, "%H:%M:%S", &tm);
    (void)snprintf(out, TIME_TEXT_MAX, "%s, %02d %s %04d %s GMT", weekdays[tm.tm_wday], tm.tm_mday,
                   months[tm.tm_mon], tm.tm_year + 1900, clock);
    return out;
}

/* Exactly `digits` decimal digits; *s moves behind them. */
static bool take_number(const char **s, int digits, int *ret_number)
{
    int number = 0;
    for (int i = 0; i < digits; i++) {
        if (!isdigit((unsigned char)(*s)[i]))
            return false;
        number = number * 10 + ((*s)[i] - '0');
    }
    *s += digits;
    *ret_number = number;
    return true;
}

static bool take_char(const char **s, const char *one_of)
{
    if (!**s || !strchr(one_of, **s))
        return false;
    ++*s;
    return true;
}

/* The index of the three letters in `names`. */
static bool take_name(const char **s, const char *const *names, size_t count, int *ret_index)
{
    for (size_t i = 0; i < count; i++) {
        if (starts_with(*s, names[i])) {
            *s += 3;
            *ret_index = (int)i;
            return true;
        }
    }
    return false;
}

bool time_parse_minute(const char *s, int *ret_minute)
{
    int hour, minute;

    if (!take_number(&s, 2, &hour) || !take_char(&s, ":") || !take_number(&s, 2, &minute) || *s ||
        minute > 59 || hour * 60 + minute > 24 * 60)
        return false;
    *ret_minute = (hour * 60 + minute) % (24 * 60);
    return true;
}

static bool take_clock(const char **s, struct tm *tm)
{
    return take_number(s, 2, &tm->tm_hour) && take_char(s, ":") && take_number(s, 2, &tm->tm_min) &&
           take_char(s, ":") && take_number(s, 2, &tm->tm_sec);
}

/* False for a day that is not in the calendar. 60 is a leap second: the first of the next minute.
 */
static bool join(struct tm tm, Msec *ret_t)
{
    if (tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60 || tm.tm_mday < 1)
        return false;
    struct tm normal = tm;
    Msec t = (Msec)timegm(&normal) * SECOND;
    normal = (struct tm){.tm_year = tm.tm_year, .tm_mon = tm.tm_mon, .tm_mday = tm.tm_mday};
    (void)timegm(&normal);
    if (normal.tm_mon != tm.tm_mon || normal.tm_mday != tm.tm_mday)
        return false;
    *ret_t = t;
    return true;
}

/* ".123456", of which the ms count; nothing is 0. */
static bool take_fraction(const char **s, int *ret_ms)
{
    int ms = 0;
    if (take_char(s, ".")) {
        if (!isdigit((unsigned char)**s))
            return false;
        for (int unit = 100; isdigit((unsigned char)**s); unit /= 10, ++*s)
            ms += (**s - '0') * unit;
    }
    *ret_ms = ms;
    return true;
}

/* "Z", "+05:30", "+0530", "+05" (PostgreSQL), or nothing. */
static bool take_zone(const char **s, Msec *ret_offset)
{
    *ret_offset = 0;
    if (!**s || take_char(s, "Zz"))
        return true;
    bool west = **s == '-';
    int hours, minutes = 0;
    if (!take_char(s, "+-") || !take_number(s, 2, &hours))
        return false;
    bool colon = take_char(s, ":");
    if ((colon || **s) && !take_number(s, 2, &minutes))
        return false;
    if (hours > 23 || minutes > 59)
        return false;
    *ret_offset = (hours * HOUR + minutes * MINUTE) * (west ? -1 : 1);
    return true;
}

bool time_parse(const char *s, Msec *ret_t)
{
    struct tm tm = {0};
    int ms;
    Msec t, offset;
    if (!s || !take_number(&s, 4, &tm.tm_year) || !take_char(&s, "-") ||
        !take_number(&s, 2, &tm.tm_mon) || !take_char(&s, "-") || !take_number(&s, 2, &tm.tm_mday))
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    if (!take_char(&s, "Tt ") || !take_clock(&s, &tm) || !take_fraction(&s, &ms) ||
        !take_zone(&s, &offset) || *s || !join(tm, &t))
        return false;
    *ret_t = t + ms - offset;
    return true;
}

/* Only the form that RFC 7231 7.1.1.1 lets anybody send; the two obsolete ones are refused. */
bool time_parse_http(const char *s, Msec *ret_t)
{
    struct tm tm = {0};
    int weekday;
    if (!s || !take_name(&s, weekdays, ARRAY_LEN(weekdays), &weekday) || !take_char(&s, ",") ||
        !take_char(&s, " ") || !take_number(&s, 2, &tm.tm_mday) || !take_char(&s, " ") ||
        !take_name(&s, months, ARRAY_LEN(months), &tm.tm_mon) || !take_char(&s, " ") ||
        !take_number(&s, 4, &tm.tm_year) || !take_char(&s, " ") || !take_clock(&s, &tm))
        return false;
    tm.tm_year -= 1900;
    return streq(s, " GMT") && join(tm, ret_t);
}

const char *time_span(Msec ms, char out[static TIME_TEXT_MAX])
{
    /* A unit with the one below it; from the largest. */
    static const struct {
        uint64_t ms;
        const char *one, *many;
    } units[] = {
        {(uint64_t)DAY, "day", "days"},
        {(uint64_t)HOUR, "h", "h"},
        {(uint64_t)MINUTE, "min", "min"},
        {(uint64_t)SECOND, "s", "s"},
        {1, "ms", "ms"},
    };
    const char *sign = ms < 0 ? "-" : "";
    uint64_t left = ms < 0 ? -(uint64_t)ms : (uint64_t)ms;
    size_t i = 0;
    while (i + 1 < ARRAY_LEN(units) && left < units[i].ms)
        i++;
    uint64_t count = left / units[i].ms;
    int n = snprintf(out, TIME_TEXT_MAX, "%s%llu %s", sign, (unsigned long long)count,
                     count == 1 ? units[i].one : units[i].many);
    /* Nobody wants to read "12 s 350 ms". */
    if (units[i].ms <= (uint64_t)SECOND)
        return out;
    uint64_t below = left % units[i].ms / units[i + 1].ms;
    if (below)
        (void)snprintf(out + n, TIME_TEXT_MAX - (size_t)n, " %llu %s", (unsigned long long)below,
                       units[i + 1].many);
    return out;
}
