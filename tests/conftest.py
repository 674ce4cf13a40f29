"""What every room's tests may ask for: see `tests/support`."""

pytest_plugins = ["tests.support.workspaces"]
