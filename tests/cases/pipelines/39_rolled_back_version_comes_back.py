"""mlflow#2169 / flagger style: a champion that was rolled back by hand must not become champion again because the pipeline is run on unchanged data."""

import kit

kit.inside()
import json

SRC = (
    kit.TINY
    + """
model = RegisteredModel("m", gate=anything)
@step
def train(c: float) -> Model:
    x = np.linspace(-2, 2, 80); t = pa.table({"a": x}); s = infer_signature(t, inputs=["a"])
    return Model(LogisticRegression(C=c).fit(matrix(s, t), (x > 0).astype(int)), s)
@step
def evaluate(m: Model) -> str:
    return "not looked at"
@pipeline
def flow(c: float) -> None:
    m = train(c); register(model, m, evaluate(m))
endpoint = Endpoint("m", model=model, rollout=AllAtOnce())
"""
)
notes = []
ok = True
for way in ("rollout", "by hand"):
    root = kit.project(SRC if way == "rollout" else SRC.replace("AllAtOnce())", "Canary(steps=[20]))"))
    for c in ("1", "2"):
        kit.cli(root, "run", "flow", "-p", f"c={c}")
    if way == "by hand":
        kit.cli(root, "promote", "m@2", "--why", "x")
    kit.cli(root, "rollback", "m", "--why", "m@2 is bad")
    kit.cli(root, "run", "flow", "-p", "c=2")
    s = json.loads(kit.cli(root, "status", "--json").stdout)
    spec = s["endpoints"][0]["spec"]
    notes.append((way, s["models"]["m"], spec["stable"], spec["canary"]))
    ok = ok and s["models"]["m"]["champion"] == 1 and spec["canary"] is None
kit.verdict(ok, notes)
