# frozen_string_literal: true

# What Mastodon reads from its environment, under the same names and with the same defaults.
module Settings
  Encoding.default_external = Encoding::UTF_8
  # The application folder may be read-only: the few files Ruby needs go where the environment says.
  ENV['TMPDIR'] ||= ENV['CANARY_TMP'] if ENV['CANARY_TMP']

  VERSION = File.read(File.expand_path('../VERSION', __dir__)).strip.freeze
  QUEUES = %w[default push ingress mailers pull scheduler fasp].freeze

  ENCRYPTION_KEYS = %w[
    ACTIVE_RECORD_ENCRYPTION_DETERMINISTIC_KEY
    ACTIVE_RECORD_ENCRYPTION_KEY_DERIVATION_SALT
    ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY
  ].freeze
  VAPID_KEYS = %w[VAPID_PRIVATE_KEY VAPID_PUBLIC_KEY].freeze
  REQUIRED = (%w[LOCAL_DOMAIN SECRET_KEY_BASE] + ENCRYPTION_KEYS + VAPID_KEYS).freeze
  SECRETS = (%w[SECRET_KEY_BASE DB_PASS REDIS_PASSWORD ES_PASS SWIFT_PASSWORD SWIFT_TEMP_URL_KEY VAPID_PRIVATE_KEY] +
             ENCRYPTION_KEYS).freeze

  module_function

  # Everything that makes a boot pointless, as sentences; empty when the environment is whole.
  def problems
    blank = REQUIRED.select { |name| blank?(ENV[name]) }
    found = blank.map { |name| "#{name} is missing or blank" }
    ENCRYPTION_KEYS.each do |name|
      found << "#{name} is a placeholder" if ENV[name].to_s.end_with?('DO_NOT_USE_IN_PRODUCTION')
    end
    found << 'REDIS_NAMESPACE is set, which Mastodon refuses since 4.4' if ENV.key?('REDIS_NAMESPACE')
    found << 'S3_ENABLED is true and would win over SWIFT_ENABLED' if ENV['S3_ENABLED'] == 'true'
    found << 'SWIFT_ENABLED is not exactly "true"' unless ENV['SWIFT_ENABLED'] == 'true'
    found
  end

  def local_domain
    ENV.fetch('LOCAL_DOMAIN')
  end

  def threads
    Integer(ENV.fetch('MAX_THREADS', 5))
  end

  def database
    {
      host: ENV.fetch('DB_HOST', 'localhost'),
      port: ENV.fetch('DB_PORT', 5432),
      dbname: ENV.fetch('DB_NAME', 'mastodon_production'),
      user: ENV.fetch('DB_USER', 'mastodon'),
      password: ENV.fetch('DB_PASS', ''),
      sslmode: ENV.fetch('DB_SSLMODE', 'prefer'),
    }
  end

  # As Mastodon since 4.3: DB_POOL wins, else every thread of this very process has a connection.
  def database_pool
    return Integer(ENV['DB_POOL']) unless blank?(ENV['DB_POOL'])

    defined?(Sidekiq::CLI) ? Sidekiq.options[:concurrency] : threads
  end

  def redis
    return { url: ENV['REDIS_URL'] } unless blank?(ENV['REDIS_URL'])

    given = {
      host: ENV.fetch('REDIS_HOST', 'localhost'),
      port: Integer(ENV.fetch('REDIS_PORT', 6379)),
      db: Integer(ENV.fetch('REDIS_DB', 0)),
    }
    given[:password] = ENV['REDIS_PASSWORD'] unless blank?(ENV['REDIS_PASSWORD'])
    given
  end

  # A variable that is set but empty is passed on as it is: SWIFT_TENANT= makes fog speak Keystone v2, and an
  # empty SWIFT_REGION matches no endpoint. The canary has to fall into both, as Mastodon would.
  def fog_credentials
    {
      provider: 'OpenStack',
      openstack_auth_url: ENV['SWIFT_AUTH_URL'],
      openstack_username: ENV['SWIFT_USERNAME'],
      openstack_api_key: ENV['SWIFT_PASSWORD'],
      openstack_domain_name: ENV.fetch('SWIFT_DOMAIN_NAME', 'default'),
      openstack_project_id: ENV['SWIFT_PROJECT_ID'],
      openstack_project_name: ENV['SWIFT_TENANT'],
      openstack_tenant: ENV['SWIFT_TENANT'],
      openstack_region: ENV['SWIFT_REGION'],
      openstack_temp_url_key: ENV['SWIFT_TEMP_URL_KEY'],
      openstack_cache_ttl: ENV.fetch('SWIFT_CACHE_TTL', 60),
    }
  end

  def container
    ENV['SWIFT_CONTAINER']
  end

  def object_url
    ENV['SWIFT_OBJECT_URL']
  end

  def blank?(text)
    text.nil? || text.strip.empty?
  end
end
