#include "host/unit.h"
#include "host/driver.h"

#include <signal.h>

#define HASH_LINE "# atoll "
/* The agent starts what ends again within seconds; this is for when there is no agent. */
#define RESTART_S 30

/* Closed for every service. */
static const char sandbox[] = "NoNewPrivileges=yes\n"
                              "ProtectSystem=strict\n"
                              "ProtectHome=yes\n"
                              "PrivateTmp=yes\n"
                              "PrivateDevices=yes\n"
                              "ProtectKernelTunables=yes\n"
                              "ProtectKernelModules=yes\n"
                              "ProtectKernelLogs=yes\n"
                              "ProtectControlGroups=yes\n"
                              "ProtectClock=yes\n"
                              "ProtectHostname=yes\n"
                              "ProtectProc=invisible\n"
                              "RestrictNamespaces=yes\n"
                              "RestrictRealtime=yes\n"
                              "RestrictSUIDSGID=yes\n"
                              "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6\n"
                              "LockPersonality=yes\n"
                              "RemoveIPC=yes\n"
                              "SystemCallArchitectures=native\n"
                              "SystemCallFilter=@system-service\n"
                              "SystemCallErrorNumber=EPERM\n"
                              "UMask=0077\n"
                              "IPAddressDeny=169.254.169.254 fe80::a9fe:a9fe\n";

/* What binds a low port and then lowers its workers to a user. */
static const char low_ports[] =
    "CapabilityBoundingSet=CAP_NET_BIND_SERVICE CAP_SETUID CAP_SETGID CAP_CHOWN CAP_KILL\n";
static const char no_capabilities[] = "CapabilityBoundingSet=\n"
                                      "SystemCallFilter=~@privileged\n";

char *unit_name_new(const char *service)
{
    return xasprintf("atoll-%s.service", service);
}

/* A word of a setting: in double quotes, with C escapes; '%' would be a specifier. */
static void quoted(Buf *b, const char *text)
{
    buf_char(b, '"');
    for (const char *p = text; *p; p++) {
        if (*p == '"' || *p == '\\')
            buf_char(b, '\\');
        if (*p == '%')
            buf_char(b, '%');
        if (*p == '\n')
            buf_str(b, "\\n");
        else
            buf_char(b, *p);
    }
    buf_char(b, '"');
}

static void seconds(Buf *b, const char *name, Msec ms)
{
    buf_printf(b, "%s=%llds\n", name, (long long)((ms + SECOND - 1) / SECOND));
}

static void stop_rule(const Service *s, Buf *b)
{
    buf_printf(b, "KillMode=mixed\nKillSignal=%d\n", stop_signal(s->stop, STOP_STEP_FIRST));
    if (stop_signal(s->stop, STOP_STEP_LAST) != SIGKILL)
        buf_printf(b, "FinalKillSignal=%d\n", stop_signal(s->stop, STOP_STEP_LAST));
    seconds(b, "TimeoutStopSec", s->stop_ms ? s->stop_ms : 10 * SECOND);
}

static void limits(const ServiceLimits *l, Buf *b)
{
    if (l->memory_percent)
        buf_printf(b, "MemoryMax=%d%%\n", l->memory_percent);
    if (l->tasks)
        buf_printf(b, "TasksMax=%d\n", l->tasks);
    if (l->files)
        buf_printf(b, "LimitNOFILE=%d\n", l->files);
    if (l->oom_adjust)
        buf_printf(b, "OOMScoreAdjust=%d\n", l->oom_adjust);
    buf_str(b, l->low_ports ? low_ports : no_capabilities);
    if (l->interfaces)
        buf_str(b, "RestrictAddressFamilies=AF_NETLINK\n"); /* beside those above */
}

static void command(const Service *s, const char *program, Buf *b)
{
    /* ':': variables in it are not replaced. */
    buf_str(b, "ExecStart=:");
    quoted(b, program);
    for (size_t i = 1; i < s->argv.len; i++) {
        buf_char(b, ' ');
        quoted(b, s->argv.items[i]);
    }
    buf_char(b, '\n');
}

void unit_text(const Service *s, const char *program, const char *env_file, Buf *ret)
{
    char hash[17];

    service_hash(s, hash);
    buf_printf(ret, HASH_LINE "%s\n", hash);
    buf_printf(ret,
               "[Unit]\n"
               "Description=atoll: %s\n"
               /* When the machine goes down the agent stops first, and stops this with care. */
               "Before=atoll-host.service\n"
               "StartLimitIntervalSec=0\n"
               "[Service]\n"
               "Type=exec\n",
               s->name);
    command(s, program, ret);
    buf_printf(ret, "EnvironmentFile=%s\nSyslogIdentifier=atoll-%s\n", env_file, s->name);
    if (s->cwd)
        buf_printf(ret, "WorkingDirectory=%s\n", s->cwd);
    if (s->user)
        buf_printf(ret, "User=%s\n", s->user);
    if (s->once)
        buf_str(ret, "Restart=no\nRemainAfterExit=yes\n");
    else
        buf_printf(ret, "Restart=always\nRestartSec=%ds\n", RESTART_S);
    stop_rule(s, ret);
    buf_str(ret, sandbox);
    limits(&s->limits, ret);
    for (size_t i = 0; i < s->dirs.len; i++) {
        buf_str(ret, "ReadWritePaths=");
        quoted(ret, s->dirs.items[i].path);
        buf_char(ret, '\n');
    }
}

bool unit_hash(Str text, char ret[static 17])
{
    size_t n = strlen(HASH_LINE);

    if (text.n < n + 16 || strncmp(text.p, HASH_LINE, n) != 0)
        return false;
    snprintf(ret, 17, "%.16s", text.p + n);
    return true;
}

/* systemd.exec(5): as in a shell's double quotes. */
void unit_env(const Service *s, Buf *ret)
{
    for (size_t i = 0; i < s->env.len; i++) {
        const char *line = s->env.items[i];
        size_t n = strcspn(line, "=");

        buf_printf(ret, "%.*s=\"", (int)n, line);
        for (const char *p = line + n + (line[n] ? 1 : 0); *p; p++) {
            if (strchr("\"\\`$", *p))
                buf_char(ret, '\\');
            buf_char(ret, *p);
        }
        buf_str(ret, "\"\n");
    }
}
