"""What a look of the controller costs after few and after many requests, and what the count that ends a rollout costs.

    python benchmarks/rollout/look.py [--few 1000] [--many 1000000] [--looks 20] [--postgres ADDRESS]

A rollout is under way, both revisions score each request, and every request is labelled. After so many requests, 200 more
come and one look reads them; it ends nothing. The ratio is that of many to few, so 1 is flat. Beside it stand a look
that finds nothing new, and `recount`, which reads everything, once, and the memory that it took on top.
"""

import argparse
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # for what the tests have made already

from everloop.monitoring.labels import record_labels
from everloop.records.models import CHALLENGER, CHAMPION
from everloop.records.serving import Arm, Label, Prediction
from everloop.rollout.canary import Canary
from everloop.rollout.controller import reconcile, settle
from everloop.rollout.endpoint import Endpoint
from everloop.rollout.endpoints import list_rollouts
from everloop.rollout.looks import recount
from everloop.settings import Settings, Storage
from everloop.storage.workspace import Workspace, open_workspace
from tests.support.traffic import log, prediction, register

PLAN = Canary(steps=(50,), min_requests=10**9, max_duration=timedelta(days=10_000))
ENDPOINT = Endpoint("late", model="late", rollout=PLAN)
NEW, GROUP = 200, 5_000
Cost = tuple[float, float]
"""Seconds of CPU of this process, and of wall time."""


def make(root: Path, address: str) -> Workspace:
    """A workspace in which version 2 has half of the traffic of version 1."""
    workspace = open_workspace(Settings(root=root, module="project", storage=Storage(database=address)))
    for version, alias in ((1, CHAMPION), (2, CHALLENGER)):
        register(workspace, version, alias=alias)
        settle(workspace, ENDPOINT)
    return workspace


def request(workspace: Workspace, drawn: random.Random) -> list[Prediction]:
    """One request as a server logs it: who answered, and who looked on."""
    id, at, score = workspace.new_id(), workspace.now(), drawn.random()
    arm, met, other = (Arm.CANARY, 2, 1) if drawn.random() < 0.5 else (Arm.STABLE, 1, 2)
    return [
        prediction(id, time=at, version=version, arm=which, share=50, output=score)
        for which, version in ((arm, met), (Arm.SHADOW, other))
    ]


def ask(workspace: Workspace, number: int, drawn: random.Random) -> None:
    """So many requests, each with its label."""
    for start in range(0, number, GROUP):
        asked = [request(workspace, drawn) for _ in range(min(GROUP, number - start))]
        truth = [
            Label(prediction_id=row.id, value=float(drawn.random() < 0.4), time=row.time) for row, _ in asked
        ]
        log(workspace, (row for rows in asked for row in rows))
        with workspace.database.write() as tx:
            record_labels(tx, truth, workspace.now())


def timed(work: Callable[[], object]) -> Cost:
    """What one call took."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def median(costs: list[Cost]) -> Cost:
    """Of CPU and of wall time apart."""
    return statistics.median(cpu for cpu, _ in costs), statistics.median(wall for _, wall in costs)


def looks(workspace: Workspace, number: int, drawn: random.Random) -> tuple[Cost, Cost]:
    """So many looks that each find something new, and as many that find nothing."""
    found, idle = [], []
    for _ in range(number):
        ask(workspace, NEW, drawn)
        found.append(timed(lambda: reconcile(workspace, ENDPOINT)))
        idle.append(timed(lambda: reconcile(workspace, ENDPOINT)))
    return median(found), median(idle)


def count(workspace: Workspace) -> None:
    """Everything once more from the log."""
    with workspace.database.read() as tx:
        recount(tx, list_rollouts(tx, "late")[-1], PLAN.judge)


def peak() -> float:
    """The most memory that this process has held so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Read the arguments, fill the log, look, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--few", type=int, default=1_000)
    parser.add_argument("--many", type=int, default=1_000_000)
    parser.add_argument("--looks", type=int, default=20)
    parser.add_argument("--postgres", default="", help="address of an empty database; SQLite without it")
    given = parser.parse_args()
    drawn = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        workspace = make(Path(folder), given.postgres)
        costs = []
        for number in (given.few, given.many - given.few):
            ask(workspace, number, drawn)
            caught_up = timed(lambda: settle(workspace, ENDPOINT))
            print(f"{number:>9,} requests caught up with in {caught_up[0]:.2f} s of CPU", flush=True)
            costs.append(looks(workspace, given.looks, drawn))
        for name, few, many in zip(
            (f"a look at {NEW} new requests", "a look at nothing new"), *costs, strict=True
        ):
            print(
                f"{name:28} {few[0] * 1e3:8.2f} ms of CPU at {given.few:,}, {many[0] * 1e3:8.2f} at {given.many:,}: "
                f"ratio {many[0] / few[0]:.2f}, wall {many[1] / few[1]:.2f}"
            )
        before = peak()
        cpu, wall = timed(lambda: count(workspace))
        print(
            f"recount, once                {cpu:8.2f} s of CPU, {wall:.2f} s of wall time, {peak() - before:.0f} MiB more"
        )
        workspace.close()


if __name__ == "__main__":
    main()
