# frozen_string_literal: true

# A field more: an index that is there can take it.
{ properties: { username: { type: 'text' }, email: { type: 'keyword' } } }
