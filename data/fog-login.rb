# Logs in and puts, reads and deletes one object exactly as Mastodon does: fog-openstack with the
# options that config/initializers/paperclip.rb makes of SWIFT_*. Prints one line; exit 77 when the
# library is not there.
begin
  require "fog/openstack"
rescue LoadError
  exit 77
end
require "securerandom"

options = {
  openstack_username: ENV["SWIFT_USERNAME"],
  openstack_project_id: ENV["SWIFT_PROJECT_ID"],
  openstack_project_name: ENV["SWIFT_TENANT"],
  openstack_tenant: ENV["SWIFT_TENANT"],
  openstack_api_key: ENV["SWIFT_PASSWORD"],
  openstack_auth_url: ENV["SWIFT_AUTH_URL"],
  openstack_domain_name: ENV.fetch("SWIFT_DOMAIN_NAME", "default"),
  openstack_region: ENV["SWIFT_REGION"],
}
begin
  storage = Fog::OpenStack::Storage.new(options)
  key = "atoll-check/fog-#{SecureRandom.hex(8)}"
  container = ENV["SWIFT_CONTAINER"]
  storage.put_object(container, key, "fog")
  body = storage.get_object(container, key).body
  storage.delete_object(container, key)
  abort "read back other bytes" unless body == "fog"
  puts "fog-openstack #{Fog::OpenStack::VERSION} logged in, put, read and deleted an object"
rescue StandardError => e
  # Excon's messages can hold the whole request: the first line's class and status are enough.
  status = e.respond_to?(:response) && e.response ? e.response.status.to_s : ""
  puts "#{e.class} #{status} #{e.message.lines.first.to_s.strip[0, 160].gsub(ENV["SWIFT_PASSWORD"].to_s, "...")}"
  exit 1
end
