# frozen_string_literal: true

require_relative 'database'
require_relative 'settings'

# How the end of a load test's job is written down. Release 2 has another file in its place: its schema differs here.
module Run
  INSERT = 'INSERT INTO runs (token, number, worker_pid, version) VALUES ($1, $2, $3, $4)'

  module_function

  def record(token, number)
    Database.query(INSERT, [token, number, Process.pid, Settings::VERSION])
  end
end
