"""A canary that fails every request; clients send the documented parameter `time` (an hour ago). It must be rolled back."""

import time
from _h import *

root, port = project(
    swap('"tickets"]', '"tickets", "customer"]')
)  # version 2 needs an input that clients do not send
ran = cli(root, "run", "keep_fresh")
loop = start(root, "up")
wait_ready(port)
up_to(lambda: "rollout.started" in said(loop), 60)
past = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 3600))
n = 0
end = time.monotonic() + 20
while time.monotonic() < end and "rolled_back" not in said(loop):
    ask(port, time=past)
    n += 1
import sqlite3

failed = (
    sqlite3.connect(root / ".everloop/everloop.db")
    .execute("select count(*) from predictions where arm='canary' and outcome<>'answered'")
    .fetchone()[0]
)
verdict(
    "rolled_back" in said(loop),
    f"{failed} canary failures in {n} requests; rolled back: {'rolled_back' in said(loop)} (without `time`, 16 failures are enough)",
)
