# frozen_string_literal: true

require 'securerandom'
require_relative 'database'
require_relative 'settings'

# What a streaming server and its clients see of an instance: an account with a token, and statuses that arrive.
module Live
  CHANNELS = %w[timeline:public timeline:public:local].freeze
  WORDS = [
    'The tide is in.', 'A parrotfish passed by.', 'New polyps on the outer reef.', 'Low water at six.',
    'Somebody left a bottle with a letter in it.',
  ].freeze
  # One row each, whoever asks first: the account, and its user.
  ACCOUNT = <<~SQL
    INSERT INTO accounts (username, email, confirmed, approved) VALUES ('canary', 'canary@localhost', true, true)
    ON CONFLICT (username) DO UPDATE SET approved = true RETURNING id
  SQL
  USER = 'INSERT INTO users (account_id) VALUES ($1) ON CONFLICT (account_id) DO UPDATE SET disabled = false RETURNING id'
  TOKEN = "INSERT INTO oauth_access_tokens (token, scopes, resource_owner_id) VALUES ($1, 'read', $2)"

  module_function

  # A fresh one that may read.
  def token
    account = Database.query(ACCOUNT).getvalue(0, 0)
    user = Database.query(USER, [account]).getvalue(0, 0)
    SecureRandom.urlsafe_base64(32).tap { |token| Database.query(TOKEN, [token, user]) }
  end

  # A Status as Mastodon serialises it for a public timeline, of the keys that a client shows.
  def status(number)
    now = Time.now.utc
    id = (((now.to_f * 1000).to_i << 16) | SecureRandom.random_number(1 << 16)).to_s
    url = "https://#{Settings.local_domain}/@canary"
    {
      id: id, created_at: now.strftime('%FT%T.%LZ'), in_reply_to_id: nil, in_reply_to_account_id: nil,
      sensitive: false, spoiler_text: '', visibility: 'public', language: 'en', uri: "#{url}/#{id}", url: "#{url}/#{id}",
      replies_count: 0, reblogs_count: 0, favourites_count: 0, edited_at: nil, reblog: nil,
      content: "<p>#{WORDS[number % WORDS.size]} (#{number})</p>",
      account: { id: '0', username: 'canary', acct: 'canary', display_name: 'The canary', locked: false, bot: true,
                 url: url },
      media_attachments: [], mentions: [], tags: [], emojis: [], card: nil, poll: nil,
    }
  end

  # Redis' PUBLISH, as Mastodon's workers do it. Returns how many streaming servers heard it.
  def publish(redis, number)
    message = JSON.generate(event: :update, payload: status(number))
    CHANNELS.sum { |channel| redis.publish(channel, message) }
  end
end
