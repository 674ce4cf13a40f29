"""The prediction service: one `Infer` under every dialect, a data plane for each endpoint, and the process around them."""
