"""Data that arrives: profiles, schemas, expectations, the gate that judges a batch, and the split for training."""
