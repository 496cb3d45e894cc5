# frozen_string_literal: true

require_relative 'settings'
require_relative 'log'
require_relative 'release'

# What every process asks before it does anything; each ends the process with a reason.
module Boot
  module_function

  def demand_settings!
    problems = Settings.problems
    Log.refuse(problems.join('; ')) unless problems.empty?
  end

  # Web and worker ask this too; the tasks do not, so that a release that will not run can still migrate.
  def demand_release!
    demand_settings!
    Log.refuse(Release.refusal) if Release.refusal
    require_relative 'schema'
    Schema.demand!
  end
end
