"""The kinds of monitors: one record in `monitors`, one file here and one line of `MONITORS` each."""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection

from everloop.monitoring.kinds.drift import evaluate_drift
from everloop.monitoring.kinds.performance import evaluate_performance
from everloop.monitoring.kinds.verdict import ALARM, OK, UNKNOWN, Verdict
from everloop.monitoring.labels import Labelled
from everloop.monitoring.monitors import DriftMonitor, Monitor, PerformanceMonitor
from everloop.records.models import ModelVersion
from everloop.storage.workspace import Workspace

__all__ = ["ALARM", "MONITORS", "OK", "UNKNOWN"]

MONITORS: Mapping[
    type[Monitor], Callable[[Connection, Workspace, Any, ModelVersion, list[Labelled]], Verdict]
] = {
    PerformanceMonitor: evaluate_performance,
    DriftMonitor: evaluate_drift,
}
"""From a window's rows, one for each request to the champion, to what is to be said of them; asked once for each window."""
