# frozen_string_literal: true

require 'timeout'
require_relative 'jobs'

# /ready: a row, a job, an upload by the worker and a read of the public address, each really done. A failure
# names the first part that did not do its work.
class Probe
  JOB_SECONDS = 10
  ALL_SECONDS = 20
  POLL_SECONDS = 0.02

  class Failure < Log::Told; end

  # An id as Mastodon makes them: milliseconds, then 16 bits.
  def initialize
    @id = ((Time.now.to_f * 1000).to_i << 16) | SecureRandom.random_number(1 << 16)
    @stage = 'database'
  end

  # The answer's hash. The limit over all is for a database that accepts and then says nothing.
  def run
    Timeout.timeout(ALL_SECONDS, nil, "no answer within #{ALL_SECONDS} s") { attempt }
  rescue StandardError => e
    { ready: false, failed: @stage, why: Log.words(e) }
  end

  private

  def attempt
    Database.query('INSERT INTO probes (id) VALUES ($1)', [@id])
    started = now
    @stage = 'redis'
    ProbeJob.perform_async(@id)
    row = job_result(started + JOB_SECONDS)
    job_ms = ((now - started) * 1000).round
    @stage = 'public_read'
    { ready: true, worker_pid: row['worker_pid'].to_i, job_ms: job_ms, object_url: read_back(row),
      sha256: row['sha256'] }
  end

  def job_result(deadline)
    loop do
      @stage = 'database'
      row = Database.query('SELECT * FROM probes WHERE id = $1', [@id]).first
      return row if row['state'] == 'done'

      give_up('upload', row['why']) if row['state'] == 'failed'
      too_late(row) if now > deadline
      sleep POLL_SECONDS
    end
  end

  def too_late(row)
    if row['state'] == 'taken'
      give_up('upload', "worker #{row['worker_pid']} took the job and has not ended it after #{JOB_SECONDS} s")
    end
    @stage = 'redis'
    waiting, processes = Sidekiq.redis { |redis| [redis.llen('queue:default'), redis.scard('processes')] }
    give_up('job', "no worker began the job within #{JOB_SECONDS} s (queue default: #{waiting} waiting, " \
                   "Sidekiq processes known to Redis: #{processes})")
  end

  def read_back(row)
    url = Media.public_url(row['key'])
    found = Media.public_sha256(url)
    give_up('public_read', "#{url} is not what was uploaded: its SHA-256 is #{found}") if found != row['sha256']
    url
  end

  def give_up(stage, why)
    @stage = stage
    raise Failure, why
  end

  def now
    Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end
end
