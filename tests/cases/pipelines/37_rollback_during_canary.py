"""argo-rollouts#943 / flagger (abort during a canary): roll back and promote by hand while a canary runs; what is served, what is left over."""

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
endpoint = Endpoint("m", model=model, rollout=Canary(steps=[20, 50]))
"""
)
root = kit.project(SRC)
notes = []


def state():
    s = json.loads(kit.cli(root, "status", "--json").stdout)
    e = s["endpoints"][0]["spec"]
    return e.get("stable"), e.get("canary")


kit.cli(root, "run", "flow", "-p", "c=1")
a = state()
kit.cli(root, "run", "flow", "-p", "c=2")
b = state()
none = kit.cli(root, "rollback", "m", "--why", "there is no other champion yet")
notes.append(("rollback with one champion", none.returncode, kit.oneline(none.stderr, 90)))
kit.cli(root, "promote", "m@2", "--why", "x")
c = state()
kit.cli(root, "run", "flow", "-p", "c=3")
d = state()
kit.cli(root, "rollback", "m", "--why", "canary is on")
e = state()
kit.cli(root, "run", "flow", "-p", "c=4")
f = state()
kit.cli(root, "promote", "m@4", "--why", "it is the canary")
g = state()
models = kit.cli(root, "models", "m").stdout
left = [l for l in models.splitlines() if "challenger" in l and "@" in l.split()[0]]
got = [a, b, c, d, e, f, g]
want = [(1, None), (1, 2), (2, None), (2, 3), (1, None), (1, 4), (4, None)]
kit.verdict(got == want, f"{got}, wanted {want}; {notes}")
