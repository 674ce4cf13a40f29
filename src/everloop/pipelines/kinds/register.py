"""The last node of a training pipeline: the model gets its number, with the verdict of its gate."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

from sqlalchemy import Connection

from everloop.errors import ProjectError
from everloop.models.model import Model
from everloop.pipelines.inputs import Inputs
from everloop.pipelines.kinds.kind import NodeKind, Result
from everloop.pipelines.nodes import RegisterNode
from everloop.records.checks import CheckResult
from everloop.records.json import Json
from everloop.records.models import CHALLENGER, CHAMPION, ModelVersion
from everloop.records.runs import Run
from everloop.registry.aliases import find_alias, move_alias
from everloop.registry.versions import register_version
from everloop.storage.codec import to_json
from everloop.storage.workspace import Workspace

_logger = logging.getLogger(__name__)


class RegisterKind(NodeKind[RegisterNode]):
    """Version, alias and the node's end are one transaction."""

    def key(self, node: RegisterNode, inputs: Inputs) -> Any:
        """For going on with a run after a restart; the registry itself knows a run that has registered."""
        return ["register", node.model.name, *inputs.code(), inputs.identities(node)]

    def run(self, node: RegisterNode, inputs: Inputs) -> Result:
        """Load the candidate as it was kept, and say what is to be written."""
        candidate, verdict = _candidate(node, inputs), _verdict(node, inputs)
        if verdict is None:
            _logger.warning(
                "model %s has no gate, so this version can never be challenger or champion", node.model.name
            )
        (digest,) = (ref.digest for ref in inputs.read_by(node) if ref.name == "candidate")
        write = partial(
            _register,
            workspace=inputs.workspace,
            run=inputs.run,
            name=node.model.name,
            model=candidate,
            digest=digest,
            verdict=verdict,
            metrics=inputs.measured_before(node),
        )
        return Result(write=write)


def _candidate(node: RegisterNode, inputs: Inputs) -> Model:
    found = inputs.value(node.inputs["candidate"])
    if not isinstance(found, Model):
        raise ProjectError(
            f"register takes a Model as candidate, not {type(found).__name__}.",
            next_step="let the step return a Model in every case.",
        )
    return found


def _verdict(node: RegisterNode, inputs: Inputs) -> CheckResult | None:
    if "verdict" not in node.inputs:
        return None
    found = inputs.value(node.inputs["verdict"])
    assert isinstance(found, CheckResult), "it was kept as one"
    return found


def _register(
    tx: Connection,
    *,
    workspace: Workspace,
    run: Run,
    name: str,
    model: Model,
    digest: str,
    verdict: CheckResult | None,
    metrics: Mapping[str, float],
) -> None:
    """Register the candidate; one that passed its gate becomes challenger, unless it is champion already."""
    version = register_version(
        tx,
        workspace,
        model=name,
        digest=digest,
        flavor=model.flavor,
        signature=model.signature,
        gate=verdict,
        run_id=run.id,
        metrics=metrics,
        facts=_facts(run, model),
    )
    _challenge(tx, workspace, version, run)


def _facts(run: Run, model: Model) -> dict[str, Json]:
    return {
        "trained_until": None if model.trained_until is None else model.trained_until.isoformat(),
        "params": dict(run.params),
        "datasets": {pin.dataset: pin.version for pin in run.datasets},
        "trigger": run.trigger,
        "features": to_json(model.features),
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
