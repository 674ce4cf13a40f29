"""A dataset is read at the version that the run is pinned to."""

from __future__ import annotations

from typing import Any

from everloop.pipelines.inputs import Inputs
from everloop.pipelines.kinds.kind import NodeKind, Result
from everloop.pipelines.nodes import ReadNode


class ReadKind(NodeKind[ReadNode]):
    """Makes no artifact: the version is one, and later nodes are given its rows from memory or read them again."""

    def key(self, node: ReadNode, inputs: Inputs) -> Any:
        """The dataset's version, which never changes."""
        return ["read", node.dataset, inputs.version(node.dataset)]

    def is_cached(self, node: ReadNode, inputs: Inputs) -> bool:
        """A run that takes all else from an earlier one has no use for the rows; where it has, they are read then."""
        return True

    def run(self, node: ReadNode, inputs: Inputs) -> Result:
        """Read it; changed bytes are refused here."""
        inputs.table(node.dataset)
        return Result()
