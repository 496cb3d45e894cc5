# frozen_string_literal: true

require 'connection_pool'
require 'pg'
require_relative 'log'
require_relative 'settings'

# PostgreSQL: one pool a process, filled on demand, so that nothing is open when Puma forks.
module Database
  CONNECT_SECONDS = 5

  # A connection that comes back by itself after PostgreSQL was restarted.
  class Connection
    def query(sql, values = [])
      whole = false
      drop if stale?
      @pg ||= Database.connect
      result = @pg.exec_params(sql, values)
      whole = true
      result
    ensure
      drop unless whole || idle?
    end

    private

    # Nothing is owed to us between two queries: what can be read then is PostgreSQL's farewell.
    def stale?
      @pg && !@pg.socket_io.wait_readable(0).nil?
    rescue PG::Error
      true
    end

    def idle?
      @pg && @pg.status == PG::CONNECTION_OK && @pg.transaction_status == PG::PQTRANS_IDLE
    end

    def drop
      @pg&.close
    rescue PG::Error => e
      Log.event('database_close', why: Log.words(e))
    ensure
      @pg = nil
    end
  end

  POOL = ConnectionPool.new(size: Settings.database_pool, timeout: CONNECT_SECONDS) { Connection.new }

  module_function

  # The application name is empty on purpose, as Mastodon's is.
  def connect
    PG.connect(**Settings.database, connect_timeout: CONNECT_SECONDS, application_name: '')
  end

  def query(sql, values = [])
    POOL.with { |connection| connection.query(sql, values) }
  end
end
