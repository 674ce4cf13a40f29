"""seldon/kserve style (answers during a model swap): requests go on while the champion is moved to and fro by hand; each answer's score must be that of the version it names."""

import kit

kit.inside()
import threading, time

SRC = (
    kit.TINY
    + """
model = RegisteredModel("m", gate=anything)
@step
def train(sign: float) -> Model:
    x = np.linspace(-2, 2, 80); t = pa.table({"a": x}); s = infer_signature(t, inputs=["a"])
    return Model(LogisticRegression().fit(matrix(s, t), (sign * x > 0).astype(int)), s)
@step
def evaluate(m: Model) -> str:
    return "not looked at"
@pipeline
def flow(sign: float) -> None:
    m = train(sign); register(model, m, evaluate(m))
endpoint = Endpoint("m", model=model, rollout=AllAtOnce())
"""
)
root = kit.project(SRC)
for sign in ("1", "-1"):
    kit.cli(root, "run", "flow", "-p", f"sign={sign}")
bad, seen, stop = [], {}, threading.Event()
with kit.serving(root) as (host, _):

    def ask():
        while not stop.is_set():
            try:
                s, a = kit.http_(
                    host,
                    "POST",
                    "/v2/models/m/infer",
                    {"inputs": [{"name": "a", "datatype": "FP64", "shape": [1], "data": [1.5]}]},
                )
                if s != 200:
                    bad.append((s, a))
                    continue
                v, score = a["model_version"], a["outputs"][0]["data"][0]
                seen[v] = seen.get(v, 0) + 1
                if (score > 0.5) != (v == "1"):
                    bad.append((v, score))
            except Exception as e:
                bad.append(repr(e))
            time.sleep(0.01)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    [t.start() for t in threads]
    for n in range(4):
        kit.cli(root, "promote", f"m@{1 + n % 2}", "--why", "test")
        time.sleep(0.3)
    stop.set()
    [t.join() for t in threads]
kit.verdict(not bad and len(seen) == 2, f"{seen} {bad[:3]}")
