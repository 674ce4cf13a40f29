"""activepieces#14372, qdash#1351: a run whose process was killed stays RUNNING. `everloop run` again: what becomes of the old one, and does it later register an older model over the newer one?"""

import kit

kit.inside()
import json, time

SRC = (
    kit.TINY
    + """
import pathlib
here = pathlib.Path(__file__).parent
model = RegisteredModel("m", gate=anything)
@step(cache=False)
def train(flag: str) -> Model:
    if flag == "old" and not (here / "began").exists():
        (here / "began").touch(); time.sleep(60)
    t = pa.table({"a": [0.0, 1.0, 2.0, 3.0]}); s = infer_signature(t, inputs=["a"])
    return Model(LogisticRegression(C=1.0 if flag == "old" else 2.0).fit(matrix(s, t), [0, 0, 1, 1]), s, facts={"flag": flag})
@step
def evaluate(flag: str) -> str:
    return "not looked at"
@pipeline
def flow(flag: str = "new") -> None:
    register(model, train(flag), evaluate(flag))
endpoint = Endpoint("m", model=model, rollout=AllAtOnce())
""".replace("import pathlib", "import pathlib, time", 1)
)
root = kit.project(SRC)
child = kit.start(root, "run", "flow", "--register", "-p", "flag=old")
for _ in range(300):
    if (root / "began").exists():
        break
    time.sleep(0.1)
time.sleep(0.3)
child.kill()
child.wait()
second = kit.cli(root, "run", "flow", "-p", "flag=new")
runs = json.loads(kit.cli(root, "runs", "--json").stdout)
states = [(r["params"]["flag"], r["state"]) for r in (runs if isinstance(runs, list) else runs["runs"])]
status = kit.cli(root, "status").stdout
kit.cli(root, "worker", "--once")
kit.cli(root, "status")
with kit.up(root) as (c, lines):
    lines.until(lambda g: g.get("type", "").startswith(("serving",)), 30)
    time.sleep(3)
models = kit.cli(root, "models", "m").stdout
champion = [l for l in models.splitlines() if "champion" in l][:1]
kit.verdict(
    "RUNNING" not in [s for f, s in states],
    f"after the kill and a second run: {states}; status says: {[l for l in status.splitlines() if 'RUNNING' in l or 'under way' in l][:2]}; after a worker came: {champion}",
)
