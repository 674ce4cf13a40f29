"""How an older database becomes today's: numbered steps that are never changed once released."""
