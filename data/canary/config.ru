# frozen_string_literal: true

require_relative 'app/boot'

Boot.demand_release!

require_relative 'app/web'

Log.event('web_boot', version: Settings::VERSION, domain: Settings.local_domain)
run Web.new
