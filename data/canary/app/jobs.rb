# frozen_string_literal: true

require 'redis'
# redis 4.8 would print a warning at every poll of Sidekiq 6.4.
Redis.silence_deprecations = true
require 'sidekiq'
require_relative 'database'
require_relative 'live'
require_relative 'log'
require_relative 'media'
require_relative 'run'
require_relative 'settings'

Sidekiq.logger.formatter = Log::Formatter.new
Sidekiq.logger.level = Log::LEVEL
Sidekiq.configure_client { |config| config.redis = Settings.redis.merge(size: Settings.threads) }
Sidekiq.configure_server do |config|
  config.redis = Settings.redis
  # Sidekiq's own handler prints a backtrace, and excon's messages unabridged.
  config.error_handlers.clear
  config.error_handlers << ->(error, context) { Log.failure('error', in: context[:context], why: Log.words(error)) }
end

# The worker's half of /ready: uploads random bytes and writes down where they are and what they were.
class ProbeJob
  include Sidekiq::Job
  sidekiq_options queue: 'default', retry: false

  BODY_BYTES = 4096
  TAKE = <<~SQL
    UPDATE probes SET state = 'taken', worker_pid = $2
     WHERE id = $1 AND state = 'queued' AND created_at > now() - interval '1 minute'
  SQL
  FINISH = 'UPDATE probes SET state = $2, key = $3, sha256 = $4, why = $5 WHERE id = $1'
  FORGET = <<~SQL
    DELETE FROM probes WHERE id IN
      (SELECT id FROM probes WHERE created_at < now() - interval '1 hour' ORDER BY id LIMIT 4 FOR UPDATE SKIP LOCKED)
    RETURNING key
  SQL

  def perform(id)
    # Nobody waits any more for a probe that lay in the queue while the workers were away.
    return if Database.query(TAKE, [id, Process.pid]).cmd_tuples.zero?

    upload(id)
    forget_old
  end

  private

  def upload(id)
    body = SecureRandom.bytes(BODY_BYTES)
    key = Media.key(id)
    why = attempt { Media.put(key, body) }
    Database.query(FINISH, why ? [id, 'failed', nil, nil, why] : [id, 'done', key, Digest::SHA256.hexdigest(body), nil])
    Log.failure('upload', why: why) if why
  end

  def forget_old
    Database.query(FORGET).column_values(0).compact.each do |key|
      why = attempt { Media.delete(key) }
      Log.failure('forget', key: key, why: why) if why
    end
  end

  # nil, or why it failed.
  def attempt
    yield
    nil
  rescue StandardError => e
    Log.words(e)
  end
end

# Statuses that arrive: what a distribution worker of Mastodon's does at its end.
class StatusJob
  include Sidekiq::Job
  sidekiq_options queue: 'default', retry: false

  def perform(number)
    heard = Sidekiq.redis { |redis| Live.publish(redis, number) }
    Log.event('published', number: number, heard: heard)
  end
end

# A load test's unit: lasts a while and leaves one row for each time it came to its end.
class LoadJob
  include Sidekiq::Job

  def perform(token, number, milliseconds)
    sleep(milliseconds / 1000.0)
    Run.record(token, number)
  end
end
