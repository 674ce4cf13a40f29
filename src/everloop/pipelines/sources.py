"""Where an input of a step comes from: an earlier step, a param, a constant, or a version that the run is pinned to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from everloop.features.views import ServiceHistory
from everloop.pipelines.hints import output_fields
from everloop.records.datasets import DatasetRows
from everloop.registry.model_names import ModelAlias

WHOLE = "*"
"""The field of an output that stands for every field of a NamedTuple."""


@dataclass(frozen=True, slots=True)
class Param:
    """A param of the pipeline, to be filled in by each run."""

    name: str


@dataclass(frozen=True, slots=True)
class Constant:
    """A value written in the pipeline itself."""

    value: object


@dataclass(frozen=True, slots=True)
class Output:
    """What a node will make, or one named part of it."""

    node: str
    field: str
    hint: Any

    @property
    def whole(self) -> bool:
        """Whether it stands for every field of a NamedTuple."""
        return self.field == WHOLE

    def parts(self) -> tuple[Output, ...]:
        """The single outputs that this one stands for: itself, or every field of a whole NamedTuple."""
        if not self.whole:
            return (self,)
        return tuple(Output(self.node, name, hint) for name, hint in output_fields(self.hint).items())


Pinned: TypeAlias = DatasetRows | ServiceHistory | ModelAlias
"""What a run reads from outside, at the version that it fixes when it begins."""
Source: TypeAlias = Output | Param | Constant | Pinned


def datasets_of(source: Source) -> tuple[str, ...]:
    """The names of the datasets behind a source, each once, in order."""
    if isinstance(source, DatasetRows):
        return (source.dataset.name,)
    return tuple(sorted(source.service.sources)) if isinstance(source, ServiceHistory) else ()
