# frozen_string_literal: true

require 'digest'
require 'fog/openstack'
require 'net/http'
require 'securerandom'
require_relative 'log'
require_relative 'settings'

# Swift through fog, in the way paperclip does it for Mastodon.
module Media
  CACHE_CONTROL = 'public, max-age=315576000, immutable'
  READ_SECONDS = 5

  class Unreadable < Log::Told; end

  module_function

  # A Mastodon key for an id: .../109/386/986/125/042/200/original/<16 hex>.png
  def key(id)
    partition = id.to_s.rjust(id >= 1_000_000_000 ? 18 : 9, '0').scan(/\d{3}/).join('/')
    "media_attachments/files/#{partition}/original/#{SecureRandom.hex(8)}.png"
  end

  def put(key, body)
    directory.files.create(key: key, body: body, public: true, content_type: 'image/png',
                           'Cache-Control' => CACHE_CONTROL)
  end

  def delete(key)
    directory.files.new(key: key).destroy
  rescue StandardError => e
    raise unless Log.http_error(e)&.response&.status == 404
  end

  def public_url(key)
    prefix = Settings.object_url
    return directory.files.new(key: key).public_url if prefix.nil?

    # "%d" spreads the objects over four host names, as in paperclip.
    prefix = prefix % (key.hash % 4) if prefix.include?('%d')
    "#{prefix}/#{key}"
  end

  # What somebody without an account gets; the body's SHA-256.
  def public_sha256(url)
    uri = URI(url)
    raise Unreadable, "#{url} is not a http or https address" unless uri.is_a?(URI::HTTP) && uri.host

    http = Net::HTTP.new(uri.hostname, uri.port)
    http.use_ssl = uri.scheme == 'https'
    http.open_timeout = http.read_timeout = READ_SECONDS
    http.max_retries = 0
    reply = http.start { http.get(uri.request_uri, 'Accept-Encoding' => 'identity') }
    raise Unreadable, "#{reply.code} #{reply.message} from GET #{url}" unless reply.code == '200'

    Digest::SHA256.hexdigest(reply.body)
  end

  # Building the directory asks Swift nothing: a container that is missing shows at the PUT.
  def directory
    connection.directories.new(key: Settings.container)
  end

  # One connection, and so one Keystone token, for each thread.
  def connection
    Thread.current.thread_variable_get(:fog) ||
      Fog::Storage.new(Settings.fog_credentials).tap { |fog| Thread.current.thread_variable_set(:fog, fog) }
  end
end
