"""Look through a monitor's newest window: measure, write down what was found, and raise the event that triggers read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa
from sqlalchemy import Connection, select
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import SQLAlchemyError

from everloop.data.profile import profile
from everloop.errors import EverloopError
from everloop.evaluation.metric import Metric
from everloop.evaluation.records import Estimate
from everloop.monitoring.drift import Alarm, drift
from everloop.monitoring.labels import Labelled, labelled
from everloop.monitoring.monitors import DriftMonitor, Monitor, PerformanceMonitor
from everloop.monitoring.performance import Performance, decayed, performance, reference
from everloop.monitoring.reference import find_evaluated_rows, find_evaluation, find_training_profile
from everloop.records.json import JsonObject
from everloop.records.models import CHAMPION, Datatype, ModelVersion
from everloop.records.serving import Arm, Scalar
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
OK, ALARM, UNKNOWN = "ok", "alarm", "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorWindow:
    """One look of one monitor: what it covered, and what it found."""

    monitor: str
    kind: str
    start: datetime
    end: datetime
    verdict: str
    """ok, alarm, or unknown when it cannot be told."""
    result: JsonObject


def evaluate_window(workspace: Workspace, monitor: Monitor) -> MonitorWindow | None:
    """Judge the newest window that is complete; None when it has been judged before, or nothing was served in it.

    Windows that went by while nobody looked are left out: what matters is whether something is wrong now. A monitor that
    cannot be evaluated says `unknown` and why, and keeps nobody else from being looked at.
    """
    maturity = monitor.maturity if isinstance(monitor, PerformanceMonitor) else timedelta(0)
    end = _grid(workspace.now() - maturity, monitor.window)
    with workspace.database.read() as tx:
        window = None if _judged(tx, monitor.name, end) else _window(tx, workspace, monitor, end)
    if window is not None:
        _write(workspace, monitor, window)
    return window


def _window(tx: Connection, workspace: Workspace, monitor: Monitor, end: datetime) -> MonitorWindow | None:
    champion = find_alias(tx, monitor.model, CHAMPION)
    logged = labelled(tx, endpoint=monitor.endpoint, since=end - monitor.window, until=end)
    rows = champions_rows([row for row in logged if row.prediction.model == monitor.model])
    if champion is None or not rows:
        return None
    version = get_version(tx, monitor.model, champion)
    try:
        verdict, result = _judge(tx, workspace, monitor, version, rows)
    except SQLAlchemyError:
        raise  # the database's trouble says nothing of the monitor, and passes
    except Exception as error:  # noqa: BLE001 - a model or a library may raise anything, and the answer is that it is not known
        because = error.reason if isinstance(error, EverloopError) else repr(error)
        verdict, result = UNKNOWN, {"version": version.name, "because": f"cannot be evaluated: {because}"}
    return MonitorWindow(
        monitor=monitor.name,
        kind=monitor.kind,
        start=end - monitor.window,
        end=end,
        verdict=verdict,
        result=result,
    )


def _judge(
    tx: Connection, workspace: Workspace, monitor: Monitor, version: ModelVersion, rows: list[Labelled]
) -> tuple[str, JsonObject]:
    if isinstance(monitor, PerformanceMonitor):
        return _performance(tx, workspace, monitor, version, rows)
    return _drift(tx, workspace, monitor, version, rows)


def list_windows(tx: Connection, monitor: str | None = None) -> list[MonitorWindow]:
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


def find_offline_estimate(version: ModelVersion, metric: str) -> Estimate | None:
    """A version's metric as its gate saw it, with the interval; None when its run did not measure it."""
    names = (metric, f"{metric}_low", f"{metric}_high")
    if not all(name in version.metrics for name in names):
        return None
    value, low, high = (version.metrics[name] for name in names)
    return Estimate(value=value, low=low, high=high)


def _performance(
    tx: Connection,
    workspace: Workspace,
    monitor: PerformanceMonitor,
    version: ModelVersion,
    rows: list[Labelled],
) -> tuple[str, JsonObject]:
    # Only this version's predictions: its own offline estimate is what they are held against.
    own = [row for row in rows if row.prediction.version == version.version]
    known = [row for row in own if row.label is not None and row.prediction.output is not None]
    metric = monitor.metric
    live = measure(known, predictions=len(own), metrics=[metric])
    enough = live.labels >= monitor.min_labels
    then = reference(
        metric,
        find_offline_estimate(version, metric.name),
        _digest(tx, workspace, version, metric),
        lambda: find_evaluated_rows(tx, workspace, version),
    )
    answer = decayed(
        then,
        live.metrics.get(metric.name) if enough else None,
        monitor.worse_by,
        higher_is_better=metric.higher_is_better,
    )
    because = answer.because
    if then is None:
        because = (
            f"not known: the run that made {version.name} did not measure {metric.name} with an interval"
        )
    elif not enough:
        because = f"not known: {live.labels} labels, {monitor.min_labels} are asked for"
    result: JsonObject = {
        "version": version.name,
        "metric": metric.name,
        "because": because,
        "live": _numbers(live),
        "offline": to_json(then),
    }
    return ALARM if answer.passed else OK if enough and then is not None else UNKNOWN, result


