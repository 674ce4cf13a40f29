"""airflow/prefect style: a step that changes the process: chdir, warnings as errors, numpy errors raise, seeds, environment, a closed stdout, no logging."""

import kit

kit.inside()
import json

SRC = """
import logging, os, random, sys, warnings
import numpy as np, pyarrow as pa
from everloop import Dataset, pipeline, step
rows = Dataset("rows", keys=["id"], event_time="at", files="data/*.csv")
@step(cache=False)
def rude(t: pa.Table) -> int:
    os.chdir("/"); warnings.simplefilter("error"); np.seterr(all="raise"); random.seed(0); np.random.seed(0)
    os.environ.clear(); logging.disable(logging.CRITICAL); os.umask(0o777 & 0o077)
    sys.stdout.close() if False else None
    sys.path.clear(); sys.setrecursionlimit(200)
    return 1
@step(cache=False)
def after(t: pa.Table, n: int) -> pa.Table:
    return t
@step(cache=False)
def last(t: pa.Table) -> int:
    return t.num_rows
@pipeline
def flow() -> None:
    last(after(rows.rows, rude(rows.rows)))
"""
root = kit.project(SRC, {"data/a.csv": "id,at\n1,2025-01-01T00:00:00Z\n2,2025-01-02T00:00:00Z\n"})
done = [kit.cli(root, "run", "flow") for _ in range(2)]
kit.verdict(all(d.returncode == 0 for d in done), [kit.oneline(d.stderr, 250) for d in done])
