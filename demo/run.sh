#!/bin/bash
# `make demo`: builds, starts the pocket cloud in a folder of its own, brings an island up on it, checks
# it, shows it, waits for Ctrl-C, and leaves nothing behind. DEMO_ONCE=1 ends by itself.
set -eu
cd "$(dirname "$0")/.."
source=$PWD
# Not below this one: services run as users of their own, and root's home lets them not pass.
run=/var/tmp/atoll-demo-$(id -u)-$(printf %s "$source" | cksum | cut -d ' ' -f 1)
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
step() { printf '\n$ %s\n' "$*"; }

say "Building atoll and its package"
[ -f build/build.ninja ] || meson setup build --prefix=/usr >/dev/null
ninja -C build --quiet
exec 9<demo/island.yaml
flock -n 9 || { echo "another demo runs from this folder" >&2; exit 1; }
# An earlier demo that was killed may have left its folder; its processes died with its pocket.
rm -rf "$run"
mkdir -p -m 711 "$run"
scripts/package build "$run" >/dev/null
started=$(date +%s%N)

pocket="" scaler=""
finish() {
    trap - EXIT INT TERM
    [ -z "$scaler" ] || kill "$scaler" 2>/dev/null || true
    [ -z "$pocket" ] || { kill "$pocket" 2>/dev/null && wait "$pocket" 2>/dev/null; } || true
    rm -rf "$run"
}
trap finish EXIT
trap 'exit 130' INT TERM

say "Starting the pocket cloud: a small OpenStack on loopback"
mkfifo "$run/ready"
build/atoll-pocket --dir "$run/pocket" >"$run/ready" 2>"$run/pocket.log" &
pocket=$!
exec 3<"$run/ready"
if ! read -r line <&3; then
    cat "$run/pocket.log" >&2
    exit 1
fi
echo "$line"
export OS_CLIENT_CONFIG_FILE=$run/pocket/clouds.yaml
export XDG_CONFIG_HOME=$run/config XDG_CACHE_HOME=$run/cache
# A passphrase for the operator's key, as a file: nobody is asked in a demo.
(umask 077 && head -c 24 /dev/urandom | base64 >"$run/passphrase")
export ATOLL_PASSPHRASE_FILE=$run/passphrase
cp demo/island.yaml "$run/island.yaml"
atoll() { build/atoll "$@"; }
cd "$run" && ln -s "$source/build" build

say "The keys (an island file is there already: demo/island.yaml)"
step "atoll init reef -f first.yaml --cloud pocket --recovery-file recovery"
atoll init reef -f first.yaml --cloud pocket --recovery-file recovery
say "What the file wants"
cat island.yaml
say "What can be known before the first write"
step atoll check
atoll check
say "Up"
step "atoll apply --yes"
atoll apply --yes --package "$(ls "$run"/atoll_*.deb)"
say "Again: nothing to do"
step "atoll plan"
atoll plan
say "Media: works for Mastodon, and for nobody else"
step "atoll media check"
atoll media check --fog "$source/data/fog-login.rb"
say "Status"
step "atoll status"
atoll status
address=$(atoll status --json | sed -n 's/.*"floating_ip":"\([^"]*\)".*/\1/p')
say "The canary: a row, a job, an upload, read back through its public address"
step "curl http://$address:8080/ready"
curl -sS --max-time 20 -f "http://$address:8080/ready" | tee ready.json
echo
printf '\nFrom the first request to a ready island: %d.%d s\n' \
    $((($(date +%s%N) - started) / 1000000000)) $((($(date +%s%N) - started) / 100000000 % 10))

say "Live: what a client of the streaming API is sent, through the edge"
step "demo/live.py http://$address:8080 3        # asks for a token, opens the stream, has three statuses posted"
/usr/bin/python3 "$source/demo/live.py" "http://$address:8080" 3

say "Workers: a tier that follows the queues, from none to what a burst of jobs needs, and back"
step "sed -i ... island.yaml"
sed -i 's/^servers:/&\n  jobs: {flavor: c1.c1r1, roles: [worker], threads: {worker: 10}, scale: {min: 0, max: 2, boot: 5s}}/' island.yaml
grep '  jobs:' island.yaml
step "atoll apply --yes"
atoll apply --yes --package "$(ls "$run"/atoll_*.deb)"
# The law's own times are minutes: nobody waits for them here.
echo '{"policy":"depth","sight_s":3,"depth":{"high":100,"low":20,"up":2,"hold_s":3,"cool_s":5}}' >quick.json
step "curl http://$address:8080/jobs?n=1500\&queue=default\&ms=200"
curl -sS --max-time 60 -f "http://$address:8080/jobs?n=1500&queue=default&ms=200"
echo
step "atoll scale --every 1s --config quick.json      # on a control server it goes on running"
build/atoll scale --every 1s --config quick.json --package "$(ls "$run"/atoll_*.deb)" > >(tee scale.log) 2>&1 &
scaler=$!
grown=""
for _ in $(seq 180); do
    if atoll status --json | grep -q '"key":"jobs\.'; then grown=1; elif [ -n "$grown" ]; then break; fi
    sleep 1
done
kill "$scaler" && wait "$scaler" || true
scaler=""

say "Backups: one line more in the file, and the database's server streams and copies by itself"
step "echo 'backup: {}' >>island.yaml"
echo 'backup: {}' >>island.yaml
step "atoll apply --yes"
atoll apply --yes --package "$(ls "$run"/atoll_*.deb)"
step "atoll backup settings"
atoll backup settings
step "atoll backup audit --once        # elsewhere it goes on running"
for _ in $(seq 60); do
    atoll backup audit --once >audit.log
    atoll backup list --json | grep -q '"event":"backup"' && break
    sleep 1
done
cat audit.log
say "Is it a backup? Only if it can be restored"
step "atoll drill"
atoll drill
step "atoll backup list"
atoll backup list
step "atoll status"
atoll status

if [ -n "${DEMO_ONCE:-}" ]; then
    say "Down"
    step "atoll destroy --data --confirm reef"
    atoll destroy --data --confirm reef
    exit 0
fi
cat <<END

The island is up. In another terminal:

    export OS_CLIENT_CONFIG_FILE=$OS_CLIENT_CONFIG_FILE
    export ATOLL_PASSPHRASE_FILE=$ATOLL_PASSPHRASE_FILE
    export XDG_CONFIG_HOME=$XDG_CONFIG_HOME XDG_CACHE_HOME=$XDG_CACHE_HOME
    cd $run
    build/atoll status
    openstack --os-cloud pocket server list      # Debian's python3-openstackclient

    http://$address:8080/        the canary

Ctrl-C ends it and removes everything.
END
wait "$pocket"
