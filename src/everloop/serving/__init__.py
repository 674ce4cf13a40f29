"""The prediction service: one data plane under every wire protocol, and the server process around it."""
