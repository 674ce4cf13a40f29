"""What a model was trained on and evaluated on, found through its lineage: what live inputs and metrics are held against."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Connection

from everloop.data.profile import Profile, profile
from everloop.errors import Corrupted
from everloop.evaluation.measure import evaluate_metrics
from everloop.evaluation.records import Evaluation
from everloop.metadata.steps import list_steps
from everloop.models.rows import labels_of
from everloop.models.saving import load_model
from everloop.records.models import ModelVersion
from everloop.records.runs import ArtifactRef, StepRun
from everloop.storage.blobs import Blobs
from everloop.storage.codec import loads
from everloop.storage.workspace import Workspace


def find_training_profile(tx: Connection, workspace: Workspace, version: ModelVersion) -> Profile | None:
    """Profile of the inputs in the table that trained this version; None when no step of its run read one.

    It is read from the run's record and not from the model, so it cannot be forgotten and cannot be wrong.
    """
    wanted = tuple(field.name for field in version.signature.inputs)
    for ref in _tables_read(tx, version):
        found = _profile(workspace.blobs, ref.digest, wanted)
        if found is not None:
            return found
    return None


def _tables_read(tx: Connection, version: ModelVersion) -> Iterator[ArtifactRef]:
    for step in list_steps(tx, version.run_id):
        if any(ref.digest == version.digest for ref in step.outputs):
            yield from (ref for ref in step.inputs if ref.format == "parquet")


def find_evaluation(tx: Connection, workspace: Workspace, version: ModelVersion) -> Evaluation | None:
    """What the gate of this version was asked about; None when it was nothing that `evaluate` or `compare` gives."""
    ref = _evaluation_ref(list_steps(tx, version.run_id))
    if ref is None:
        return None
    try:
        return loads(Evaluation, workspace.blobs.get(ref.digest))
    except Corrupted:  # a gate may be asked about anything
        return None


def find_evaluated_rows(
    tx: Connection, workspace: Workspace, version: ModelVersion
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]] | None:
    """The version's scores and the labels of the rows that it was evaluated on; None when they cannot be found.

    The step that made the evaluation has read several tables. Its rows are those on which the recorded numbers come out
    again to the last bit.
    """
    recorded, steps = find_evaluation(tx, workspace, version), list_steps(tx, version.run_id)
    ref = _evaluation_ref(steps)
    if recorded is None or ref is None:
        return None
    model = load_model(workspace.blobs, version.digest, trust=workspace.settings.trust)
    for digest in _tables_of(steps, ref.digest):
        table = pq.read_table(pa.BufferReader(workspace.blobs.get(digest)))
        names = {*model.compiled.names, model.label}
        if table.num_rows != recorded.rows or model.label is None or not names <= set(table.column_names):
            continue
        found = model.predict(table), labels_of(table, model.label, model.task)
        again = evaluate_metrics(*found, confidence=recorded.confidence)
        if all(recorded.candidate.get(name) == estimate for name, estimate in again.items()):
            return found
    return None


def _evaluation_ref(steps: Sequence[StepRun]) -> ArtifactRef | None:
    gates = (step for step in steps if any(ref.name == "verdict" for ref in step.outputs))
    return next((ref for step in gates for ref in step.inputs if ref.name == "evaluation"), None)


def _tables_of(steps: Sequence[StepRun], evaluation: str) -> Iterator[str]:
    for step in steps:
        if any(ref.digest == evaluation for ref in step.outputs):
            yield from (ref.digest for ref in step.inputs if ref.format == "parquet")


@lru_cache(maxsize=8)
def _profile(blobs: Blobs, digest: str, wanted: tuple[str, ...]) -> Profile | None:
    # Blobs never change, so what was computed of one holds for the life of the process.
    file = pq.ParquetFile(pa.BufferReader(blobs.get(digest)))
    if not set(wanted) <= set(file.schema_arrow.names):
        return None
    return profile(file.read(columns=list(wanted)))
