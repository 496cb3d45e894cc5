# frozen_string_literal: true

lambda do |db|
  db.exec(<<~SQL)
    CREATE TABLE accounts (
      id bigserial PRIMARY KEY,
      username text NOT NULL UNIQUE,
      email text NOT NULL UNIQUE,
      role text,
      confirmed boolean NOT NULL,
      approved boolean NOT NULL DEFAULT false,
      created_at timestamptz NOT NULL DEFAULT now()
    )
  SQL
end
