"""A workspace in which much has happened: so many of everything that a look of the controller could come across."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Table, insert

from everloop.records.data import DataVerdict
from everloop.records.events import TYPE_PREFIX, EventType
from everloop.records.models import CHAMPION
from everloop.records.runs import RunState
from everloop.records.serving import RolloutState
from everloop.storage.schema import batches, events, firings, rollouts, run_datasets, run_pins, runs, windows
from everloop.storage.workspace import Workspace
from tests.support.traffic import log, prediction, register

_GROUP = 1_000
_ALARMS = {
    ("decay", "late_performance"): EventType.PERFORMANCE_DECAYED,
    ("drift", "late_inputs"): EventType.DRIFT_DETECTED,
}


def fill(workspace: Workspace, count: int, *, pipeline: str, dataset: str) -> None:
    """So many runs of each kind, versions of the dataset, files, alarms, reasons, windows, rollouts and requests.

    All of it is over: the oldest run has read the newest version, those that came after it failed or were experiments,
    every reason was answered, and every rollout was taken back. The last hour of it is two weeks ago.
    """
    register(workspace, 1, alias=CHAMPION)
    _write_files(workspace, count)
    with workspace.database.write() as tx:
        _insert(
            tx, runs, (row for number in range(count) for row in _runs(workspace, number, count, pipeline))
        )
        read = [
            {"run_id": f"fresh-{n}", "dataset": dataset, "version": count - 1, "rows": count}
            for n in range(count)
        ]
        _insert(tx, run_datasets, read)
        _insert(
            tx, run_pins, ({"run_id": f"pinned-{n}", "dataset": dataset, "version": 0} for n in range(count))
        )
        _insert(tx, batches, (_batch(workspace, number, count, dataset) for number in range(2 * count)))
        _insert(tx, events, (row for number in range(count) for row in _events(workspace, number, count)))
        _insert(
            tx,
            firings,
            (row for number in range(count) for row in _firings(workspace, number, count, pipeline)),
        )
        _insert(tx, windows, (row for number in range(count) for row in _windows(workspace, number, count)))
        _insert(tx, rollouts, (_rollout(workspace, number, count) for number in range(count)))
    log(workspace, (prediction(f"p{n}", time=_time(workspace, n, count), version=1) for n in range(count)))


def _insert(
    tx: Connection, table: Table, rows: Iterator[Mapping[str, Any]] | Sequence[Mapping[str, Any]]
) -> None:
    known = [dict(row) for row in rows]
    for start in range(0, len(known), _GROUP):
        tx.execute(insert(table), known[start : start + _GROUP])


def _time(workspace: Workspace, number: int, count: int) -> Any:
    return workspace.now() - timedelta(weeks=2, hours=count - number)


def _runs(workspace: Workspace, number: int, count: int, pipeline: str) -> Iterator[Mapping[str, Any]]:
    """One of each kind; those that made a model fresh are the oldest."""
    ends = {"fresh": "COMPLETE", "failed": "FAIL", "experiment": "COMPLETE", "pinned": "COMPLETE"}
    for kind, state in ends.items():
        time = _time(workspace, number, count) - (
            timedelta(hours=count + 1) if kind == "fresh" else timedelta(0)
        )
        yield {
            "id": f"{kind}-{number}",
            "pipeline": pipeline,
            "key": f"{kind}-{number}",
            "state": RunState(state).value,
            "trigger": "schedule",
            "reason": "a test",
            "who": "a test",
            "requested_at": time,
            "code": {"commit": None, "dirty": None, "digest": "d"},
            "register": kind in ("fresh", "failed"),
        }


def _write_files(workspace: Workspace, count: int) -> None:
    folder = workspace.settings.root / "data"
    folder.mkdir()
    for number in range(count):
        (folder / f"{number}.csv").write_text(f"id\n{number}\n")


def _batch(workspace: Workspace, number: int, count: int, dataset: str) -> Mapping[str, Any]:
    """The first half are the files, which became versions; the others were kept out."""
    accepted = number < count
    content = hashlib.sha256(f"id\n{number}\n".encode()).hexdigest()[:16]
    return {
        "dataset": dataset,
        "key": f"data/{number}.csv@{content}" if accepted else f"kept-out-{number}",
        "arrived_at": _time(workspace, number, 2 * count),
        "rows": 1,
        "verdict": (DataVerdict.RETRAIN if accepted else DataVerdict.STOP).value,
        "findings": [],
        "version": number if accepted else None,
        "total_rows": number + 1 if accepted else 0,
    }


def _events(workspace: Workspace, number: int, count: int) -> Iterator[Mapping[str, Any]]:
    others = {("step", "somebody"): EventType.STEP_COMPLETED, ("drift", "somebody"): EventType.DRIFT_DETECTED}
    for (kind, subject), type in (_ALARMS | others).items():
        yield {
            "id": f"{kind}-{number}",
            "source": f"/monitors/{subject}",
            "type": TYPE_PREFIX + type,
            "subject": subject,
            "time": _time(workspace, number, count),
            "data": {"because": "a test"},
        }


def _firings(workspace: Workspace, number: int, count: int, pipeline: str) -> Iterator[Mapping[str, Any]]:
    for (kind, monitor), decision in zip(_ALARMS, ("answered", "started"), strict=True):
        yield {
            "trigger": f"{kind} {monitor}",
            "key": f"{pipeline}/{kind}-{number}",
            "kind": kind,
            "pipeline": pipeline,
            "time": _time(workspace, number, count),
            "reason": "a test",
            "decision": decision,
            "because": "a test",
            "run_id": f"fresh-{number}",
        }


def _rollout(workspace: Workspace, number: int, count: int) -> Mapping[str, Any]:
    time = _time(workspace, number, count)
    return {
        "id": f"late/{number}",
        "endpoint": "late",
        "model": "late",
        "stable": 1,
        "canary": number + 2,
        "state": RolloutState.ROLLED_BACK.value,
        "step": 0,
        "started_at": time,
        "step_started_at": time,
        "ended_at": time,
        "observed": {},
    }


def _windows(workspace: Workspace, number: int, count: int) -> Iterator[Mapping[str, Any]]:
    for _, monitor in _ALARMS:
        end = _time(workspace, number, count)
        yield {
            "monitor": monitor,
            "kind": "drift",
            "start": end - timedelta(hours=1),
            "end": end,
            "verdict": "ok",
            "result": {"because": "a test"},
        }
