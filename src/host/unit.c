#include "host/unit.h"
#include "host/container.h"
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
                              "ProtectKernelTunables=yes\n"
                              "ProtectKernelModules=yes\n"
                              "ProtectKernelLogs=yes\n"
                              "ProtectControlGroups=yes\n"
                              "ProtectClock=yes\n"
                              "ProtectProc=invisible\n"
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

/* And for what runs on the machine itself. */
static const char no_container[] = "PrivateDevices=yes\n"
                                   "ProtectHostname=yes\n"
                                   "RestrictNamespaces=yes\n";

/* podman makes what confines the program in its place: namespaces, mounts, devices of its own, no
 * capabilities. Its storage has files of other users (CAP_DAC_OVERRIDE). Home folders are closed,
 * and so is podman's settings' place for users. Its mounts are its own, as for each of these units;
 * systemd asks for that to be said where mounts may be made. Memory that is written and run
 * (MemoryDenyWriteExecute) stays open, though podman needs none: the filter would be the program's
 * too, and Ruby's compiler needs it. */
static const char container[] =
    "DevicePolicy=closed\n"
    "RestrictNamespaces=mnt pid ipc uts cgroup\n"
    "CapabilityBoundingSet=CAP_SYS_ADMIN CAP_SETUID CAP_SETGID CAP_SETPCAP CAP_DAC_OVERRIDE "
    "CAP_KILL CAP_MKNOD\n"
    "SystemCallFilter=@mount unshare setns sethostname pivot_root seccomp capset\n"
    "SystemCallFilter=~@resources\n"
    "PrivateMounts=yes\n"
    "ReadWritePaths=/run /var/lib/containers\n"
    "NotifyAccess=main\n"
    "TimeoutStartSec=180s\n";

/* A copy in memory of a folder that is the image's user's own (seen: crun can't make it without).
 */
static const char copies[] = "CapabilityBoundingSet=CAP_CHOWN CAP_FOWNER\n";

/* What binds a low port and then lowers its workers to a user. */
static const char low_ports[] =
    "CapabilityBoundingSet=CAP_NET_BIND_SERVICE CAP_SETUID CAP_SETGID CAP_CHOWN CAP_KILL\n";
static const char no_capabilities[] = "CapabilityBoundingSet=\n"
                                      "SystemCallFilter=~@privileged\n";

char *unit_name_new(const char *service)
{
    return xasprintf("atoll-%s.service", service);
}

char *unit_socket_name_new(const char *service)
{
    return xasprintf("atoll-%s.socket", service);
}

char *unit_held_name_new(const char *service)
{
    return xasprintf("atoll-%s-held.service", service);
}

/* A word of a setting: in double quotes, with C escapes; '%' would be a specifier, and where
 * `variables` are replaced only one is meant. */
static void quoted(Buf *b, const char *text, bool variables)
{
    buf_char(b, '"');
    for (const char *p = text; *p; p++) {
        if (*p == '$' && variables && !starts_with(p, CONTAINER_START_ID))
            buf_char(b, '$');
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
    if (l->interfaces)
        buf_str(b, "RestrictAddressFamilies=AF_NETLINK\n"); /* beside those above */
}

static void line_of(Buf *b, const char *setting, const char *program, const StrList *argv,
                    bool variables)
{
    buf_str(b, setting);
    quoted(b, program, variables);
    for (size_t i = 1; i < argv->len; i++) {
        buf_char(b, ' ');
        quoted(b, argv->items[i], variables);
    }
    buf_char(b, '\n');
}

static void own_command(const Service *s, const char *program, const char *env_file, Buf *b)
{
    /* ':': variables in it are not replaced. */
    buf_printf(b, "Type=%s\n", s->notify ? "notify" : "exec");
    line_of(b, "ExecStart=:", program, &s->argv, false);
    buf_printf(b, "EnvironmentFile=%s\n", env_file);
    if (s->cwd)
        buf_printf(b, "WorkingDirectory=%s\n", s->cwd);
    if (s->user)
        buf_printf(b, "User=%s\n", s->user);
}

/* `program` is podman. It runs as root: its container's user is nobody's on this machine. */
static void podman_command(const Service *s, const char *program, const char *env_file, Buf *b)
{
    _cleanup_(strlist_clear) StrList run = {0}, rest = {0};
    ContainerUse use = container_use(s);

    container_argv(s, use, env_file, &run);
    container_remove_argv(s, &rest);
    buf_printf(b, "Type=%s\n", use == CONTAINER_SERVICE ? "notify" : "exec");
    line_of(b, "ExecStart=", program, &run, true);
    /* After a killed conmon: its container is gone, what podman noted of it is not. */
    line_of(b, "ExecStopPost=-:", program, &rest, false);
}

static void closed(const Service *s, Buf *b)
{
    buf_str(b, sandbox);
    buf_str(b, s->image ? container : no_container);
    if (s->image && s->image_user)
        buf_str(b, copies);
    if (!s->image)
        buf_str(b, s->limits.low_ports ? low_ports : no_capabilities);
    if (s->limits.chown)
        buf_str(b, "SystemCallFilter=@chown\n"); /* after those that are taken away */
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
               "[Service]\n",
               s->name);
    (s->image ? podman_command : own_command)(s, program, env_file, ret);
    buf_printf(ret, "SyslogIdentifier=atoll-%s\n", s->name);
    if (s->keep_socket)
        buf_printf(ret, "Sockets=atoll-%s.socket\n", s->name);
    if (s->once)
        buf_str(ret, "Restart=no\nRemainAfterExit=yes\n");
    else
        buf_printf(ret, "Restart=always\nRestartSec=%ds\n", RESTART_S);
    stop_rule(s, ret);
    closed(s, ret);
    limits(&s->limits, ret);
    for (size_t i = 0; i < s->dirs.len; i++) {
        buf_str(ret, "ReadWritePaths=");
        quoted(ret, s->dirs.items[i].path, false);
        buf_char(ret, '\n');
    }
}

/* 4096: as much as the kernel lets wait by itself (net.core.somaxconn). */
void unit_socket_text(const Service *s, Buf *ret)
{
    bool v6 = strchr(s->health_address, ':') != NULL;

    buf_printf(ret,
               "[Unit]\n"
               "Description=atoll: where %s listens\n"
               "[Socket]\n"
               "ListenStream=%s%s%s:%d\n"
               "Service=atoll-%s-held.service\n"
               "Backlog=4096\n"
               "TriggerLimitIntervalSec=0\n",
               s->name, v6 ? "[" : "", s->health_address, v6 ? "]" : "", s->health_port, s->name);
}

void unit_held_text(const Service *s, Buf *ret)
{
    buf_printf(ret,
               "[Unit]\n"
               "Description=atoll: keeps who connects from starting %s\n"
               "[Service]\n"
               "Type=oneshot\n"
               "RemainAfterExit=yes\n"
               "ExecStart=/bin/true\n"
               "DynamicUser=yes\n",
               s->name);
    buf_str(ret, sandbox);
    buf_str(ret, no_container);
    buf_str(ret, no_capabilities);
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
