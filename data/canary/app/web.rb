# frozen_string_literal: true

require 'json'
require 'rack'
require_relative 'probe'
require_relative 'release'

# The Rack application.
class Web
  MOST_JOBS = 100_000
  MOST_STATUSES = 1000
  LONGEST_MS = 600_000
  BATCH = 1000
  TOKEN = /\A\h{16}\z/.freeze

  ROUTES = {
    '/' => [:page, %w[GET HEAD]],
    '/health' => [:health, %w[GET HEAD]],
    '/ready' => [:ready, %w[GET]],
    '/jobs' => [:jobs, %w[GET POST]],
    '/jobs/count' => [:count, %w[GET]],
    '/token' => [:token, %w[POST]],
    '/statuses' => [:statuses, %w[POST]],
  }.freeze

  class BadRequest < StandardError; end

  # Loaded before Puma forks, this process is the master (or, without workers, the only one).
  def initialize
    @master_pid = Process.pid
  end

  def call(env)
    status, headers, body = answer(Rack::Request.new(env))
    [status, headers.merge('X-Canary-Version' => Settings::VERSION), body]
  end

  private

  def answer(request)
    action, methods = ROUTES[request.path_info]
    return text(404, 'not found') unless action
    return text(405, "only #{methods.join(', ')}") unless methods.include?(request.request_method)

    send(action, request)
  rescue BadRequest => e
    json(400, error: e.message)
  rescue StandardError => e
    why = Log.words(e)
    Log.failure('request', path: request.path_info, why: why)
    json(503, error: why)
  end

  def health(_request)
    why = Release.ailment
    return text(200, 'OK') unless why

    Log.failure('health', why: why)
    text(500, why)
  end

  def ready(_request)
    result = Probe.new.run
    if result[:ready]
      result = { ready: true, version: Settings::VERSION, puma_pid: Process.pid, puma_master_pid: @master_pid }
               .merge(result)
    end
    Log.event('ready', **result)
    json(result[:ready] ? 200 : 503, result)
  end

  def jobs(request)
    number = integer(request, 'n', 1, MOST_JOBS)
    milliseconds = integer(request, 'ms', 0, LONGEST_MS)
    queue = params(request).fetch('queue', 'default')
    raise BadRequest, "queue is one of #{Settings::QUEUES.join(', ')}" unless Settings::QUEUES.include?(queue)

    token = SecureRandom.hex(8)
    Database.query('INSERT INTO batches (token, queue, enqueued) VALUES ($1, $2, $3)', [token, queue, number])
    enqueue(token, queue, number, milliseconds)
    Log.event('jobs', token: token, enqueued: number, queue: queue, ms: milliseconds)
    json(200, token: token, enqueued: number, queue: queue, ms: milliseconds)
  end

  def enqueue(token, queue, number, milliseconds)
    (1..number).each_slice(BATCH) do |slice|
      Sidekiq::Client.push_bulk('class' => LoadJob, 'queue' => queue,
                                'args' => slice.map { |one| [token, one, milliseconds] })
    end
  end

  # For a streaming client: nothing else of the canary asks for one.
  def token(_request)
    json(200, access_token: Live.token, token_type: 'Bearer', scope: 'read')
  end

  # They are on the public timeline once a worker has published them, numbered from 1.
  def statuses(request)
    number = integer(request, 'n', 1, MOST_STATUSES)
    Sidekiq::Client.push_bulk('class' => StatusJob, 'queue' => 'default', 'args' => (1..number).map { |one| [one] })
    json(200, enqueued: number)
  end

  # Exactly once is: missing 0 and duplicates 0.
  def count(request)
    token = params(request)['token'].to_s.scrub
    known = Database.query('SELECT queue, enqueued FROM batches WHERE token = $1', [token]) if token.match?(TOKEN)
    batch = known&.first
    raise BadRequest, 'token is what /jobs answered' unless batch

    row = Database.query('SELECT count(*) AS runs, count(DISTINCT number) AS jobs FROM runs WHERE token = $1', [token])
    runs, jobs = row.first.values.map(&:to_i)
    versions = Database.query('SELECT version, count(*) FROM runs WHERE token = $1 GROUP BY version', [token])
    enqueued = batch['enqueued'].to_i
    json(200, token: token, queue: batch['queue'], enqueued: enqueued, runs: runs, done: jobs,
              missing: enqueued - jobs, duplicates: runs - jobs,
              versions: versions.values.to_h.transform_values(&:to_i))
  end

  # Shows what the proxy in front passes on, for a person who looks at a new island.
  def page(request)
    seen = Rack::Utils.escape_html("#{request.scheme}://#{request.host_with_port}")
    domain = Rack::Utils.escape_html(Settings.local_domain)
    body = format(PAGE, domain: domain, version: Settings::VERSION, seen: seen)
    [200, { 'Content-Type' => 'text/html; charset=utf-8', 'Cache-Control' => 'no-store' }, [body]]
  end

  # Rack raises these three for a query or a form that it cannot take apart.
  def params(request)
    request.params
  rescue ArgumentError, TypeError, RangeError => e
    raise BadRequest, Log.words(e)
  end

  def integer(request, name, least, most)
    value = Integer(params(request).fetch(name, least).to_s, 10, exception: false)
    return value if value&.between?(least, most)

    raise BadRequest, "#{name} is a whole number from #{least} to #{most}"
  end

  def text(status, body)
    [status, { 'Content-Type' => 'text/plain; charset=utf-8' }, [body]]
  end

  def json(status, body)
    [status, { 'Content-Type' => 'application/json; charset=utf-8', 'Cache-Control' => 'no-store' },
     [JSON.generate(body), "\n"]]
  end

  PAGE = <<~HTML
    <!DOCTYPE html>
    <html lang="en">
    <head>
      <meta charset="utf-8">
      <meta name="viewport" content="width=device-width">
      <title>canary at %<domain>s</title>
      <style>body { font: 1.1em/1.5 sans-serif; max-width: 36em; margin: 3em auto; padding: 0 1em }</style>
    </head>
    <body>
      <h1>The canary sings at %<domain>s</h1>
      <p>This is not Mastodon. It is a small program with Mastodon's shape (Puma, Sidekiq, PostgreSQL, Redis and
      Swift through the same libraries, configured by the same variables), put here to prove that the island
      carries it.</p>
      <p><a href="/ready">/ready</a> writes a row, has a worker upload an object and reads it back from its public
      address. <a href="/health">/health</a> only says that Puma is up.</p>
      <p>Version %<version>s. This page was asked for as %<seen>s.</p>
    </body>
    </html>
  HTML
end
