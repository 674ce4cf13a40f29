"""ray serve/kserve style (requests lost on shutdown): SIGTERM while clients with keep-alive ask; no answer may be lost, and the log is whole."""

import kit

kit.inside()
import http.client, json, signal, threading, time, sqlite3

SRC = (
    kit.TINY
    + """
model = RegisteredModel("m", gate=anything)
@step
def train() -> Model:
    x = np.linspace(-2, 2, 80); t = pa.table({"a": x}); s = infer_signature(t, inputs=["a"])
    return Model(LogisticRegression().fit(matrix(s, t), (x > 0).astype(int)), s)
@step
def evaluate(m: Model) -> str:
    return "not looked at"
@pipeline
def flow() -> None:
    m = train(); register(model, m, evaluate(m))
endpoint = Endpoint("m", model=model)
"""
)
root = kit.project(SRC)
kit.cli(root, "run", "flow")
child = kit.start(root, "serve", "--port", "0", "--json")
lines = kit.Lines(child)
host = lines.until(lambda g: g.get("type") == "serving", 60)["url"].removeprefix("http://")
ids, lost, stop = [], [], threading.Event()


def ask():
    c = http.client.HTTPConnection(host, timeout=10)
    while not stop.is_set():
        try:
            c.request("POST", "/v1/models/m:predict", '{"instances": [[1.0]]}')
            r = c.getresponse()
            a = json.loads(r.read())
            ids.append(a["prediction_id"])
            if r.getheader("connection") == "close":
                return
        except (ConnectionRefusedError,):
            return
        except Exception as e:
            lost.append(repr(e))
            return


threads = [threading.Thread(target=ask) for _ in range(4)]
[t.start() for t in threads]
time.sleep(1.5)
child.send_signal(signal.SIGTERM)
code = child.wait(30)
stop.set()
[t.join() for t in threads]
logged = {
    r[0] for r in sqlite3.connect(next(root.rglob("everloop.db"))).execute("select id from predictions")
}
missing = [i for i in ids if i not in logged]
kit.verdict(
    code == 0 and not lost and not missing,
    f"rc {code}, {len(ids)} answers, lost {lost[:2]}, not in the log {len(missing)}",
)
