"""mlflow#22141, #7645: a version whose file is gone is made champion."""

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
root = kit.project(SRC)
for c in ("1", "2"):
    kit.cli(root, "run", "flow", "-p", f"c={c}")
digest = json.loads(kit.cli(root, "models", "m", "--json").stdout)
versions = digest["versions"] if isinstance(digest, dict) else digest
one = next(v for v in versions if v["version"] == 1)["digest"]
files = [p for p in root.rglob(one) if p.is_file()]
for p in files:
    p.unlink()
done = kit.cli(root, "promote", "m@1", "--why", "back to the old one")
with kit.serving(root) as (host, lines):
    ready = kit.http_(host, "GET", "/v2/health/ready")
    s, a = kit.http_(host, "POST", "/v1/models/m:predict", {"instances": [[1.0]]})
status = kit.cli(root, "status").stdout
kit.verdict(
    done.returncode != 0,
    f"file of m@1 deleted ({len(files)}); promote: rc {done.returncode} {kit.oneline(done.stdout + done.stderr, 150)}; then a server that starts: ready {ready[0]} {kit.oneline(ready[1], 150)}, predict {s}; status tells: {'not in' in status or 'cannot' in status}",
)
