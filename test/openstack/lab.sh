# shellcheck shell=bash
# What `up` and `down` share: where things are, and daemons that are known by process id and start
# time, so that a later run ends exactly those that an earlier one started. Sourced, not run.
#
# LAB       everything that is written: databases, objects, logs (default: under TMPDIR)
# LAB_PORT  the first of 16 ports, all on 127.0.0.1
# LAB_NET   two bytes of a network whose addresses are made this machine's own: the servers' ones
# LAB_HEAT  if not empty, there is Heat as well: five seconds more, which only one story needs
: "${LAB:=${TMPDIR:-/var/tmp}/atoll-openstack}"
: "${LAB_PORT:=15000}"
: "${LAB_NET:=100.$((64 + LAB_PORT / 100 % 64))}"
LAB_TABLE=atoll_lab_$LAB_PORT # of nftables
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
host=127.0.0.1
region=lab-1
keystone_port=$LAB_PORT swift_port=$((LAB_PORT + 1)) glance_port=$((LAB_PORT + 2))
placement_port=$((LAB_PORT + 3)) nova_port=$((LAB_PORT + 4)) neutron_port=$((LAB_PORT + 5))
cinder_port=$((LAB_PORT + 6)) memcached_port=$((LAB_PORT + 7)) sql_port=$((LAB_PORT + 8))
rabbit_port=$((LAB_PORT + 9)) rabbit_dist_port=$((LAB_PORT + 10)) epmd_port=$((LAB_PORT + 11))
account_port=$((LAB_PORT + 12)) container_port=$((LAB_PORT + 13)) object_port=$((LAB_PORT + 14))
heat_port=$((LAB_PORT + 15))

# Debian's programs and Debian's Python, whatever else this machine has first in its PATH.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 PYTHONWARNINGS=ignore
unset PYTHONPATH PYTHONHOME VIRTUAL_ENV ${!OS_@}
export no_proxy=$host,localhost

say() { printf '[%4d s] %s\n' "$SECONDS" "$*"; }
die() {
    printf 'openstack: %s\n' "$*" >&2
    exit 1
}

started_at() { # PID; in clock ticks since the machine's start
    local line
    { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 0
    # shellcheck disable=SC2086 # words
    set -- ${line##*) }
    echo "${20}"
}

# alive NAME: the process that was started under that name, not another one with its number
alive() {
    local pid at
    [ -s "$LAB/run/$1.pid" ] && read -r pid at <"$LAB/run/$1.pid" && [ -n "$at" ] &&
        [ "$(started_at "$pid")" = "$at" ]
}

# What makes schemas for an `up` that was killed goes on without it, unless it is ended.
end_half_done() {
    local f
    for f in /proc/[0-9]*/cmdline; do
        if tr '\0' ' ' <"$f" | grep -qF -- "-manage --config-file $LAB/"; then
            f=${f#/proc/}
            kill -9 "${f%/cmdline}" || true
        fi
    done 2>/dev/null
}

# daemon NAME COMMAND...: in a session of its own, unless it runs already
daemon() {
    local name=$1 pid
    shift
    alive "$name" && return 0
    setsid "$@" >>"$LAB/log/$name.log" 2>&1 </dev/null &
    pid=$!
    echo "$pid $(started_at $pid)" >"$LAB/run/$name.pid"
}

# wait_for SECONDS WHAT COMMAND...: until the command succeeds
wait_for() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || die "$what did not come up; see $LAB/log"
        sleep 0.2
    done
}
tcp() { (exec 3<>"/dev/tcp/$host/$1"); }
http() { curl -s -o /dev/null --max-time 5 "http://$host:$1/"; }
