"""From an estimator to a model that can be kept, loaded without running code, and asked."""
