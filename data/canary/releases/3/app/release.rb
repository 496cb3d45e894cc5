# frozen_string_literal: true

# Boots and is never healthy.
module Release
  module_function

  def refusal
    nil
  end

  def ailment
    'release 3 is never healthy, on purpose'
  end
end
