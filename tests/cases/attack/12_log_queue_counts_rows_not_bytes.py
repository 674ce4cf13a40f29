"""While the database is held, 60 predictions with a 3.9 MB text each wait in the log's queue: memory must stay bounded (< 100 MB)."""

import fcntl
from _h import *

root, port = project()
server = serve(root, port)
held = open(root / ".everloop/everloop.db.lock", "w")
fcntl.flock(held, fcntl.LOCK_EX)
before = rss(server.pid)
body = json.dumps({"instances": [["x" * 3_900_000, 12.0, 3, 1, 2]]}).encode()
codes = [post(port, "/v1/models/churn:predict", body)[0] for _ in range(60)]
grown = rss(server.pid) - before
fcntl.flock(held, fcntl.LOCK_UN)
verdict(
    grown < 100,
    f"60 requests ({codes.count(200)} answered 200): memory +{grown:.0f} MiB; the queue's bound is 50,000 rows, that is 195 GB of such rows",
)
