# frozen_string_literal: true

require_relative 'boot'

# The part of Rails' command line that a deployment uses.
module Tasks
  USAGE = <<~TEXT
    usage: bin/rails db:prepare | db:migrate | db:abort_if_pending_migrations
           bin/rails runner CODE
           bin/rails console
  TEXT

  module_function

  def run(argv)
    case argv
    in ['db:prepare' | 'db:migrate'] then database { migrate }
    in ['db:abort_if_pending_migrations'] then database { abort_if_pending }
    in ['runner', String => code] then evaluate(code)
    in ['console'] then console
    else abort USAGE
    end
  end

  # What went wrong ends the task in one line.
  def database
    Boot.demand_settings!
    require_relative 'schema'
    yield
  rescue Schema::Failed => e
    Log.refuse(Log.words(e))
  rescue PG::Error => e
    Log.refuse("the database: #{Log.words(e)}")
  end

  def migrate
    applied = Schema.migrate
    Log.event('migrated_all', applied: applied.size, post_deployment: Schema.post_skipped? ? 'skipped' : 'included')
  end

  def abort_if_pending
    pending = Schema.with_connection { |connection| Schema.pending(connection) }
    Log.refuse("pending: #{pending.map(&:name).join(', ')}") unless pending.empty?
    Log.event('checked', pending: 0)
  end

  def evaluate(code)
    load_application
    eval(code, TOPLEVEL_BINDING, 'runner') # rubocop:disable Security/Eval
  end

  # Reads no ~/.irbrc and keeps no history: the home folder may be read-only, or not be there.
  def console
    load_application
    require 'irb'
    IRB.setup(nil, argv: %w[-f])
    IRB.conf[:SAVE_HISTORY] = nil
    IRB::Irb.new.run(IRB.conf)
  end

  def load_application
    Boot.demand_settings!
    require_relative 'jobs'
    require_relative 'schema'
  end
end
