# frozen_string_literal: true

require_relative 'app/settings'
require_relative 'app/log'

problems = Settings.problems
Log.refuse(problems.join('; ')) unless problems.empty?

require_relative 'app/web'
require_relative 'app/schema'

Schema.demand!
Log.event('web_boot', version: Settings::VERSION, domain: Settings.local_domain)
run Web.new
