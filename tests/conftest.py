"""What every room's tests may ask for: see `tests/support`."""

import signal

from hypothesis import settings

# A shell that starts us in the background lets us ignore Ctrl-C, and every process that a test starts would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No test here is about time, and a busy machine is no fault of the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

pytest_plugins = ["tests.support.ownership", "tests.support.workspaces"]
