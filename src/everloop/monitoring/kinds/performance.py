"""Live performance: the metric on labelled predictions against the champion's own estimate from before it went live."""

from __future__ import annotations

from sqlalchemy import Connection

from everloop.evaluation.metric import Metric
from everloop.evaluation.records import Estimate
from everloop.monitoring.kinds.verdict import ALARM, OK, UNKNOWN, Verdict
from everloop.monitoring.labels import Labelled
from everloop.monitoring.monitors import PerformanceMonitor
from everloop.monitoring.performance import Performance, decayed, performance, reference
from everloop.monitoring.reference import find_evaluated_rows, find_evaluation
from everloop.records.json import JsonObject
from everloop.records.models import ModelVersion
from everloop.storage.codec import to_json
from everloop.storage.workspace import Workspace


def evaluate_performance(
    tx: Connection,
    workspace: Workspace,
    monitor: PerformanceMonitor,
    version: ModelVersion,
    rows: list[Labelled],
) -> Verdict:
    """Measure a window, and hold it against what the champion's gate had seen."""
    # Only this version's predictions: its own offline estimate is what they are held against.
    own = [row for row in rows if row.prediction.version == version.version]
    known = [row for row in own if row.label is not None and row.prediction.output is not None]
    metric = monitor.metric
    live = _measure(known, metric, predictions=len(own))
    enough = live.labels >= monitor.min_labels
    then = reference(
        metric,
        _find_offline_estimate(version, metric.name),
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


def _measure(rows: list[Labelled], metric: Metric, *, predictions: int) -> Performance:
    """A metric of labelled rows, out of so many predictions."""
    scores = [row.prediction.output or 0.0 for row in rows]
    truth = [row.label or 0.0 for row in rows]
    return performance(scores, truth, predictions=predictions, metrics=[metric])


def _find_offline_estimate(version: ModelVersion, metric: str) -> Estimate | None:
    """A version's metric as its gate saw it, with the interval; None when its run did not measure it."""
    names = (metric, f"{metric}_low", f"{metric}_high")
    if not all(name in version.metrics for name in names):
        return None
    value, low, high = (version.metrics[name] for name in names)
    return Estimate(value=value, low=low, high=high)
