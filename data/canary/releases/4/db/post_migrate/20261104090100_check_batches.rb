# frozen_string_literal: true

# Waits for an operator, as a migration does that meets data which only a person can judge.
lambda do |db|
  if db.exec("SELECT FROM consents WHERE name = 'check_batches'").ntuples.zero?
    raise Log::Told, "nobody has consented; run in the database: INSERT INTO consents (name) VALUES ('check_batches')"
  end

  db.exec('ALTER TABLE batches ADD CONSTRAINT batches_enqueued_positive CHECK (enqueued > 0)')
end
