"""From rows and an estimator to a model."""
