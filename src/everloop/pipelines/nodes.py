"""The kinds of nodes that a graph is made of, as they are traced; `kinds` has the table of how each is keyed and run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from everloop.pipelines.hints import output_fields
from everloop.pipelines.sources import Output, Source
from everloop.pipelines.steps import AnyStep
from everloop.records.checks import CheckResult
from everloop.records.data import Finding
from everloop.records.datasets import Dataset
from everloop.registry.model_names import RegisteredModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One place in a graph: what it is called, and where each of its inputs comes from. A run has one row of it."""

    name: str
    inputs: Mapping[str, Source] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    """Nodes that come before it though it reads nothing that they make."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Nodes that must be done before it."""
        read = (source.node for source in self.inputs.values() if isinstance(source, Output))
        return tuple(dict.fromkeys((*self.after, *read)))

    @property
    def outputs(self) -> Mapping[str, Any]:
        """The artifacts that it makes, each with its type."""
        return {}

    @property
    def registers(self) -> str | None:
        """Name of the model that it makes a version of."""
        return None

    def parts(self) -> Mapping[str, Output]:
        """The artifacts that it reads: every single output behind its inputs, under the name that it has here."""
        return {
            f"{name}.{part.field}" if source.whole else name: part
            for name, source in self.inputs.items()
            if isinstance(source, Output)
            for part in source.parts()
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class StepNode(Node):
    """A call of one of the user's steps."""

    step: AnyStep

    @property
    def returns(self) -> Any:
        """The type that its function returns."""
        return self.step.hints["return"]

    @property
    def outputs(self) -> Mapping[str, Any]:
        """One for each field of a NamedTuple, one of anything else, none of None."""
        return output_fields(self.returns)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadNode(Node):
    """A dataset is read, at the version that the run is pinned to; the version itself is what it makes."""

    dataset: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidateNode(Node):
    """The rows of a dataset are held against what it promises, before the first step has them."""

    dataset: Dataset

    @property
    def outputs(self) -> Mapping[str, Any]:
        """What was found, also where it was tolerated, and also where it ended the run."""
        return {"findings": tuple[Finding, ...]}


@dataclass(frozen=True, slots=True, kw_only=True)
class GateNode(Node):
    """The gate of a model is asked about what the pipeline evaluated, its input `evaluation`."""

    model: RegisteredModel

    @property
    def outputs(self) -> Mapping[str, Any]:
        """Its answer."""
        return {"verdict": CheckResult}


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterNode(Node):
    """A model becomes a version: its input `candidate`, with the `verdict` of its gate where it has one.

    Whatever is called before it is done before it: a run that fails there has registered nothing, and the version is kept
    with everything that was measured by then.
    """

    model: RegisteredModel

    @property
    def registers(self) -> str | None:
        """Name of the model that it makes a version of."""
        return self.model.name
