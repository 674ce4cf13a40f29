"""What a model takes and answers, and how it is kept and loaded without running code from its file."""
