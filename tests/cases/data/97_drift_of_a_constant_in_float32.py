"""Seen in: scikit-learn PR 19788 (near-constant features), evidently#330. Input: the model was trained on float32 columns, one of them always 0.1; requests say 0.1 as JSON. Right: nothing has moved, no alarm."""

from _case import *

import numpy as np

rng = np.random.default_rng(1)
t0 = datetime(2025, 6, 1, tzinfo=UTC)
n = 1500
x = rng.normal(0, 1, n)
y = (rng.random(n) < 1 / (1 + np.exp(-2 * x))).astype(np.int64)
at = pa.array([t0 - timedelta(hours=float(h)) for h in np.linspace(24 * 40, 1, n)], pa.timestamp("us", "UTC"))

source = MODEL.replace("{inputs}", '["x", "fee"]').replace(
    "{monitors}", 'watch = DriftMonitor("inputs", endpoint, window=timedelta(hours=1), min_requests=100)'
)
table = pa.table(
    {
        "id": np.arange(n),
        "at": at,
        "x": pa.array(x, pa.float32()),
        "fee": pa.array(np.full(n, 0.1), pa.float32()),
        "y": y,
    }
)
served = Served(source, {"data/a.parquet": table}, t0)
try:
    served.project.run("run", "fit")
    served.up()
    served.predict("late", [{"x": float(np.float32(v)), "fee": 0.1} for v in rng.normal(0, 1, 300)])
    time.sleep(1)
    served.set(t0 + timedelta(hours=1, minutes=5))
    until(lambda: "inputs" in served.status(), 20, "the monitor has looked", served.log)
    line = [l for l in served.status().splitlines() if l.strip().startswith("inputs")][0]
    tell("alarm" not in line or "no alarm" in line, line.strip())
finally:
    served.down()
