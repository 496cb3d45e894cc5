# frozen_string_literal: true

# A row says that `tootctl search deploy` was run, and by which release.
lambda do |db|
  db.exec(<<~SQL)
    CREATE TABLE search_deploys (
      id bigserial PRIMARY KEY,
      only_mapping boolean NOT NULL,
      only_index text,
      version text NOT NULL,
      created_at timestamptz NOT NULL DEFAULT now()
    )
  SQL
end
