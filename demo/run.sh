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

pocket=""
finish() {
    trap - EXIT INT TERM
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
