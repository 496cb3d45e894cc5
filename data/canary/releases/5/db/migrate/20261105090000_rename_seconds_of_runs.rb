# frozen_string_literal: true

# Fails: no release ever had the column. What it did before that is taken back with its transaction.
lambda do |db|
  db.exec('ALTER TABLE batches ADD COLUMN remark text')
  db.exec('ALTER TABLE runs RENAME COLUMN seconds TO duration')
end
