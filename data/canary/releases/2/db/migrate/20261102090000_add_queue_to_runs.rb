# frozen_string_literal: true

lambda do |db|
  db.exec('ALTER TABLE runs ADD COLUMN queue text')
end
