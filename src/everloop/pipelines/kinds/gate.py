"""The gate of a registered model is asked, by the engine and by nobody else; what cannot be judged has failed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from everloop.evaluation.records import Evaluation
from everloop.pipelines.inputs import Inputs
from everloop.pipelines.kinds.kind import NodeKind, Result
from everloop.pipelines.nodes import GateNode
from everloop.records.checks import Check, CheckResult
from everloop.records.models import CHAMPION
from everloop.registry.aliases import find_alias


class GateKind(NodeKind[GateNode]):
    """Asked anew in every run: a gate may close over anything, and nobody can tell two gates of one name apart."""

    def key(self, node: GateNode, inputs: Inputs) -> Any:
        """For going on with a run after a restart, whose code is the same."""
        gate = "" if node.model.gate is None else node.model.gate.name
        return ["gate", node.model.name, gate, *inputs.code(), inputs.identities(node)]

    def run(self, node: GateNode, inputs: Inputs) -> Result:
        """Ask it of what was evaluated."""
        assert node.model.gate is not None, "a model without a gate has no such node"
        evaluation = _with_champion(inputs.arguments(node)["evaluation"], node.model.name, inputs)
        return Result(outputs={"verdict": _verdict(node.model.gate, evaluation)})


def _with_champion(evaluation: object, model: str, inputs: Inputs) -> object:
    """The same, unless it says nothing of a champion that there is: a pipeline that forgets it has left it out."""
    if (
        not isinstance(evaluation, Evaluation)
        or evaluation.champion is not None
        or evaluation.champion_left_out
    ):
        return evaluation
    version = _champion(model, inputs)
    if version is None:
        return evaluation
    why = f"the pipeline did not evaluate {model}@{version}; hand it to ev.evaluate as champion="
    return replace(evaluation, champion_left_out=why)


def _champion(model: str, inputs: Inputs) -> int | None:
    """The one that the run is pinned to, or else, where no step is handed it, the one there is."""
    for pin in inputs.run.models:
        if (pin.model, pin.alias) == (model, CHAMPION):
            return pin.version
    with inputs.workspace.database.read() as tx:
        return find_alias(tx, model, CHAMPION)


def _verdict(gate: Check[Any], evaluation: object) -> CheckResult:
    try:
        return gate(evaluation)
    except SystemExit as error:  # a check answers no to every other error of its own
        because = f"cannot be evaluated: it asked its process to exit with {error.code!r}"
        return CheckResult(name=gate.name, passed=False, because=because)
