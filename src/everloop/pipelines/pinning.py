"""Which versions a run reads: of a dataset what it was asked to read or else the newest, of an alias what it means."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection

from everloop.data.datasets import get_latest, get_pin
from everloop.errors import NotFound
from everloop.pipelines.pipeline import Pipeline
from everloop.records.data import DatasetPin
from everloop.records.runs import ModelPin
from everloop.registry.aliases import find_alias
from everloop.registry.model_names import ModelAlias
from everloop.registry.versions import get_version


def check_data(tx: Connection, pipeline: Pipeline, data: Mapping[str, int]) -> None:
    """Refuse versions that a run of this pipeline cannot be asked to read, before anybody waits for it.

    Raises NotFound for a dataset that the pipeline does not read, and for a version that is not there.
    """
    read = pipeline.graph.datasets()
    for name, version in data.items():
        if name not in read:
            raise NotFound(
                f"pipeline {pipeline.name} does not read dataset {name!r}.",
                next_step=f"it reads {', '.join(read) or 'none'}.",
            )
        get_pin(tx, name, version)


def dataset_pins(tx: Connection, pipeline: Pipeline, data: Mapping[str, int]) -> list[DatasetPin]:
    """The versions of all datasets that a run reads."""
    check_data(tx, pipeline, data)
    return [
        get_pin(tx, name, data[name]) if name in data else get_latest(tx, name)
        for name in pipeline.graph.datasets()
    ]


def model_pins(tx: Connection, pipeline: Pipeline) -> list[ModelPin]:
    """The versions behind all aliases that a run reads; None where an alias points at nothing yet."""
    return [_model_pin(tx, source) for source in pipeline.graph.sources() if isinstance(source, ModelAlias)]


def _model_pin(tx: Connection, alias: ModelAlias) -> ModelPin:
    version = find_alias(tx, alias.model, alias.alias)
    digest = None if version is None else get_version(tx, alias.model, version).digest
    return ModelPin(model=alias.model, alias=alias.alias, version=version, digest=digest)
