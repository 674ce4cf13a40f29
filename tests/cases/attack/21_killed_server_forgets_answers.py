"""kill -9 of the server under load: answered predictions must be in the log (their ids are what labels name). Documented bound: about 50 ms."""

import sqlite3, threading, time
from _h import *

root, port = project()
answered = []
for _ in range(3):
    server = serve(root, port)
    stop = threading.Event()

    def load():
        c = http.client.HTTPConnection("127.0.0.1", port, timeout=3)
        body = json.dumps({"instances": [list(ROWS.values())]})
        while not stop.is_set():
            try:
                c.request("POST", "/v1/models/churn:predict", body)
                answered.append(json.load(c.getresponse())["prediction_id"])
            except Exception:
                return

    threads = [threading.Thread(target=load) for _ in range(4)]
    [t.start() for t in threads]
    time.sleep(0.7)
    server.kill()
    server.wait()
    stop.set()
    [t.join() for t in threads]
kept = {i for (i,) in sqlite3.connect(root / ".everloop/everloop.db").execute("select id from predictions")}
lost = sum(i not in kept for i in answered)
verdict(lost == 0, f"{lost} of {len(answered)} answered predictions are not in the log after 3 kills")
