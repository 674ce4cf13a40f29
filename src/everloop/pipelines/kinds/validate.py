"""The rows of a dataset are held against what it promises; broken promises end the run, and what was found is kept."""

from __future__ import annotations

from typing import Any

from everloop.data.expect import judge_expectations
from everloop.data.require import find_refusal
from everloop.pipelines.inputs import Inputs
from everloop.pipelines.kinds.kind import NodeKind, Result
from everloop.pipelines.nodes import ValidateNode


class ValidateKind(NodeKind[ValidateNode]):
    """As strict as `require`."""

    def key(self, node: ValidateNode, inputs: Inputs) -> Any:
        """The promises, the version of the dataset, and the code that looks."""
        promises = [[type(promise).__name__, promise] for promise in node.dataset.expect]
        return ["validate", promises, *inputs.code(), inputs.identities(node)]

    def is_cached(self, node: ValidateNode, inputs: Inputs) -> bool:
        """The same rows break the same promises."""
        return True

    def run(self, node: ValidateNode, inputs: Inputs) -> Result:
        """Look at every row."""
        findings = judge_expectations(node.dataset.expect, inputs.table(node.dataset.name))
        return Result(outputs={"findings": findings}, refusal=find_refusal(node.dataset, findings))
