"""mlflow#6783, seldon/kserve canaries: version 2 has one more input than version 1. Can it ever be rolled out, and is the reason told?"""

import kit

kit.inside()
import json

SRC = (
    kit.TINY
    + """
model = RegisteredModel("m", gate=anything)
@step
def train(inputs: list[str]) -> Model:
    rng = np.random.default_rng(0)
    t = pa.table({"a": rng.normal(size=80), "b": rng.normal(size=80)}); s = infer_signature(t, inputs=inputs, optional=inputs)
    from sklearn.ensemble import HistGradientBoostingClassifier
    return Model(HistGradientBoostingClassifier().fit(matrix(s, t), (t["a"].to_numpy() > 0).astype(int)), s)
@step
def evaluate(m: Model) -> str:
    return "not looked at"
@pipeline
def one() -> None:
    m = train(["a"]); register(model, m, evaluate(m))
@pipeline
def two() -> None:
    m = train(["a", "b"]); register(model, m, evaluate(m))
endpoint = Endpoint("m", model=model, rollout=Canary(steps=[50], min_requests=50, judge=error_rate(margin=0.05), shadow=False))
"""
)
root = kit.project(SRC)
kit.cli(root, "run", "one")
second = kit.cli(root, "run", "two")
with kit.up(root) as (child, lines):
    url = lines.until(lambda g: g.get("type") == "serving", 60)["url"].removeprefix("http://")
    lines.until(lambda g: False, 2)
    extra = kit.http_(url, "POST", "/v1/models/m:predict", {"instances": [{"a": 1.0, "b": 2.0}]})
    plain = [
        kit.http_(url, "POST", "/v1/models/m:predict", {"instances": [{"a": 1.0}]})[0] for _ in range(150)
    ]
    end = lines.until(lambda g: "rollout.rolled_back" in str(g) or "rollout.promoted" in str(g), 10)
because = "" if end is None else str(end.get("data", {}).get("because"))
said = (
    "b" in because
    and ("missing" in because or "input" in because)
    or "input" in second.stdout + second.stderr
)
kit.verdict(
    said,
    f"request with the new input: {extra}; old requests: {set(plain)}; rollout ended: {kit.oneline(because, 260)}",
)
