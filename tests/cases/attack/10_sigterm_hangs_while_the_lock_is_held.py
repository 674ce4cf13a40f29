"""Another process holds everloop.db.lock (a stopped or hung writer), one label waits for it: SIGTERM must end the server within 30 s."""

import fcntl, threading, time
from _h import *

root, port = project()
server = serve(root, port)
time.sleep(1)
held = open(root / ".everloop/everloop.db.lock", "w")
fcntl.flock(held, fcntl.LOCK_EX)
threading.Thread(
    target=lambda: post(port, "/labels", {"prediction_id": "a", "label": 1}, 200), daemon=True
).start()
time.sleep(1)
server.send_signal(signal.SIGTERM)
t = time.monotonic()
try:
    server.wait(70)
    took = f"ended after {time.monotonic() - t:.0f} s"
    ok = time.monotonic() - t < 30
except subprocess.TimeoutExpired:
    took = "still runs 70 s after SIGTERM"
    ok = False
fcntl.flock(held, fcntl.LOCK_UN)
verdict(ok, took)
