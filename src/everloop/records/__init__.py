"""The nouns: frozen records and their states, with no behaviour that needs a store."""
