"""Finding, loading and opening a user's project."""
