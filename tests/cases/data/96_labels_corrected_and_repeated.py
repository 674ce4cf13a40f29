"""Seen in: feast, evidently (late and corrected truth). Input: a label sent twice, then corrected; one for an unknown id. Right: 1 accepted, 1 duplicate, 1 correction; the window is judged."""

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
    answers = [served.post("/labels", {"prediction_id": ids[0], "label": v})[1] for v in (1, 1, 0)]
    answers.append(served.post("/labels", {"prediction_id": "not-known", "label": 1})[1])
    served.set(t0 + timedelta(hours=2, minutes=5))
    until(lambda: "perf" in served.status(), 20, "the monitor has looked", served.log)
    line = [l for l in served.status().splitlines() if l.strip().startswith("perf")][0]
    want = [
        {"accepted": 1, "duplicates": 0, "corrections": 0},
        {"accepted": 0, "duplicates": 1, "corrections": 0},
        {"accepted": 0, "duplicates": 0, "corrections": 1},
        {"accepted": 1, "duplicates": 0, "corrections": 0},
    ]
    tell(answers == want and "unknown" not in line, f"{answers} {line.strip()}")
finally:
    served.down()
