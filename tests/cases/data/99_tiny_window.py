"""Seen in: deepchecks PR 2339 (too few samples), NannyML#88. Input: a window of 5 requests. Right: unknown, never good."""

from _case import *

import numpy as np

rng = np.random.default_rng(1)
t0 = datetime(2025, 6, 1, tzinfo=UTC)
n = 1500
x = rng.normal(0, 1, n)
y = (rng.random(n) < 1 / (1 + np.exp(-2 * x))).astype(np.int64)
at = pa.array([t0 - timedelta(hours=float(h)) for h in np.linspace(24 * 40, 1, n)], pa.timestamp("us", "UTC"))

source = MODEL.replace("{inputs}", '["x"]').replace(
    "{monitors}",
    'watch = PerformanceMonitor("perf", endpoint, worse_by=0.05, window=timedelta(hours=1), maturity=timedelta(hours=1), min_labels=50)',
)
served = Served(source, {"data/a.parquet": pa.table({"id": np.arange(n), "at": at, "x": x, "y": y})}, t0)
try:
    served.project.run("run", "fit")
    served.up()
    ids = served.predict("late", [{"x": float(v)} for v in rng.normal(0, 1, 5)])
    served.post("/labels", {"labels": [{"prediction_id": id, "label": 1} for id in ids]})
    served.set(t0 + timedelta(hours=2, minutes=5))
    until(lambda: "perf" in served.status(), 20, "the monitor has looked", served.log)
    line = [l for l in served.status().splitlines() if l.strip().startswith("perf")][0]
    tell("unknown" in line, line.strip())
finally:
    served.down()
