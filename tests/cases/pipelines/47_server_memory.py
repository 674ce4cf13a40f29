"""torchserve/tritonserver style (memory grows with requests): 16,000 requests, answers and errors, with ids of their own."""

import kit

kit.inside()
import http.client, json, threading

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


def rss():
    return int(next(l for l in open(f"/proc/{child.pid}/status") if l.startswith("VmRSS")).split()[1]) / 1024


def load(n, k):
    c = http.client.HTTPConnection(host, timeout=10)
    for i in range(n):
        kind = i % 4
        path = "/v1/models/m:predict" if kind < 3 else f"/nothing/{k}/{i}"
        body = json.dumps({"id": f"r{k}-{i}", "instances": [["x"]] if kind == 1 else [[float(i)]]})
        c.request("POST", path, body)
        c.getresponse().read()


load(3000, 0)
a = rss()
ts = [threading.Thread(target=load, args=(3250, k)) for k in range(1, 5)]
[t.start() for t in ts]
[t.join() for t in ts]
b = rss()
kit.stop(child)
kit.verdict(b - a < 25, f"{a:.0f} MiB after 3,000 requests, {b:.0f} MiB after 16,000")
