"""Where everything is kept: rows, the event ledger, content-addressed blobs and versioned tables."""
