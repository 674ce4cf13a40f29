"""Feature views, defined once, and the history that training reads: every value as it was known at the time."""
