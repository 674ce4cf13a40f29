"""Live inputs: what the champion is asked against what it was trained on."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
from sqlalchemy import Connection

from everloop.data.profile import profile
from everloop.monitoring.drift import Alarm, drift
from everloop.monitoring.kinds.verdict import ALARM, OK, UNKNOWN, Verdict
from everloop.monitoring.labels import Labelled
from everloop.monitoring.monitors import DriftMonitor
from everloop.monitoring.reference import find_training_profile
from everloop.records.json import JsonObject
from everloop.records.models import Datatype, ModelVersion
from everloop.records.serving import Scalar
from everloop.registry.versions import get_version
from everloop.storage.codec import to_json
from everloop.storage.workspace import Workspace

_ARROW = {
    Datatype.BOOL: pa.bool_(),
    Datatype.INT64: pa.int64(),
    Datatype.FP64: pa.float64(),
    Datatype.BYTES: pa.string(),
}


def evaluate_drift(
    tx: Connection, workspace: Workspace, monitor: DriftMonitor, version: ModelVersion, rows: list[Labelled]
) -> Verdict:
    """Profile a window's inputs, and hold them against those that the champion was trained on."""
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
