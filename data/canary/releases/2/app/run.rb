# frozen_string_literal: true

require_relative 'database'
require_relative 'settings'

# Every run carries its queue. Version 1 goes on without it until the post-deployment migration forbids that.
module Run
  INSERT = <<~SQL
    INSERT INTO runs (token, number, worker_pid, version, queue)
    VALUES ($1, $2, $3, $4, (SELECT queue FROM batches WHERE token = $1))
  SQL

  module_function

  def record(token, number)
    Database.query(INSERT, [token, number, Process.pid, Settings::VERSION])
  end
end
