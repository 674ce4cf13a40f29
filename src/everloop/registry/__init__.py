"""Registered models: numbered versions, the aliases that point at them, and what their inputs look like."""
