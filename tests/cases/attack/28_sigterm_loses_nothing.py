"""Regression, held: SIGTERM under keep-alive load, 5 times: no broken request, every answer in the log, exit 0."""

import sqlite3, threading, time
from _h import *

root, port = project()
answered, broken, codes = [], [], []
for _ in range(5):
    server = serve(root, port)

    def load():
        c = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        body = json.dumps({"instances": [list(ROWS.values())]})
        while True:
            try:
                c.request("POST", "/v1/models/churn:predict", body)
                r = c.getresponse()
                a = json.load(r)
            except Exception as e:
                broken.append(repr(e))
                return
            answered.append(a["prediction_id"])
            if r.getheader("connection") == "close":
                return
            time.sleep(0.002)

    threads = [threading.Thread(target=load) for _ in range(8)]
    [t.start() for t in threads]
    time.sleep(0.5)
    server.terminate()
    codes.append(server.wait(30))
    [t.join() for t in threads]
kept = {i for (i,) in sqlite3.connect(root / ".everloop/everloop.db").execute("select id from predictions")}
lost = sum(i not in kept for i in answered)
verdict(
    not broken and not lost and set(codes) == {0},
    f"{len(answered)} answers, {len(broken)} broken, {lost} not in the log, exit codes {codes}",
)
