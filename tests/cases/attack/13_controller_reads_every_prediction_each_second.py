"""200,000 requests in a running canary: one look of the controller (it looks every second) must stay under 1 s of CPU."""

import random, time
from _h import *

root, port = project(swap("trees: int = 60", "trees: int = 25"))
cli(root, "run", "keep_fresh")
sys.path.insert(0, str(root))
from churn import endpoint
from everloop.monitoring.inference_log import insert_predictions
from everloop.records.serving import Arm, Outcome, Prediction
from everloop.rollout.controller import reconcile
from everloop.settings import load_settings
from everloop.storage.workspace import open_workspace

ws = open_workspace(load_settings(root))
while reconcile(ws, endpoint):
    pass
R, told = random.Random(0), []
for target in (20_000, 200_000):
    done = 0 if not told else 20_000
    while done < target:
        rows = []
        for _ in range(10_000):
            can = R.random() < 0.2
            i = ws.new_id()
            t = ws.now()
            for arm, v in ((Arm.CANARY, 2), (Arm.SHADOW, 1)) if can else ((Arm.STABLE, 1), (Arm.SHADOW, 2)):
                rows.append(
                    Prediction(
                        id=i,
                        request_id=i,
                        unit=i,
                        endpoint="churn",
                        model="churn",
                        version=v,
                        arm=arm,
                        share=20 if can else 80,
                        time=t,
                        arrived_at=t,
                        inputs=ROWS,
                        outputs={"left": 0.3},
                        outcome=Outcome.ANSWERED,
                        error=None,
                        seconds=1e-4,
                    )
                )
        with ws.database.log() as tx:
            insert_predictions(tx, rows)
        done += 10_000
    c, w = time.process_time(), time.monotonic()
    reconcile(ws, endpoint)
    told.append((target, time.process_time() - c, time.monotonic() - w))
ws.close()
verdict(
    told[-1][1] < 1,
    "; ".join(f"{n:,} requests: {c:.1f} s CPU, {w:.1f} s" for n, c, w in told)
    + f"; memory {rss(os.getpid()):.0f} MiB",
)
