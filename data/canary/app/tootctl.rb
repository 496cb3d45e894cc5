# frozen_string_literal: true

require 'optparse'
require 'securerandom'
require_relative 'boot'

# The part of Mastodon's tootctl that a deployment uses. Nobody can sign in to the canary: the password is
# printed, as Mastodon does, and kept nowhere.
module Tootctl
  USAGE = <<~TEXT
    usage: bin/tootctl accounts create NAME --email EMAIL [--confirmed] [--role ROLE]
           bin/tootctl accounts modify NAME [--approve] [--reset-password]
           bin/tootctl search deploy [--only-mapping] [--only INDEX]
           bin/tootctl version
  TEXT
  NAME = /\A[a-z0-9_]+\z/i.freeze
  ROLES = %w[Owner Admin Moderator].freeze

  module_function

  def run(argv)
    command = argv.take_while { |word| !word.start_with?('-') }
    options = parse(argv)
    case command
    in ['accounts', 'create', name] then database { create(name, **options) }
    in ['accounts', 'modify', name] then database { modify(name, **options) }
    in %w[search deploy] then database { search_deploy(**options) }
    in ['version'] then puts Settings::VERSION
    else abort USAGE
    end
  rescue OptionParser::ParseError, ArgumentError
    abort USAGE
  end

  def parse(argv)
    options = {}
    OptionParser.new do |o|
      o.on('--email EMAIL')
      o.on('--confirmed')
      o.on('--role ROLE')
      o.on('--approve')
      o.on('--reset-password')
      o.on('--only-mapping')
      o.on('--only INDEX')
    end.parse(argv, into: options)
    options.transform_keys { |name| name.to_s.tr('-', '_').to_sym }
  end

  def database
    Boot.demand_settings!
    require_relative 'database'
    yield
  rescue PG::Error, Log::Told => e
    abort Log.words(e)
  end

  def create(name, email:, confirmed: false, role: nil)
    abort 'Failure/Error: username is letters, digits and underscores' unless name.match?(NAME)
    abort 'Cannot find user role with that name' unless role.nil? || ROLES.include?(role)

    Database.query('INSERT INTO accounts (username, email, confirmed, role) VALUES ($1, $2, $3, $4)',
                   [name, email, confirmed, role])
    puts 'OK', "New password: #{SecureRandom.hex}"
  rescue PG::UniqueViolation => e
    taken = e.result.error_field(PG::PG_DIAG_CONSTRAINT_NAME).include?('email') ? 'email' : 'username'
    abort "Failure/Error: #{taken} has already been taken"
  end

  def modify(name, approve: false, reset_password: false)
    done = Database.query('UPDATE accounts SET approved = approved OR $2 WHERE username = $1', [name, approve])
    abort 'No user with such username' if done.cmd_tuples.zero?
    puts 'OK'
    puts "New password: #{SecureRandom.hex}" if reset_password
  end

  def search_deploy(only_mapping: false, only: nil)
    require_relative 'search'
    done = Search.deploy(only_mapping: only_mapping, only: only)
    Database.query('INSERT INTO search_deploys (only_mapping, only_index, version) VALUES ($1, $2, $3)',
                   [only_mapping, only, Settings::VERSION])
    puts 'OK', *done.map { |name, what| "#{name}: #{what}" }
  end
end
