"""airflow PR#18729 / PR#35135, dagster#3594 (one exception takes the whole scheduler loop down): a file whose columns differ in case only. Other datasets, triggers and rollouts must go on."""

import kit

kit.inside()
SRC = """
import pyarrow as pa
from datetime import timedelta
from everloop import Dataset, Triggers, on_new_data, pipeline, step
orders = Dataset("orders", keys=["id"], event_time="at", files="orders/*.csv")
rows = Dataset("rows", keys=["id"], event_time="at", files="data/*.csv")
@step
def work(t: pa.Table) -> int:
    return t.num_rows
@pipeline
def flow() -> None:
    work(rows.rows)
triggers = Triggers(flow, on_new_data(rows, rows=1), cooldown=timedelta(0))
"""
root = kit.project(
    SRC,
    {
        "data/a.csv": "id,at\n1,2025-01-01T00:00:00Z\n2,2025-01-02T00:00:00Z\n",
        "orders/x.csv": "id,at,Price,price\n1,2025-01-01T00:00:00Z,3,4\n",
    },
)
by_hand = kit.cli(root, "run", "flow")
with kit.up(root) as (child, lines):
    done = lines.until(lambda g: "run.completed" in str(g), 15)
    told = [str(g.get("reason"))[-160:] for g in lines.seen if g.get("type") == "trouble"]
kit.verdict(
    done is not None and "Traceback" not in by_hand.stderr,
    f"`run flow` by hand: rc {by_hand.returncode}, traceback {'Traceback' in by_hand.stderr}; `up`: run completed in 15 s: {done is not None}; trouble told: {told[:1]}",
)
