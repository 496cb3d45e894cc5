# frozen_string_literal: true

lambda do |db|
  db.exec(<<~SQL)
    CREATE TABLE consents (
      name text PRIMARY KEY,
      given_at timestamptz NOT NULL DEFAULT now()
    )
  SQL
end
