# frozen_string_literal: true

lambda do |db|
  db.exec(<<~SQL)
    CREATE TABLE batches (
      token text PRIMARY KEY,
      queue text NOT NULL,
      enqueued integer NOT NULL,
      created_at timestamptz NOT NULL DEFAULT now()
    )
  SQL
  # No unique index: a job that ran twice has to show as two rows.
  db.exec(<<~SQL)
    CREATE TABLE runs (
      id bigserial PRIMARY KEY,
      token text NOT NULL,
      number integer NOT NULL,
      worker_pid integer NOT NULL,
      version text,
      finished_at timestamptz NOT NULL DEFAULT now()
    )
  SQL
end
