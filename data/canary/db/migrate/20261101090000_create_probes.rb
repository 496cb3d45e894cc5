# frozen_string_literal: true

lambda do |db|
  db.exec(<<~SQL)
    CREATE TABLE probes (
      id bigint PRIMARY KEY,
      state text NOT NULL DEFAULT 'queued',
      worker_pid integer,
      key text,
      sha256 text,
      why text,
      created_at timestamptz NOT NULL DEFAULT now()
    )
  SQL
end
