# frozen_string_literal: true

require_relative 'database'

# Migrations as Rails keeps them: timestamped files in two folders, their versions in schema_migrations. A file
# holds one lambda that is given a connection inside a transaction.
module Schema
  ROOT = File.expand_path('../db', __dir__)
  LOCK = 0x61746f6c6c # "atoll"; two migrators wait for each other
  LOCK_WAIT = '60s'

  class Failed < Log::Told; end

  Migration = Struct.new(:version, :path) do
    def name
      File.basename(path, '.rb')
    end
  end

  module_function

  # Any value hides the post-deployment folder, "false" and the empty string too: that is Mastodon's rule.
  def post_skipped?
    ENV.key?('SKIP_POST_DEPLOYMENT_MIGRATIONS')
  end

  def files(post: !post_skipped?)
    folders = post ? %w[migrate post_migrate] : %w[migrate]
    paths = folders.flat_map { |folder| Dir[File.join(ROOT, folder, '[0-9]*_*.rb')] }
    paths.map { |path| Migration.new(File.basename(path)[/\A\d+/], path) }.sort_by(&:version)
  end

  def applied(connection)
    return [] unless connection.exec("SELECT to_regclass('schema_migrations')").getvalue(0, 0)

    connection.exec('SELECT version FROM schema_migrations').column_values(0)
  end

  def pending(connection, **which)
    done = applied(connection)
    files(**which).reject { |migration| done.include?(migration.version) }
  end

  # Returns the names of the migrations that this call applied.
  def migrate
    with_connection do |connection|
      connection.exec("SET lock_timeout = '#{LOCK_WAIT}'")
      connection.exec_params('SELECT pg_advisory_lock($1)', [LOCK])
      connection.exec('SET client_min_messages = warning')
      connection.exec('CREATE TABLE IF NOT EXISTS schema_migrations (version varchar NOT NULL PRIMARY KEY)')
      pending(connection).each { |migration| apply(connection, migration) }.map(&:name)
    end
  end

  def apply(connection, migration)
    change = eval(File.read(migration.path), TOPLEVEL_BINDING.dup, migration.path) # rubocop:disable Security/Eval
    connection.transaction do
      change.call(connection)
      connection.exec_params('INSERT INTO schema_migrations (version) VALUES ($1)', [migration.version])
    end
    Log.event('migrated', migration: migration.name)
  rescue Log::Told, PG::Error => e
    raise Failed, "#{migration.name}: #{Log.words(e)}"
  end

  # A release may run with its post-deployment migrations still to come, never without the others.
  def demand!
    missing = with_connection { |connection| pending(connection, post: false) }
    return if missing.empty?

    Log.refuse("the database is not prepared: #{missing.map(&:name).join(', ')} to be applied; run: bin/rails db:prepare")
  rescue PG::Error => e
    Log.refuse("the database cannot be asked for its schema: #{Log.words(e)}")
  end

  def with_connection
    connection = Database.connect
    yield connection
  ensure
    connection&.close
  end
end
