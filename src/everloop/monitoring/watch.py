"""Look through a monitor's newest window: measure, write down what was found, and raise the event that triggers read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa
from sqlalchemy import Connection, select
from sqlalchemy.engine import RowMapping

from everloop.data.profile import profile
from everloop.evaluation.records import Estimate
from everloop.monitoring.drift import Alarm, drift
from everloop.monitoring.labels import Labelled, labelled
from everloop.monitoring.monitors import DriftMonitor, Monitor, PerformanceMonitor
from everloop.monitoring.performance import Performance, decayed, performance
from everloop.monitoring.reference import training_profile
from everloop.records.json import JsonObject
from everloop.records.models import CHAMPION, Datatype, ModelVersion
from everloop.records.serving import Arm
from everloop.registry.aliases import find_alias
from everloop.registry.versions import get_version
from everloop.storage import ledger
from everloop.storage.codec import to_json
from everloop.storage.database import insert_once
from everloop.storage.schema import windows
from everloop.storage.workspace import Workspace

_ARROW = {
    Datatype.BOOL: pa.bool_(),
    Datatype.INT64: pa.int64(),
    Datatype.FP64: pa.float64(),
    Datatype.BYTES: pa.string(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One look of one monitor: what it covered, and what it found."""

    monitor: str
    kind: str
    start: datetime
    end: datetime
    verdict: str
    """ok, alarm, or unknown when there was too little to tell."""
    result: JsonObject


def look(workspace: Workspace, monitor: Monitor) -> Window | None:
    """Judge the newest window that is complete; None when it has been judged before, or nothing was served in it."""
    maturity = monitor.maturity if isinstance(monitor, PerformanceMonitor) else timedelta(0)
    end = _grid(workspace.now() - maturity, monitor.window)
    start = end - monitor.window
    with workspace.database.read() as tx:
        if _judged(tx, monitor.name, end):
            return None
        champion = find_alias(tx, monitor.model, CHAMPION)
        if champion is None:
            return None
        version = get_version(tx, monitor.model, champion)
        rows = champions_rows(labelled(tx, endpoint=monitor.endpoint, since=start, until=end))
        if not rows:
            return None
        if isinstance(monitor, PerformanceMonitor):
            window = _performance(monitor, version, rows, start, end)
        else:
            window = _drift(tx, workspace, monitor, version, rows, start, end)
    _write(workspace, window)
    return window


def list_windows(tx: Connection, monitor: str | None = None) -> list[Window]:
    """Every look, oldest first."""
    query = select(windows).order_by(windows.c.end, windows.c.monitor)
    if monitor is not None:
        query = query.where(windows.c.monitor == monitor)
    return [_record(row) for row in tx.execute(query).mappings()]


def champions_rows(rows: list[Labelled]) -> list[Labelled]:
    """One row for each request: what the champion of that moment said, whether it answered or looked on.

    During a rollout the canary answers some requests; with shadowing the champion has scored those, too.
    """
    chosen: dict[str, Labelled] = {}
    canary = {row.prediction.id for row in rows if row.prediction.arm is Arm.CANARY}
    for row in rows:
        arm, id = row.prediction.arm, row.prediction.id
        if arm is Arm.STABLE or (arm is Arm.SHADOW and id in canary and id not in chosen):
            chosen[id] = row
    return list(chosen.values())


def offline(version: ModelVersion, metric: str) -> Estimate | None:
    """A version's metric as its gate saw it, with the interval; None when its run did not measure it."""
    names = (metric, f"{metric}_low", f"{metric}_high")
    if not all(name in version.metrics for name in names):
        return None
    value, low, high = (version.metrics[name] for name in names)
    return Estimate(value=value, low=low, high=high)


def _performance(
    monitor: PerformanceMonitor, version: ModelVersion, rows: list[Labelled], start: datetime, end: datetime
) -> Window:
    # Only this version's predictions: its own offline estimate is what they are held against.
    own = [row for row in rows if row.prediction.version == version.version]
    known = [row for row in own if row.label is not None and row.prediction.output is not None]
    live = measure(known, predictions=len(own))
    enough = live.labels >= monitor.at_least
    reference = offline(version, monitor.metric)
    better_high = monitor.metric == "auc"
    answer = decayed(
        reference,
        live.find(monitor.metric) if enough else None,
        monitor.worse_by,
        higher_is_better=better_high,
    )
    result: JsonObject = {
        "version": version.name,
        "metric": monitor.metric,
        "because": answer.because,
        "live": to_json(live),
        "offline": to_json(reference),
    }
    verdict = "alarm" if answer.passed else "ok" if enough and reference is not None else "unknown"
    return Window(
        monitor=monitor.name, kind="performance", start=start, end=end, verdict=verdict, result=result
    )


def measure(rows: list[Labelled], *, predictions: int) -> Performance:
    """Metrics of labelled rows, out of so many predictions."""
    scores = [row.prediction.output or 0.0 for row in rows]
    truth = [row.label or 0.0 for row in rows]
    return performance(scores, truth, predictions=predictions)


def _drift(
    tx: Connection,
    workspace: Workspace,
    monitor: DriftMonitor,
    version: ModelVersion,
    rows: list[Labelled],
    start: datetime,
    end: datetime,
) -> Window:
    reference = training_profile(tx, workspace, version)
    if reference is None or len(rows) < monitor.at_least:
        because = "the training data is not known" if reference is None else f"only {len(rows)} requests"
        found: JsonObject = {"version": version.name, "because": because}
        return Window(
            monitor=monitor.name, kind="drift", start=start, end=end, verdict="unknown", result=found
        )
    live = profile(_table(version, [row.prediction.inputs for row in rows]), edges=reference.edges())
    answer = drift(
        reference,
        live,
        alarm=Alarm(
            columns=monitor.alarm_on,
            ignore=monitor.ignore,
            effect=monitor.effect,
            deviations=monitor.deviations,
        ),
    )
    result = {"version": version.name, "requests": len(rows), **to_json(answer)}
    verdict = "alarm" if answer.alarm else "ok"
    return Window(monitor=monitor.name, kind="drift", start=start, end=end, verdict=verdict, result=result)


def _table(version: ModelVersion, rows: list[Mapping[str, object]]) -> pa.Table:
    fields = version.signature.inputs
    return pa.table(
        {f.name: pa.array([row.get(f.name) for row in rows], _ARROW[f.datatype]) for f in fields},
    )


def _write(workspace: Workspace, window: Window) -> None:
    kinds = {"performance": "performance.decayed", "drift": "drift.detected"}
    with workspace.database.write() as tx:
        if not insert_once(tx, windows, {name: getattr(window, name) for name in window.__slots__}):
            return
        if window.verdict == "alarm":
            told = {"because": window.result.get("because"), "version": window.result.get("version")}
            id = f"{window.monitor}-{window.end.isoformat()}"
            event = workspace.event(
                kinds[window.kind], f"/monitors/{window.monitor}", window.monitor, told, id=id
            )
            ledger.append(tx, event)


def _judged(tx: Connection, monitor: str, end: datetime) -> bool:
    query = select(windows.c.end).where(windows.c.monitor == monitor, windows.c.end >= end)
    return tx.execute(query.limit(1)).first() is not None


def _grid(moment: datetime, span: timedelta) -> datetime:
    """The last end of a window at or before a moment; windows of a monitor lie edge to edge since 1970."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return epoch + (moment - epoch) // span * span


def _record(row: RowMapping) -> Window:
    return Window(**dict(row))
