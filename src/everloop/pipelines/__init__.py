"""The orchestrator: plain functions become steps, steps become a graph, and a run walks it and can be resumed."""
