"""argo-rollouts#1905, #1700 (the analysis looks at requests that the canary never served, or at none): requests with the documented parameter `time` in the past are not seen by the judge; a canary that fails on every request stays."""

import kit

kit.inside()
import json, time
from datetime import datetime, timedelta, UTC

SRC = (
    kit.TINY
    + """
from sklearn.ensemble import HistGradientBoostingClassifier
model = RegisteredModel("m", gate=anything)
@step
def train(kind: str) -> Model:
    t = pa.table({"a": [0.0, 1.0, 2.0, 3.0] * 10}); s = infer_signature(t, inputs=["a"], optional=["a"])
    est = HistGradientBoostingClassifier() if kind == "good" else LogisticRegression()     # the second one cannot take a null
    return Model(est.fit(matrix(s, t), [0, 0, 1, 1] * 10), s)
@step
def evaluate(m: Model) -> str:
    return "not looked at"
@pipeline
def flow(kind: str) -> None:
    m = train(kind); register(model, m, evaluate(m))
endpoint = Endpoint("m", model=model, rollout=Canary(steps=[50], min_requests=50, judge=error_rate(margin=0.05), shadow=False))
"""
)


def go(when):
    root = kit.project(SRC)
    for kind in ("good", "bad"):
        kit.cli(root, "run", "flow", "-p", f"kind={kind}")
    with kit.up(root) as (child, lines):
        url = lines.until(lambda g: g.get("type") == "serving", 60)["url"].removeprefix("http://")
        lines.until(lambda g: False, 2)
        for n in range(150):
            more = {} if when is None else {"parameters": {"time": when}}
            kit.http_(url, "POST", "/v1/models/m:predict", {"instances": [[None]], **more})
        end = lines.until(lambda g: "rollout.rolled_back" in str(g), 8)
    return end is not None


now, past = go(None), go((datetime.now(UTC) - timedelta(hours=2)).isoformat())
kit.verdict(
    now and past,
    f"canary fails on each of its 75 requests; rolled back when sent without time: {now}; with time = two hours ago: {past}",
)
