"""The gate of a registered model is asked, by the engine and by nobody else; what cannot be judged has failed."""

from __future__ import annotations

from typing import Any

from everloop.pipelines.inputs import Inputs
from everloop.pipelines.kinds.kind import NodeKind, Result
from everloop.pipelines.nodes import GateNode
from everloop.records.checks import Check, CheckResult


class GateKind(NodeKind[GateNode]):
    """Asked anew in every run: a gate may close over anything, and nobody can tell two gates of one name apart."""

    def key(self, node: GateNode, inputs: Inputs) -> Any:
        """For going on with a run after a restart, whose code is the same."""
        gate = "" if node.model.gate is None else node.model.gate.name
        return ["gate", node.model.name, gate, *inputs.code(), inputs.identities(node)]

    def run(self, node: GateNode, inputs: Inputs) -> Result:
        """Ask it of what was evaluated."""
        assert node.model.gate is not None, "a model without a gate has no such node"
        return Result(outputs={"verdict": _verdict(node.model.gate, inputs.arguments(node)["evaluation"])})


def _verdict(gate: Check[Any], evaluation: object) -> CheckResult:
    try:
        return gate(evaluation)
    except SystemExit as error:  # a check answers no to every other error of its own
        because = f"cannot be evaluated: it asked its process to exit with {error.code!r}"
        return CheckResult(name=gate.name, passed=False, because=because)
