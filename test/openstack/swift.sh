# shellcheck shell=bash
# Swift: one device, one replica, as public clouds configure its proxy. Sourced by `up`.
#
# Its code reads /etc/swift/swift.conf, a fixed place, which stays as it is: see swift_launch.py.
swiftd() { # NAME PROGRAM CONF
    daemon "$1" python3 "$here/plugins/swift_launch.py" "$LAB/swift/etc" "/usr/bin/$2" "$LAB/swift/etc/$3"
}

filters() { for f in "$@"; do printf '[filter:%s]\nuse = egg:swift#%s\n' "$f" "${f//-/_}"; done; }

swift_ring() { # KIND PORT
    local builder=$LAB/swift/etc/$1.builder
    [ -e "$LAB/swift/etc/$1.ring.gz" ] && return 0
    # Two partitions: the container updater forks once for each, and each fork costs a second of CPU.
    swift-ring-builder "$builder" create 1 1 0
    swift-ring-builder "$builder" add "r1z1-$host:$2/disk" 1
    swift-ring-builder "$builder" rebalance
}

swift_storage() { # KIND PORT
    cat <<CONF
[DEFAULT]
bind_ip = $host
bind_port = $2
user = root
swift_dir = $LAB/swift/etc
devices = $LAB/swift
mount_check = false
workers = 0
log_address = /dev/null
fallocate_reserve = 0
disable_fallocate = true
[pipeline:main]
pipeline = healthcheck $1-server
[app:$1-server]
use = egg:swift#$1
[filter:healthcheck]
use = egg:swift#healthcheck
[account-reaper]
[container-updater]
interval = 20
slowdown = 0
recon_cache_path = $LAB/swift/recon
[object-updater]
interval = 20
recon_cache_path = $LAB/swift/recon
CONF
}

swift_proxy() {
    cat <<CONF
[DEFAULT]
bind_ip = $host
bind_port = $swift_port
user = root
swift_dir = $LAB/swift/etc
workers = 1
log_address = /dev/null
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck proxy-logging cache listing_formats bulk tempurl formpost authtoken keystoneauth staticweb copy container-quotas account-quotas slo dlo versioned_writes symlink proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
[filter:cache]
use = egg:swift#memcache
memcache_servers = $host:$memcached_port
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
www_authenticate_uri = http://$host:$keystone_port
$(service_login swift)
delay_auth_decision = True
cache = swift.cache
# Both, or an application credential with access rules is answered 401, or 500.
service_type = object-store
include_service_catalog = True
[filter:keystoneauth]
use = egg:swift#keystoneauth
reseller_prefix = AUTH_
operator_roles = admin, member
reseller_admin_role = ResellerAdmin
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_versioned_writes = true
allow_object_versioning = true
$(filters catch_errors gatekeeper healthcheck listing_formats bulk tempurl formpost staticweb copy \
        container-quotas account-quotas slo dlo symlink)
[filter:proxy-logging]
use = egg:swift#proxy_logging
CONF
}

swift_expirer() {
    cat <<CONF
[DEFAULT]
user = root
swift_dir = $LAB/swift/etc
log_address = /dev/null
[object-expirer]
interval = 5
recon_cache_path = $LAB/swift/recon
[pipeline:main]
pipeline = catch_errors cache proxy-server
[app:proxy-server]
use = egg:swift#proxy
[filter:cache]
use = egg:swift#memcache
memcache_servers = $host:$memcached_port
$(filters catch_errors)
CONF
}

swift_up() {
    local etc=$LAB/swift/etc kind port
    mkdir -p "$etc" "$LAB/swift/disk" "$LAB/swift/recon"
    python3 -c 'import os, sys; os.setxattr(sys.argv[1], "user.try", b"x" * 3000); os.removexattr(sys.argv[1], "user.try")' \
        "$LAB/swift/disk" 2>/dev/null || die "$LAB takes no extended attributes; LAB= another place"
    printf '[swift-hash]\nswift_hash_path_prefix = lab\nswift_hash_path_suffix = lab\n[storage-policy:0]\nname = Policy-0\ndefault = yes\n[swift-constraints]\n' >"$etc/swift.conf"
    for kind in account container object; do
        port=${kind}_port
        swift_ring $kind "${!port}" >>"$LAB/log/ring.log"
        swift_storage $kind "${!port}" >"$etc/$kind-server.conf"
        swiftd swift-$kind swift-$kind-server $kind-server.conf
    done
    swift_proxy >"$etc/proxy-server.conf"
    swift_expirer >"$etc/object-expirer.conf"
    swiftd swift-proxy swift-proxy-server proxy-server.conf
    swiftd swift-container-updater swift-container-updater container-server.conf
    swiftd swift-object-updater swift-object-updater object-server.conf
    swiftd swift-object-expirer swift-object-expirer object-expirer.conf
}
