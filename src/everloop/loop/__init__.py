"""Continuous training: the reasons to start a pipeline, and the controller that acts on them."""
