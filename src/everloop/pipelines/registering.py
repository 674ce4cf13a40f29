"""The last step of a training pipeline: the model gets its number, with the verdict of its gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from everloop.errors import ProjectError
from everloop.models.model import Model
from everloop.pipelines.graph import Node
from everloop.records.checks import CheckResult
from everloop.records.json import Json
from everloop.records.models import CHALLENGER, CHAMPION, ModelVersion
from everloop.records.runs import ArtifactRef, Run
from everloop.registry.aliases import find_alias, move_alias
from everloop.registry.versions import register_version
from everloop.storage.workspace import Workspace


def register_model(
    tx: Connection,
    workspace: Workspace,
    run: Run,
    node: Node,
    given: Mapping[str, object],
    *,
    artifacts: Sequence[ArtifactRef],
    metrics: Mapping[str, float],
) -> ModelVersion:
    """Register the candidate; one that passed its gate becomes challenger, unless it is champion already."""
    model, verdict = given["candidate"], given["verdict"]
    if not isinstance(model, Model) or not isinstance(verdict, CheckResult):
        raise ProjectError(
            f"register takes a Model and a CheckResult, not {type(model).__name__} and {type(verdict).__name__}."
        )
    version = register_version(
        tx,
        workspace,
        model=node.registers or "",
        digest=next(ref.digest for ref in artifacts if ref.name == "candidate"),
        flavor=model.flavor,
        signature=model.signature,
        gate=verdict,
        run_id=run.id,
        metrics=metrics,
        facts=_facts(run, model),
    )
    _challenge(tx, workspace, version, run)
    return version


def _facts(run: Run, model: Model) -> dict[str, Json]:
    return {
        "trained_until": None if model.trained_until is None else model.trained_until.isoformat(),
        "params": dict(run.params),
        "datasets": {pin.dataset: pin.version for pin in run.datasets},
        "trigger": run.trigger,
    }


def _challenge(tx: Connection, workspace: Workspace, version: ModelVersion, run: Run) -> None:
    if version.passed and version.version != find_alias(tx, version.model, CHAMPION):
        move_alias(
            tx,
            workspace,
            model=version.model,
            alias=CHALLENGER,
            version=version.version,
            who=run.who,
            why=f"run {run.id} passed its gate",
        )
