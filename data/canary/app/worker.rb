# frozen_string_literal: true

# What `sidekiq -r` loads.

require_relative 'settings'
require_relative 'log'

problems = Settings.problems
Log.refuse(problems.join('; ')) unless problems.empty?

require_relative 'jobs'
require_relative 'schema'

Schema.demand!
Log.event('worker_boot', version: Settings::VERSION, queues: Sidekiq.options[:queues].uniq.join(','),
                         concurrency: Sidekiq.options[:concurrency])
