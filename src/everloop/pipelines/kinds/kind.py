"""What each kind of node knows: how it is keyed, whether an earlier result of it may be taken, and how it is run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from sqlalchemy import Connection

from everloop.errors import Refused
from everloop.pipelines.inputs import Inputs
from everloop.pipelines.nodes import Node

N = TypeVar("N", bound=Node)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a node: values to be kept, and what goes with its end."""

    outputs: Mapping[str, object] = field(default_factory=dict)
    write: Callable[[Connection], object] | None = None
    """Called in the transaction that ends the node: killed before it, nothing is written; after it, all."""
    refusal: Refused | None = None
    """The node fails with this, and what it found is kept beside it."""


class NodeKind(ABC, Generic[N]):
    """How the nodes of one kind are done; the writer writes down that they were."""

    by_order: ClassVar[bool] = False
    """Whether an executor is asked to do it, by an order that says all of it; everything else the writer does itself."""

    @abstractmethod
    def key(self, node: N, inputs: Inputs) -> Any:
        """Equal keys mean equal results; each kind begins its own with a word that no other begins with."""

    def is_cached(self, node: N, inputs: Inputs) -> bool:
        """Whether a result of another run with this key may be taken."""
        return False

    @abstractmethod
    def run(self, node: N, inputs: Inputs) -> Result:
        """Do it; whatever is raised ends the run."""
