"""One POST /labels with 1e200 during a canary: the judge, the rollback and every trigger after it stop for good."""

import time
from _h import *

root, port = project()
loop = canary(root, port)
ids = [ask(port)[1]["parameters"]["prediction_id"] for _ in range(20)]
status, receipt = post(port, "/labels", {"prediction_id": ids[0], "label": 1e200})
time.sleep(3)
runs = len(json.loads(cli(root, "runs", "--json").stdout))
months(root)  # 1,200 new rows: the trigger must start a run
fired = up_to(lambda: len(json.loads(cli(root, "runs", "--json").stdout)) > runs, 15, 1)
broke = "OverflowError" in said(loop)
verdict(
    status == 400 or (fired and not broke),
    f"label answered {status}; controller raised OverflowError: {broke}; new data still starts a run: {fired}",
)
