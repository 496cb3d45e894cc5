# frozen_string_literal: true

# From here on version 1 cannot write a run any more.
lambda do |db|
  db.exec('UPDATE runs SET queue = batches.queue FROM batches WHERE batches.token = runs.token AND runs.queue IS NULL')
  db.exec('ALTER TABLE runs ALTER COLUMN queue SET NOT NULL')
end
