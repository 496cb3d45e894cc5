# shellcheck shell=bash
# The configuration files of Keystone, Glance, Placement, Nova, Neutron and Cinder, each a function
# that prints one. Sourced by `up`.

sql() { echo "mysql+pymysql://os:$service_password@$host:$sql_port/$1"; }
service_login() { # USER
    cat <<CONF
auth_url = http://$host:$keystone_port/v3
auth_type = password
username = $1
password = $service_password
project_name = service
user_domain_id = default
project_domain_id = default
CONF
}
login_with_region() { service_login "$1" && echo "region_name = $region"; }
shared() { # SERVICE: what nearly every one of them has
    cat <<CONF
[keystone_authtoken]
www_authenticate_uri = http://$host:$keystone_port
memcached_servers = $host:$memcached_port
service_token_roles_required = true
$(login_with_region "$1")
[oslo_messaging_rabbit]
heartbeat_in_pthread = false
rabbit_retry_interval = 1
[oslo_messaging_notifications]
driver = noop
[oslo_concurrency]
lock_path = $LAB/lock
CONF
}

keystone_conf() {
    cat <<CONF
[DEFAULT]
public_endpoint = http://$host:$keystone_port
[database]
connection = $(sql keystone)
[fernet_tokens]
key_repository = $LAB/keystone/tokens
[credential]
key_repository = $LAB/keystone/credentials
[token]
provider = fernet
[identity]
# As cheap as bcrypt gets: every login pays for it.
password_hash_rounds = 4
[cache]
enabled = true
backend = dogpile.cache.memcached
memcache_servers = $host:$memcached_port
[oslo_policy]
policy_file = $LAB/keystone/policy.yaml
CONF
}

# A manager of users in his domain, as Keystone has had one since 2024.1. (There the role needs a
# token for the domain; clouds that give their customers such rights do it by project.)
keystone_policy() {
    local manager='role:manager and user_domain_id'
    cat <<CONF
"identity:list_users": "rule:admin_required or role:manager"
"identity:list_roles": "rule:admin_required or role:manager"
"identity:get_role": "rule:admin_required or role:manager"
"identity:list_role_assignments": "rule:admin_required or role:manager"
"identity:get_user": "rule:admin_or_owner or ($manager:%(target.user.domain_id)s)"
"identity:create_user": "rule:admin_required or ($manager:%(target.user.domain_id)s)"
"identity:update_user": "rule:admin_required or ($manager:%(target.user.domain_id)s)"
"identity:delete_user": "rule:admin_required or ($manager:%(target.user.domain_id)s)"
CONF
    for verb in check_grant list_grants create_grant revoke_grant; do
        echo "\"identity:$verb\": \"rule:admin_required or ($manager:%(target.project.domain_id)s and user_domain_id:%(target.user.domain_id)s)\""
    done
}

glance_conf() {
    cat <<CONF
[DEFAULT]
bind_host = $host
bind_port = $glance_port
workers = 0
enabled_backends = file:file
[database]
connection = $(sql glance)
[glance_store]
default_backend = file
[file]
filesystem_store_datadir = $LAB/glance/images
[os_glance_staging_store]
filesystem_store_datadir = $LAB/glance/staging
[os_glance_tasks_store]
filesystem_store_datadir = $LAB/glance/tasks
[paste_deploy]
flavor = keystone
config_file = /etc/glance/glance-api-paste.ini
$(shared glance)
CONF
}

placement_conf() {
    cat <<CONF
[api]
auth_strategy = keystone
[placement_database]
connection = $(sql placement)
$(shared placement)
CONF
}

nova_conf() {
    cat <<CONF
[DEFAULT]
transport_url = $rabbit
my_ip = $host
host = compute1
state_path = $LAB/nova
enabled_apis = osapi_compute
osapi_compute_listen = $host
osapi_compute_listen_port = $nova_port
osapi_compute_workers = 1
compute_driver = fake.FakeDriver
vif_plugging_is_fatal = false
vif_plugging_timeout = 0
allow_resize_to_same_host = true
sync_power_state_interval = -1
running_deleted_instance_poll_interval = 0
[api]
auth_strategy = keystone
[api_database]
connection = $(sql nova_api)
[database]
connection = $(sql nova)
[cache]
enabled = true
backend = dogpile.cache.memcached
memcache_servers = $host:$memcached_port
[conductor]
workers = 1
[scheduler]
workers = 1
discover_hosts_in_cells_interval = 10
[filter_scheduler]
enabled_filters = ComputeFilter,ComputeCapabilitiesFilter,ImagePropertiesFilter,ServerGroupAntiAffinityFilter,ServerGroupAffinityFilter
[glance]
api_servers = http://$host:$glance_port
[vnc]
enabled = false
[placement]
$(login_with_region placement)
[neutron]
$(login_with_region neutron)
[cinder]
catalog_info = volumev3::publicURL
os_region_name = $region
$(service_login cinder)
[service_user]
send_service_user_token = true
$(login_with_region nova)
$(shared nova)
CONF
}

neutron_conf() {
    cat <<CONF
[DEFAULT]
transport_url = $rabbit
bind_host = $host
bind_port = $neutron_port
state_path = $LAB/neutron
core_plugin = ml2
service_plugins = router,port_forwarding
api_workers = 1
rpc_workers = 1
rpc_state_report_workers = 0
notify_nova_on_port_status_changes = true
notify_nova_on_port_data_changes = true
dhcp_agent_notification = false
api_paste_config = /etc/neutron/api-paste.ini
[agent]
root_helper = env
[database]
connection = $(sql neutron)
[ml2]
type_drivers = flat,vxlan
tenant_network_types = vxlan
mechanism_drivers = atoll_lab
extension_drivers = port_security
[ml2_type_flat]
flat_networks = *
[ml2_type_vxlan]
vni_ranges = 1:1000
[securitygroup]
enable_security_group = true
[nova]
$(login_with_region nova)
[placement]
$(login_with_region placement)
$(shared neutron)
CONF
}

cinder_conf() {
    cat <<CONF
[DEFAULT]
transport_url = $rabbit
my_ip = $host
host = lab
state_path = $LAB/cinder
osapi_volume_listen = $host
osapi_volume_listen_port = $cinder_port
osapi_volume_workers = 1
api_paste_config = /etc/cinder/api-paste.ini
resource_query_filters_file = /etc/cinder/resource_filters.json
rootwrap_config = /etc/cinder/rootwrap.conf
auth_strategy = keystone
glance_api_servers = http://$host:$glance_port
enabled_backends = file
default_volume_type = file
[file]
volume_driver = lab_cinder.FileDriver
volume_backend_name = file
lab_folder = $LAB/cinder/volumes
[database]
connection = $(sql cinder)
[nova]
$(login_with_region nova)
[service_user]
send_service_user_token = true
$(login_with_region cinder)
$(shared cinder)
CONF
}
