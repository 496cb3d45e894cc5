# frozen_string_literal: true

lambda do |db|
  db.exec('CREATE INDEX index_runs_on_token ON runs (token, number)')
end
