# frozen_string_literal: true

# A packed release has a Gemfile (scripts/canary-tree); without one the gems are simply Debian's.
gemfile = File.expand_path('../Gemfile', __dir__)
if File.exist?(gemfile)
  ENV['BUNDLE_GEMFILE'] ||= gemfile
  require 'bundler/setup'
end
