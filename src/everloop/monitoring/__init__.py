"""What is seen of a model in service: what it was asked, how well it answered, and whether the world has moved."""
