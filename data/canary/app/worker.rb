# frozen_string_literal: true

# What Sidekiq loads (config/sidekiq.yml).

require_relative 'boot'

Boot.demand_release!

require_relative 'jobs'

Log.event('worker_boot', version: Settings::VERSION, queues: Sidekiq.options[:queues].uniq.join(','),
                         concurrency: Sidekiq.options[:concurrency])
