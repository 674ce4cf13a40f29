"""Seen in: nannyml PR 384/405, deepchecks (labels outside of the classes). Input: 299 labels of 0 and 1 and one of 2 (docs/serving: 'a number: 1 or 0'). Right: the 2 is refused at the door, or counted and left out; the window is judged from the other 299."""

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
    asked = rng.normal(0, 1, 300)
    ids = served.predict("late", [{"x": float(v)} for v in asked])
    labels = [
        {"prediction_id": id, "label": int(rng.random() < 1 / (1 + np.exp(-2 * v)))}
        for id, v in zip(ids, asked)
    ]
    served.post("/labels", {"labels": labels[1:]})
    status, answer = served.post("/labels", {"prediction_id": ids[0], "label": 2})
    served.set(t0 + timedelta(hours=2, minutes=5))
    until(lambda: "perf" in served.status(), 20, "the monitor has looked", served.log)
    line = [l for l in served.status().splitlines() if l.strip().startswith("perf")][0]
    tell(
        "cannot be evaluated" not in line and "unknown" not in line,
        f"label 2 was answered with {status}; the window of 300: {line.strip()}",
    )
finally:
    served.down()
