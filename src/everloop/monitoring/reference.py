"""What a model was trained on, found through its lineage: the reference that live inputs are held against."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Connection

from everloop.data.profile import Profile, profile
from everloop.metadata.steps import list_steps
from everloop.records.models import ModelVersion
from everloop.records.runs import ArtifactRef
from everloop.storage.blobs import Blobs
from everloop.storage.workspace import Workspace


def training_profile(tx: Connection, workspace: Workspace, version: ModelVersion) -> Profile | None:
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


@lru_cache(maxsize=8)
def _profile(blobs: Blobs, digest: str, wanted: tuple[str, ...]) -> Profile | None:
    # Blobs never change, so what was computed of one holds for the life of the process.
    file = pq.ParquetFile(pa.BufferReader(blobs.get(digest)))
    if not set(wanted) <= set(file.schema_arrow.names):
        return None
    return profile(file.read(columns=list(wanted)))
