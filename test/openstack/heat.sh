# shellcheck shell=bash
# Heat as Debian has it: its API and one engine. Not the CFN API, which signals would need: atoll
# sends none. Sourced by `up`.

heat_conf() {
    cat <<CONF
[DEFAULT]
transport_url = $rabbit
region_name_for_services = $region
num_engine_workers = 1
convergence_engine = true
trusts_delegated_roles =
stack_user_domain_name = heat
stack_domain_admin = heat_domain_admin
stack_domain_admin_password = $service_password
server_keystone_endpoint_type = public
environment_dir = /etc/heat/environment.d
template_dir = /etc/heat/templates
auth_encryption_key = 0123456789abcdef0123456789abcdef
[heat_api]
bind_host = $host
bind_port = $heat_port
workers = 0
[paste_deploy]
api_paste_config = /etc/heat/api-paste.ini
[database]
connection = $(sql heat)
[clients_keystone]
auth_uri = http://$host:$keystone_port
[trustee]
auth_url = http://$host:$keystone_port/v3
auth_type = password
username = heat
password = $service_password
user_domain_id = default
$(shared heat)
CONF
}
