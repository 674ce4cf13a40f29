"""What was made from what: of whatever a person can name, a prediction among them."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection

from everloop.errors import NotFound
from everloop.metadata.lineage import (
    find_artifact_lineage,
    find_dataset_lineage,
    find_model_lineage,
    run_lineage,
)
from everloop.metadata.runs import get_run
from everloop.monitoring.inference_log import count_predictions, list_answers
from everloop.records.lineage import Edge, Lineage
from everloop.records.names import find_reference
from everloop.registry.aliases import find_alias
from everloop.storage.workspace import Workspace


def get_lineage(workspace: Workspace, thing: str) -> Lineage:
    """What a run, `model@3`, `model@champion`, `dataset@7`, a dataset, a prediction or an artifact was made from, and
    what came of it."""
    with workspace.database.read() as tx:
        for find in (_of_model, _of_dataset, _of_prediction, find_artifact_lineage):
            found = find(tx, thing)
            if found is not None:
                return found
        return _of_run(tx, thing)


def _of_model(tx: Connection, thing: str) -> Lineage | None:
    meant = find_reference(thing)
    if meant is None:
        return None
    version = meant.version if meant.alias is None else find_alias(tx, meant.name, meant.alias)
    found = None if version is None else find_model_lineage(tx, meant.name, version)
    if version is None or found is None:
        return None
    number = count_predictions(tx, meant.name, version)
    scored = [Edge(source=found.thing, target=f"{number:,} predictions", how="scored")] if number else []
    return replace(found, downstream=(*found.downstream, *scored))


def _of_dataset(tx: Connection, thing: str) -> Lineage | None:
    meant = find_reference(thing)
    if meant is None:
        return find_dataset_lineage(tx, thing)
    return None if meant.version is None else find_dataset_lineage(tx, meant.name, meant.version)


def _of_prediction(tx: Connection, thing: str) -> Lineage | None:
    """Every model that scored it, on which arm, behind what those were made from."""
    answers = list_answers(tx, thing)
    if not answers:
        return None
    me = f"prediction {thing}"
    models = [find_model_lineage(tx, answer.model, answer.version) for answer in answers]
    above = [edge for model in models if model is not None for edge in model.upstream]
    answered = [
        Edge(source=f"model {answer.model}@{answer.version}", target=me, how=answer.arm.value)
        for answer in answers
    ]
    return Lineage(thing=me, upstream=(*dict.fromkeys(above), *answered), downstream=())


def _of_run(tx: Connection, thing: str) -> Lineage:
    try:
        return run_lineage(tx, get_run(tx, thing).id)
    except NotFound:
        raise NotFound(
            f"nothing is called {thing!r}.",
            next_step="name a run, model@version, dataset@version, a prediction id or an artifact's digest.",
        ) from None
