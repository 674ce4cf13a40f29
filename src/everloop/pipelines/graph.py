"""The graph of a pipeline: drawn once by calling its function, checked before anything runs."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from everloop.errors import ProjectError
from everloop.features.views import FeatureService
from everloop.pipelines.steps import Step
from everloop.records.datasets import Dataset
from everloop.registry.model_names import ModelAlias, RegisteredModel

SINGLE = "output"


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
    """What a step will return, or one named part of it; stands for the value while the pipeline is drawn."""

    node: str
    field: str
    hint: Any

    def __getattr__(self, name: str) -> Output:
        if name.startswith("_") or name not in output_fields(self.hint):
            raise AttributeError(f"the output of {self.node} has no {name!r}")
        return Output(self.node, name, output_fields(self.hint)[name])

    def __iter__(self) -> Iterator[Output]:
        if self.parts() == (self,):
            raise ProjectError(
                f"the output of step {self.node} is one value; only a NamedTuple can be taken apart."
            )
        return iter(self.parts())

    def parts(self) -> tuple[Output, ...]:
        """The single outputs that this one stands for: itself, or every field of a whole NamedTuple."""
        fields = output_fields(self.hint)
        if self.field == SINGLE and SINGLE not in fields:
            return tuple(Output(self.node, name, hint) for name, hint in fields.items())
        return (self,)

    def __bool__(self) -> bool:
        raise ProjectError(
            f"a pipeline cannot branch on the output of step {self.node}: it is drawn before it runs."
        )


Input: TypeAlias = Output | Param | Constant | Dataset | ModelAlias | FeatureService


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One step in its place: the function, and where each input comes from."""

    name: str
    step: Step[Any]
    inputs: Mapping[str, Input]
    outputs: Mapping[str, Any]
    registers: str | None = None
    """Name of the registered model when the engine itself does the step: registering."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """The steps of a pipeline, each after what it needs."""

    nodes: tuple[Node, ...]

    def sources(self) -> tuple[Input, ...]:
        """Datasets, feature services and model aliases that a run reads from outside."""
        found = (value for node in self.nodes for value in node.inputs.values())
        return tuple(dict.fromkeys(v for v in found if isinstance(v, Dataset | ModelAlias | FeatureService)))


class Drawing:
    """Collects calls of steps while a pipeline's function runs with stand-ins."""

    def __init__(self, pipeline: str, params: Mapping[str, Any]) -> None:
        self.pipeline = pipeline
        self.params = params
        self.nodes: list[Node] = []

    def add_step(self, step: Step[Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Note a call; returns the stand-in for its result."""
        try:
            bound = step.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise ProjectError(
                f"pipeline {self.pipeline} calls step {step.name} ({step.where}) wrongly: {error}."
            ) from None
        bound.apply_defaults()
        name = self._free_name(step.name)
        inputs = {key: self._input(name, key, value) for key, value in bound.arguments.items()}
        hints = step.hints
        for key, value in inputs.items():
            self._check_fits(step, key, value, hints[key])
        outputs = output_fields(hints["return"])
        self.nodes.append(Node(name=name, step=step, inputs=inputs, outputs=outputs))
        return Output(name, SINGLE, hints["return"]) if outputs else None

    def add_register(self, step: Step[Any], model: RegisteredModel, inputs: Mapping[str, Any]) -> None:
        """Note that a model is to be registered."""
        name = self._free_name(step.name)
        checked = {key: self._input(name, key, value) for key, value in inputs.items()}
        for key, value in checked.items():
            if not isinstance(value, Output):
                raise ProjectError(
                    f"pipeline {self.pipeline}: register takes the {key} from a step of the pipeline."
                )
            self._check_fits(step, key, value, step.hints[key])
        self.nodes.append(Node(name=name, step=step, inputs=checked, outputs={}, registers=model.name))

    def _free_name(self, wanted: str) -> str:
        taken = sum(1 for node in self.nodes if node.step.name == wanted)
        return wanted if not taken else f"{wanted}_{taken + 1}"

    def _input(self, node: str, key: str, value: Any) -> Input:
        if isinstance(value, Output | Param | Dataset | ModelAlias | FeatureService):
            return value
        if isinstance(value, bool | int | float | str | None | tuple | list | dict):
            return Constant(value)
        if isinstance(value, RegisteredModel):
            raise ProjectError(
                f"pipeline {self.pipeline}: step {node} gets the registered model {value.name!r} as {key!r}.",
                next_step=f"say which version: {value.name}.champion or {value.name}.challenger.",
            )
        raise ProjectError(
            f"pipeline {self.pipeline}: step {node} gets {value!r} as {key!r}, which cannot be recorded."
        )

    def _check_fits(self, step: Step[Any], key: str, value: Input, wanted: Any) -> None:
        offered = self._hint_of(value)
        if offered is None or fits(offered, wanted):
            return
        raise ProjectError(
            f"pipeline {self.pipeline}: step {step.name} ({step.where}) takes {key!r} as {_told(wanted)} "
            f"and is given {_told(offered)}."
        )

    def _hint_of(self, value: Input) -> Any:
        if isinstance(value, Output):
            return value.hint
        if isinstance(value, Param):
            return self.params[value.name]
        if isinstance(value, Constant):
            return type(value.value)
        return None  # what the engine reads from outside is checked when it is read


def output_fields(hint: Any) -> Mapping[str, Any]:
    """The named outputs of a return type: the fields of a NamedTuple, one for anything else, none for None."""
    if hint is None or hint is type(None):
        return {}
    if isinstance(hint, type) and issubclass(hint, tuple) and hasattr(hint, "_fields"):
        return typing.get_type_hints(hint)
    return {SINGLE: hint}


def fits(offered: Any, wanted: Any) -> bool:
    """Whether a value of one type may go where another is asked for.

    >>> fits(int, float), fits(str, int), fits(type(None), int | None)
    (True, False, True)
    """
    if wanted is Any or offered is Any or offered == wanted or (offered is int and wanted is float):
        return True
    if _is_union(offered):
        return all(fits(part, wanted) for part in typing.get_args(offered))
    if _is_union(wanted):
        return any(fits(offered, part) for part in typing.get_args(wanted))
    have, want = typing.get_origin(offered) or offered, typing.get_origin(wanted) or wanted
    return isinstance(have, type) and isinstance(want, type) and issubclass(have, want)


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _told(hint: Any) -> str:
    return str(getattr(hint, "__name__", hint))
