"""Seen in: nannyml PR 384/405 (a chunk that cannot be computed ends it all). Input: a canary judged by quality(metric='log_loss_capped'); 200 requests with labels 0 and 1, and one label of -1 that is answered with 200. Right: the -1 is refused or left out; the rollout goes on to be judged."""

from _case import *

import numpy as np

rng = np.random.default_rng(1)
t0 = datetime(2025, 6, 1, tzinfo=UTC)


def table(n: int, start: int, newest: datetime) -> pa.Table:
    x = rng.normal(0, 1, n)
    y = (rng.random(n) < 1 / (1 + np.exp(-2 * x))).astype(np.int64)
    at = pa.array(
        [newest - timedelta(hours=float(h)) for h in np.linspace(24 * 40, 1, n)], pa.timestamp("us", "UTC")
    )
    return pa.table({"id": np.arange(start, start + n), "at": at, "x": x, "y": y})


source = (
    MODEL.replace("{inputs}", '["x"]')
    .replace("{monitors}", "")
    .replace("AllAtOnce, ", "Canary, quality, ")
    .replace(
        "rollout=AllAtOnce()",
        "rollout=Canary(steps=[50], min_requests=20, judge=quality(margin=0.5, metric='log_loss_capped'))",
    )
)
served = Served(source, {"data/a.parquet": table(1500, 0, t0)}, t0)
try:
    served.project.run("run", "fit")
    served.project.write("data/b.parquet", table(1500, 1500, t0))
    served.project.run("run", "fit")
    served.up()
    until(lambda: served.events("rollout.started"), 30, "the rollout has begun", served.log)
    time.sleep(2)
    ids = [served.predict("late", [{"x": -1.0 + i / 100}])[0] for i in range(200)]
    labels = [{"prediction_id": id, "label": int(rng.random() < 0.3)} for id in ids]
    served.post("/labels", {"labels": labels[1:]})
    status, answer = served.post("/labels", {"prediction_id": ids[0], "label": -1})
    time.sleep(5)
    log = served.log()
    stalled = [line for line in log.splitlines() if line.startswith("everloop:")]
    tell(
        not stalled,
        f"label -1 was answered with {status}; "
        + (f"the controller says: {stalled[-1].strip()}" if stalled else "judged"),
    )
finally:
    served.down()
