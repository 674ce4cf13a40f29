"""Moving an endpoint's traffic to a new revision, and the judge that may take it back."""