def _digest(tx: Connection, workspace: Workspace, version: ModelVersion, metric: Metric) -> str:
    """Which version of a metric the recorded estimate is of; those that come with everloop have one only."""
    evaluation = find_evaluation(tx, workspace, version) if metric.digest else None
    return "" if evaluation is None else evaluation.metric_digests.get(metric.name, "")


def _numbers(live: Performance) -> JsonObject:
    counts = {"predictions": live.predictions, "labels": live.labels, "coverage": live.coverage}
    return {**to_json(live.metrics), **counts}


def measure(rows: list[Labelled], *, predictions: int, metrics: Iterable[Metric] = ()) -> Performance:
    """Metrics of labelled rows, out of so many predictions."""
    scores = [row.prediction.output or 0.0 for row in rows]
    truth = [row.label or 0.0 for row in rows]
    return performance(scores, truth, predictions=predictions, metrics=metrics)


def _drift(
    tx: Connection, workspace: Workspace, monitor: DriftMonitor, version: ModelVersion, rows: list[Labelled]
) -> tuple[str, JsonObject]:
    asked = _comparable_inputs(tx, version, rows)
    if len(asked) < monitor.min_requests:
        because = f"only {len(asked)} requests, {monitor.min_requests} are asked for"
        return UNKNOWN, {"version": version.name, "because": because}
    trained = find_training_profile(tx, workspace, version)
    if trained is None:
        because = "no step of the run that made it read a table with all of its inputs"
        return UNKNOWN, {"version": version.name, "because": because}
    live = profile(_table(version, asked), edges=trained.edges())
    alarm = Alarm(
        columns=monitor.alarm_on,
        ignore=monitor.ignore,
        effect=monitor.effect,
        deviations=monitor.deviations,
    )
    answer = drift(trained, live, alarm=alarm)
    result: JsonObject = {"version": version.name, "requests": len(asked), **to_json(answer)}
    return ALARM if answer.alarm else OK, result


def _comparable_inputs(
    tx: Connection, version: ModelVersion, rows: list[Labelled]
) -> list[Mapping[str, Scalar]]:
    """Inputs of the requests that this version could have answered, also those that an earlier champion did."""
    kinds = {row.prediction.version for row in rows}
    alike = {number for number in kinds if _kinds(get_version(tx, version.model, number)) == _kinds(version)}
    return [row.prediction.inputs for row in rows if row.prediction.version in alike]


def _kinds(version: ModelVersion) -> list[tuple[str, Datatype]]:
    return sorted((field.name, field.datatype) for field in version.signature.inputs)


def _table(version: ModelVersion, rows: list[Mapping[str, Scalar]]) -> pa.Table:
    fields = version.signature.inputs
    return pa.table(
        {f.name: pa.array([row.get(f.name) for row in rows], _ARROW[f.datatype]) for f in fields},
    )


def _write(workspace: Workspace, monitor: Monitor, window: MonitorWindow) -> None:
    with workspace.database.write() as tx:
        if not insert_once(tx, windows, {name: getattr(window, name) for name in window.__slots__}):
            return
        if window.verdict == ALARM:
            found = {"because": window.result.get("because"), "version": window.result.get("version")}
            id = f"{window.monitor}-{window.end.isoformat()}"
            event = workspace.event(
                monitor.event, f"/monitors/{window.monitor}", window.monitor, found, id=id
            )
            ledger.append(tx, event)


def _judged(tx: Connection, monitor: str, end: datetime) -> bool:
    query = select(windows.c.end).where(windows.c.monitor == monitor, windows.c.end >= end)
    return tx.execute(query.limit(1)).first() is not None


def _grid(moment: datetime, span: timedelta) -> datetime:
    """The last end of a window at or before a moment; windows of a monitor lie edge to edge since 1970."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return epoch + (moment - epoch) // span * span


def _record(row: RowMapping) -> MonitorWindow:
    return MonitorWindow(**dict(row))
