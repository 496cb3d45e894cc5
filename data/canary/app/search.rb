# frozen_string_literal: true

require 'digest'
require 'json'
require 'net/http'
require_relative 'database'

# The search server, as Mastodon's chewy speaks to it: what an index was made from last is kept there, in
# `chewy_specifications`, so that it is known whether an index has to be made, or made anew.
module Search
  STASH = 'chewy_specifications'
  DEFINITIONS = File.expand_path('chewy/*_index.rb', __dir__)
  SECONDS = 5

  class Failed < Log::Told; end

  module_function

  def enabled?
    ENV['ES_ENABLED'] == 'true'
  end

  # {"accounts" => its mapping}
  def definitions
    Dir[DEFINITIONS].sort.to_h do |path|
      [File.basename(path, '_index.rb'), eval(File.read(path), TOPLEVEL_BINDING.dup, path)] # rubocop:disable Security/Eval
    end
  end

  # Returns what was done to each index: made, remade, mapped or nothing.
  def deploy(only_mapping:, only: nil)
    raise Failed, 'Elasticsearch is not enabled: ES_ENABLED is not "true"' unless enabled?

    ensure_index(STASH, {})
    definitions.select { |name, _| only.nil? || only == name }.to_h do |name, mapping|
      [name, only_mapping ? map(name, mapping) : make(name, mapping)]
    end
  end

  def map(name, mapping)
    return 'the same' unless changed?(name, mapping)
    raise Failed, "there is no index #{name} to map" unless call(:Get, name).is_a?(Net::HTTPOK)

    demand(:Put, "#{name}/_mapping", mapping)
    lock(name, mapping)
    'mapped'
  end

  # An index whose specification changed is thrown away; what is in it comes from the database.
  def make(name, mapping)
    changed = changed?(name, mapping)
    there = call(:Get, name).is_a?(Net::HTTPOK)
    demand(:Delete, name) if changed && there
    ensure_index(name, { mappings: mapping }) if changed || !there
    lock(name, mapping)
    import(name)
    changed || !there ? 'made' : 'the same'
  end

  def import(name)
    return unless name == 'accounts'

    Database.query('SELECT id, username FROM accounts').each do |row|
      demand(:Put, "accounts/_doc/#{row['id']}", { username: row['username'] })
    end
  end

  def ensure_index(name, settings)
    demand(:Put, name, settings) unless call(:Get, name).is_a?(Net::HTTPOK)
  end

  def digest(mapping)
    Digest::SHA256.hexdigest(JSON.generate(mapping))
  end

  def changed?(name, mapping)
    found = call(:Get, "#{STASH}/_doc/#{name}")
    !found.is_a?(Net::HTTPOK) || JSON.parse(found.body).dig('_source', 'digest') != digest(mapping)
  end

  def lock(name, mapping)
    demand(:Put, "#{STASH}/_doc/#{name}", { digest: digest(mapping) })
  end

  def demand(method, path, body = nil)
    answer = call(method, path, body)
    raise Failed, "the search server answers #{answer.code} to #{method.upcase} /#{path}" unless answer.is_a?(Net::HTTPSuccess)

    answer
  end

  # Never by a proxy, as Mastodon's (config/initializers/chewy.rb).
  def call(method, path, body = nil)
    prefix = ENV['ES_PREFIX'].to_s.empty? ? '' : "#{ENV['ES_PREFIX']}_"
    request = Net::HTTP.const_get(method).new("/#{prefix}#{path}", 'Content-Type' => 'application/json')
    request.basic_auth(ENV['ES_USER'], ENV['ES_PASS']) if ENV['ES_USER']
    request.body = JSON.generate(body) if body
    Net::HTTP.start(ENV.fetch('ES_HOST', 'localhost'), Integer(ENV.fetch('ES_PORT', 9200)), nil,
                    open_timeout: SECONDS, read_timeout: SECONDS) { |http| http.request(request) }
  rescue SystemCallError, SocketError, Net::OpenTimeout, Net::ReadTimeout, EOFError => e
    raise Failed, "There was an issue connecting to the search server: #{e.message}"
  end
end
