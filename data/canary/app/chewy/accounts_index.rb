# frozen_string_literal: true

# How accounts are indexed: as in Mastodon, a change here is a change of mapping (app/search.rb).
{ properties: { username: { type: 'text' } } }
