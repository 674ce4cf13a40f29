"""The kinds of nodes that the engine can do: one class in `nodes`, one file here and one line of `KINDS` each."""

from collections.abc import Mapping
from typing import Any

from everloop.pipelines.kinds.gate import GateKind
from everloop.pipelines.kinds.kind import NodeKind, Result
from everloop.pipelines.kinds.read import ReadKind
from everloop.pipelines.kinds.register import RegisterKind
from everloop.pipelines.kinds.step import StepKind
from everloop.pipelines.kinds.validate import ValidateKind
from everloop.pipelines.nodes import GateNode, Node, ReadNode, RegisterNode, StepNode, ValidateNode

__all__ = ["KINDS", "NodeKind", "Result"]

KINDS: Mapping[type[Node], NodeKind[Any]] = {
    StepNode: StepKind(),
    ReadNode: ReadKind(),
    ValidateNode: ValidateKind(),
    GateNode: GateKind(),
    RegisterNode: RegisterKind(),
}
