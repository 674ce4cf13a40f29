"""Seen in: evidently#187, #330 (nulls in current data), deepchecks#1841. Input: a numeric input that is null in half of the requests, never in training. Right: alarm."""

from _case import *

import numpy as np

rng = np.random.default_rng(1)
t0 = datetime(2025, 6, 1, tzinfo=UTC)
n = 1500
x = rng.normal(0, 1, n)
y = (rng.random(n) < 1 / (1 + np.exp(-2 * x))).astype(np.int64)
at = pa.array([t0 - timedelta(hours=float(h)) for h in np.linspace(24 * 40, 1, n)], pa.timestamp("us", "UTC"))

source = MODEL.replace("{inputs}", '["x", "z"]').replace(
    "{monitors}", 'watch = DriftMonitor("inputs", endpoint, window=timedelta(hours=1), min_requests=100)'
)
source = source.replace(
    "LogisticRegression().fit(x,", "make_pipeline(SimpleImputer(), LogisticRegression()).fit(x,"
).replace(
    "from sklearn.linear_model",
    "from sklearn.pipeline import make_pipeline\nfrom sklearn.impute import SimpleImputer\nfrom sklearn.linear_model",
)
z = [None if i == 7 else float(v) for i, v in enumerate(rng.normal(0, 1, n))]
served = Served(
    source, {"data/a.parquet": pa.table({"id": np.arange(n), "at": at, "x": x, "z": z, "y": y})}, t0
)
try:
    told = served.project.run("run", "fit")
    served.up()
    served.predict(
        "late",
        [{"x": float(v), "z": None if i % 2 else float(v)} for i, v in enumerate(rng.normal(0, 1, 300))],
    )
    time.sleep(1)
    served.set(t0 + timedelta(hours=1, minutes=5))
    until(lambda: "inputs" in served.status(), 20, "the monitor has looked", served.log)
    line = [l for l in served.status().splitlines() if l.strip().startswith("inputs")][0]
    tell("alarm" in line and "no alarm" not in line, line.strip())
finally:
    served.down()
