# frozen_string_literal: true

# What stands for a search server where no image of one can be run: on a pocket server, and in tests. It is no
# search. It keeps indexes and documents as JSON in `path.data`, asks for a password, and answers what Mastodon
# and atoll ask Elasticsearch for when they make an index and look at its health. Settings are those of
# Elasticsearch's image: http.host, http.port, path.data, ELASTIC_PASSWORD (or OpenSearch's) in the environment.
#
# `calls.jsonl` beside the data has a line for each call that changed something: what a test counts.
require 'base64'
require 'json'
require 'puma'
require 'rack/utils'
require 'tmpdir'

# One file, written whole: a killed one comes back with what it had.
class Store
  def initialize(folder)
    @folder = folder
    @path = File.join(folder, 'indexes.json')
    @lock = Mutex.new
    @indexes = File.exist?(@path) ? JSON.parse(File.read(@path)) : {}
  end

  def read
    @lock.synchronize { yield @indexes }
  end

  def change(what)
    @lock.synchronize do
      answer = yield @indexes
      File.write("#{@path}.new", JSON.generate(@indexes))
      File.rename("#{@path}.new", @path)
      File.write(File.join(@folder, 'calls.jsonl'), "#{JSON.generate(what)}\n", mode: 'a')
      answer
    end
  end
end

class SearchServer
  NAME = /\A[a-z0-9][a-z0-9_.-]*\z/.freeze

  def initialize(store, users)
    @store = store
    @users = users
  end

  def call(env)
    return answer(401, error('security_exception')) unless allowed?(env['HTTP_AUTHORIZATION'])

    words = env['PATH_INFO'].delete_prefix('/').split('/')
    body = env['rack.input'].read
    route(env['REQUEST_METHOD'], words, body.empty? ? {} : JSON.parse(body))
  rescue JSON::ParserError
    answer(400, error('parse_exception'))
  end

  private

  def allowed?(header)
    scheme, given = header.to_s.split(' ', 2)
    return false unless scheme == 'Basic' && given

    @users.any? { |login| Rack::Utils.secure_compare(given, Base64.strict_encode64(login)) }
  end

  def route(method, words, body)
    case [method, *words]
    in ['GET', '_cluster', 'health'] then health
    in ['GET' | 'HEAD', name] then with(name) { |index| answer(200, { name => index['settings'] }) }
    in ['PUT', name] then create(name, body)
    in ['DELETE', name] then change(method, words) { |all| all.delete(name) ? {} : nil }
    in ['PUT', name, '_mapping'] then map(name, body)
    in ['GET', name, '_count'] then with(name) { |index| answer(200, { count: index['docs'].size }) }
    in ['GET', name, '_doc', id] then document(name, id)
    in ['PUT', name, '_doc', id] then change(method, words) { |all| all[name] && (all[name]['docs'][id] = body) }
    else answer(405, error('method_not_allowed'))
    end
  end

  def health
    @store.read do |all|
      answer(200, { cluster_name: ENV.fetch('cluster.name', ''), status: 'green', number_of_nodes: 1,
                    active_primary_shards: all.size })
    end
  end

  def create(name, body)
    return answer(400, error('invalid_index_name_exception')) unless name.match?(NAME)
    return answer(400, error('resource_already_exists_exception')) if @store.read { |all| all.key?(name) }

    change('PUT', [name]) { |all| all[name] = { 'settings' => body, 'docs' => {} } }
  end

  # A field may be added; one that is there keeps its type.
  def map(name, body)
    with(name) do |index|
      fields = index['settings'].dig('mappings', 'properties') || {}
      wanted = body['properties'] || {}
      other = wanted.keys.find { |key| fields.key?(key) && fields[key]['type'] != wanted[key]['type'] }
      return answer(400, error('illegal_argument_exception')) if other

      change('PUT', [name, '_mapping']) { |all| all[name]['settings']['mappings'] = { 'properties' => fields.merge(wanted) } }
    end
  end

  def change(method, words)
    return answer(404, error('index_not_found_exception')) if words.size > 1 && !@store.read { |all| all.key?(words.first) }

    done = @store.change({ method: method, path: words.join('/') }) { |all| yield all }
    done ? answer(200, { acknowledged: true }) : answer(404, error('index_not_found_exception'))
  end

  def document(name, id)
    with(name) do |index|
      found = index['docs'][id]
      answer(found ? 200 : 404, { found: !found.nil?, _source: found }.compact)
    end
  end

  def with(name)
    index = @store.read { |all| all[name] }
    index ? yield(index) : answer(404, error('index_not_found_exception'))
  end

  def error(type)
    { error: { type: type } }
  end

  def answer(status, body)
    [status, { 'Content-Type' => 'application/json', 'X-Elastic-Product' => 'Elasticsearch' }, [JSON.generate(body)]]
  end
end

users = { 'elastic' => 'ELASTIC_PASSWORD', 'admin' => 'OPENSEARCH_INITIAL_ADMIN_PASSWORD' }
        .filter_map { |user, name| "#{user}:#{ENV.fetch(name)}" if ENV.key?(name) }
abort 'a search server without a password' if users.empty?
store = Store.new(ENV.fetch('path.data'))
server = Puma::Server.new(SearchServer.new(store, users), Puma::Events.null, { min_threads: 1, max_threads: 4 })
server.add_tcp_listener(ENV.fetch('http.host'), Integer(ENV.fetch('http.port', 9200)))
%w[TERM INT].each { |name| trap(name) { Thread.new { server.stop } } }
server.run.join
