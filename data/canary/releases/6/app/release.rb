# frozen_string_literal: true

# Does not boot.
module Release
  module_function

  def refusal
    'release 6 does not boot, on purpose'
  end

  def ailment
    nil
  end
end
