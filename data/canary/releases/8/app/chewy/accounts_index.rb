# frozen_string_literal: true

# Another type for a field that is there: the index has to be made anew.
{ properties: { username: { type: 'keyword' } } }
