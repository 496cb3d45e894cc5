# frozen_string_literal: true

# The variables of Mastodon's own configuration of Puma.

root = File.expand_path('..', __dir__)
directory root
rackup File.join(root, 'config.ru')
environment ENV.fetch('RAILS_ENV', 'production')

most = Integer(ENV.fetch('MAX_THREADS', 5))
threads Integer(ENV.fetch('MIN_THREADS', most)), most
workers Integer(ENV.fetch('WEB_CONCURRENCY', 2))
persistent_timeout Integer(ENV.fetch('PERSISTENT_TIMEOUT', 20))
preload_app!

if ENV['SOCKET']
  bind "unix://#{ENV['SOCKET']}"
else
  host = ENV.fetch('BIND', '127.0.0.1')
  host = "[#{host}]" if host.include?(':') && !host.start_with?('[')
  bind "tcp://#{host}:#{ENV.fetch('PORT', 3000)}"
end
