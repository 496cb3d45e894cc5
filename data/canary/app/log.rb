# frozen_string_literal: true

require 'logger'
require_relative 'settings'

# One line an event on stdout, and error texts that are safe to print or to answer with.
module Log
  LONGEST = 300
  LEVEL = Logger.const_get(ENV.fetch('RAILS_LOG_LEVEL', 'info').upcase)

  # An error whose message was written by us for people.
  class Told < StandardError; end

  # Sidekiq's own messages come through here too.
  class Formatter
    def call(severity, time, _program, message)
      text = message.is_a?(Exception) ? Log.words(message) : Log.one_line(message)
      context = defined?(Sidekiq::Context) ? Sidekiq::Context.current.compact : {}
      fields = context.map { |name, value| " #{name}=#{value}" }.join
      "#{time.utc.strftime('%FT%T.%LZ')} pid=#{Process.pid} level=#{severity.downcase} #{text}#{fields}\n"
    end
  end

  $stdout.sync = true
  LOGGER = Logger.new($stdout, level: LEVEL, formatter: Formatter.new)

  module_function

  def event(name, **fields)
    LOGGER.info(line(name, fields))
  end

  def failure(name, **fields)
    LOGGER.error(line(name, fields))
  end

  # Ends a boot that cannot lead anywhere.
  def refuse(why)
    failure('refused', why: why)
    exit 1
  end

  def line(name, fields)
    (["event=#{name}"] + fields.compact.map { |key, value| "#{key}=#{quoted(value)}" }).join(' ')
  end

  def quoted(value)
    text = value.to_s
    text.match?(/\A[^\s"=]+\z/) ? text : text.inspect
  end

  # excon's messages carry whole requests and replies, so of an HTTP failure only the status line is told.
  def words(error)
    return one_line(error.message) if error.is_a?(Told)

    status = http_error(error)
    status ? one_line(status_words(status)) : "#{one_line(error.message)} (#{error.class})"
  end

  # fog hides a 404 of Swift behind a JSON error, for Swift answers it in HTML, so the causes are looked through.
  def http_error(error)
    return nil unless defined?(Excon::Error::HTTPStatus)

    error = error.cause until error.nil? || error.is_a?(Excon::Error::HTTPStatus)
    error
  end

  def status_words(error)
    asked = error.request
    "#{error.response.status} #{error.response.reason_phrase} from #{asked[:method]} " \
      "#{asked[:scheme]}://#{asked[:host]}:#{asked[:port]}#{asked[:path]}"
  end

  def one_line(text)
    line = text.to_s.dup.force_encoding(Encoding::UTF_8).scrub('?').split.join(' ')
    Settings::SECRETS.each do |name|
      secret = ENV[name].to_s
      line.gsub!(secret, "[#{name}]") if secret.length >= 4
    end
    line.length > LONGEST ? "#{line[0, LONGEST]}..." : line
  end
end
