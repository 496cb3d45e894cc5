# frozen_string_literal: true

# How a release behaves apart from its schema; releases that go wrong on purpose have another file in its place.
module Release
  module_function

  # Why web and worker of this release do not start; nil if they do.
  def refusal
    nil
  end

  # Why /health answers 500; nil if it answers OK.
  def ailment
    nil
  end
end
