# frozen_string_literal: true

# What a streaming server reads, under Mastodon's names: who a token is, and what he does not want to see.
lambda do |db|
  db.exec(<<~SQL)
    ALTER TABLE accounts ADD domain varchar, ADD suspended_at timestamp;
    CREATE TABLE user_roles (id bigserial PRIMARY KEY, name varchar NOT NULL DEFAULT '', permissions bigint NOT NULL DEFAULT 0);
    CREATE TABLE users (
      id bigserial PRIMARY KEY,
      account_id bigint NOT NULL UNIQUE,
      disabled boolean NOT NULL DEFAULT false,
      chosen_languages varchar[],
      role_id bigint
    );
    CREATE TABLE oauth_access_tokens (
      id bigserial PRIMARY KEY,
      token varchar NOT NULL UNIQUE,
      scopes varchar,
      resource_owner_id bigint,
      expires_in integer,
      revoked_at timestamp,
      created_at timestamp NOT NULL DEFAULT now()
    );
    CREATE TABLE lists (id bigserial PRIMARY KEY, account_id bigint NOT NULL, title varchar NOT NULL DEFAULT '');
    CREATE TABLE blocks (
      id bigserial PRIMARY KEY,
      account_id bigint NOT NULL,
      target_account_id bigint NOT NULL,
      UNIQUE (account_id, target_account_id)
    );
    CREATE INDEX ON blocks (target_account_id);
    CREATE TABLE mutes (
      id bigserial PRIMARY KEY,
      account_id bigint NOT NULL,
      target_account_id bigint NOT NULL,
      expires_at timestamp,
      UNIQUE (account_id, target_account_id)
    );
    CREATE INDEX ON mutes (target_account_id);
    CREATE TABLE account_domain_blocks (
      id bigserial PRIMARY KEY,
      account_id bigint,
      domain varchar,
      UNIQUE (account_id, domain)
    );
    CREATE TABLE custom_filters (
      id bigserial PRIMARY KEY,
      account_id bigint NOT NULL,
      expires_at timestamp,
      phrase text NOT NULL DEFAULT '',
      context varchar[] NOT NULL DEFAULT '{}',
      action integer NOT NULL DEFAULT 0
    );
    CREATE INDEX ON custom_filters (account_id);
    CREATE TABLE custom_filter_keywords (
      id bigserial PRIMARY KEY,
      custom_filter_id bigint NOT NULL,
      keyword text NOT NULL DEFAULT '',
      whole_word boolean NOT NULL DEFAULT true
    );
    CREATE INDEX ON custom_filter_keywords (custom_filter_id);
    CREATE TABLE settings (id bigserial PRIMARY KEY, var varchar NOT NULL UNIQUE, value text);
  SQL
end
