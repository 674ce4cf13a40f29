"""The graph of a pipeline: traced once by calling its function, checked before anything runs."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

from everloop.errors import ProjectError
from everloop.features.views import FeatureService, FeatureView
from everloop.pipelines.hints import SINGLE, describe_type, fits, is_record, output_fields
from everloop.pipelines.steps import Step
from everloop.records.checks import CheckResult
from everloop.records.datasets import Dataset
from everloop.registry.model_names import ModelAlias, RegisteredModel

_WHOLE = "*"  # the field of an output that stands for every field of a NamedTuple


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
    """What a step will return, or one named part of it."""

    node: str
    field: str
    hint: Any

    @property
    def whole(self) -> bool:
        """Whether it stands for every field of a NamedTuple."""
        return self.field == _WHOLE

    def parts(self) -> tuple[Output, ...]:
        """The single outputs that this one stands for: itself, or every field of a whole NamedTuple."""
        if not self.whole:
            return (self,)
        return tuple(Output(self.node, name, hint) for name, hint in output_fields(self.hint).items())


Input: TypeAlias = Output | Param | Constant | Dataset | ModelAlias | FeatureService


class ResultPlaceholder:
    """What a pipeline's function holds while it is traced: to be handed on, or taken apart, and nothing else."""

    __slots__ = ("_source",)

    def __init__(self, source: Output | Param) -> None:
        self._source = source

    def __getattr__(self, name: str) -> ResultPlaceholder:
        for part in self._parts() if not name.startswith("_") else ():
            if part.field == name:
                return ResultPlaceholder(part)
        raise AttributeError(f"{self!r} has no {name!r}")

    def __iter__(self) -> Iterator[ResultPlaceholder]:
        if not self._parts():
            raise ProjectError(f"{self!r} is one value; only a NamedTuple can be taken apart.")
        return map(ResultPlaceholder, self._parts())

    def __repr__(self) -> str:
        if isinstance(self._source, Param):
            return f"param {self._source.name}"
        return f"the output of step {self._source.node}"

    def __hash__(self) -> int:
        return id(self)

    def __bool__(self) -> bool:
        self._refuse()

    def __eq__(self, other: object) -> bool:
        self._refuse()

    def __str__(self) -> str:
        self._refuse()

    def __format__(self, spec: str) -> str:
        self._refuse()

    def _refuse(self) -> NoReturn:
        # Each of these would otherwise answer at once and quietly, with something that is not the value.
        raise ProjectError(
            f"a pipeline cannot branch on {self!r}, compare it or print it: it is traced before it runs.",
            next_step="do it inside a step.",
        )

    def _parts(self) -> tuple[Output, ...]:
        source = self._source
        return source.parts() if isinstance(source, Output) and source.whole else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One step in its place: the function, and where each input comes from."""

    name: str
    step: Step[Any]
    inputs: Mapping[str, Input]
    returns: Any
    registers: str | None = None
    """Name of the registered model when the engine itself does the step: registering."""

    def outputs(self) -> tuple[Output, ...]:
        """Every single output read by this node."""
        return tuple(
            part for value in self.inputs.values() if isinstance(value, Output) for part in value.parts()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """The steps of a pipeline, each after what it needs."""

    nodes: tuple[Node, ...]

    def sources(self) -> tuple[Input, ...]:
        """Datasets, feature services and model aliases that a run reads from outside."""
        found = (value for node in self.nodes for value in node.inputs.values())
        return tuple(dict.fromkeys(v for v in found if isinstance(v, Dataset | ModelAlias | FeatureService)))


class Trace:
    """Collects calls of steps while a pipeline's function runs with stand-ins."""

    def __init__(self, pipeline: str, params: Mapping[str, Any]) -> None:
        self.pipeline = pipeline
        self.params = params
        self.nodes: list[Node] = []

    def add_step(
        self, step: Step[Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> ResultPlaceholder | None:
        """Note a call; returns the stand-in for its result."""
        try:
            bound = step.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise ProjectError(f"step {step.name} ({step.where}) is called wrongly: {error}.") from None
        bound.apply_defaults()
        name = self._free_name(step.name)
        inputs = {key: self._input(step, key, value) for key, value in bound.arguments.items()}
        returns = step.hints["return"]
        self.nodes.append(Node(name=name, step=step, inputs=inputs, returns=returns))
        if not output_fields(returns):
            return None
        return ResultPlaceholder(Output(name, _WHOLE if is_record(returns) else SINGLE, returns))

    def add_register(self, step: Step[Any], model: RegisteredModel, inputs: Mapping[str, Any]) -> None:
        """Note that a model is to be registered."""
        if not isinstance(model, RegisteredModel):
            raise ProjectError(f"register takes a RegisteredModel first, not {model!r}.")
        if any(node.registers == model.name for node in self.nodes):
            raise ProjectError(
                f"register is called twice for model {model.name!r}; a run makes one version of a model.",
                next_step="register the second under a name of its own.",
            )
        name = self._free_name(step.name)
        checked = {key: self._input(step, key, value) for key, value in inputs.items()}
        self._check_output(checked["candidate"], "candidate", _loaded("everloop.models.model", "Model"))
        self._check_output(checked["verdict"], "verdict", CheckResult)
        self.nodes.append(Node(name=name, step=step, inputs=checked, returns=None, registers=model.name))

    def _free_name(self, wanted: str) -> str:
        taken = {node.name for node in self.nodes}
        tries = (wanted if n == 1 else f"{wanted}_{n}" for n in range(1, len(taken) + 2))
        return next(name for name in tries if name not in taken)

    def _input(self, step: Step[Any], key: str, value: Any) -> Input:
        found = self._source(step, key, value)
        offered = self._offers(found)
        wanted = step.hints[key]
        if not fits(offered, wanted):
            raise ProjectError(
                f"step {step.name} ({step.where}) takes {key!r} as {describe_type(wanted)} "
                f"and is given {describe_type(offered)}.",
                next_step="a model may have no champion yet, so write `Model | None`."
                if isinstance(found, ModelAlias)
                else "",
            )
        return found

    def _source(self, step: Step[Any], key: str, value: Any) -> Input:
        if isinstance(value, ResultPlaceholder):
            return value._source
        if isinstance(value, Dataset | ModelAlias | FeatureService):
            return value
        if _is_plain(value):
            return Constant(value)
        given = f"step {step.name} ({step.where}) is given {value!r} as {key!r}"
        if isinstance(value, RegisteredModel):
            raise ProjectError(
                f"{given}, which does not say which version.",
                next_step=f"write {value.name}.champion or {value.name}.challenger.",
            )
        if isinstance(value, FeatureView):
            raise ProjectError(
                f"{given}.", next_step=f'put it into a service: FeatureService("name", [{value.name}]).'
            )
        raise ProjectError(
            f"{given}, which a run's record cannot hold.",
            next_step="hand on outputs one by one, and plain values (bool, int, float, str, lists of them).",
        )

    def _offers(self, value: Input) -> Any:
        if isinstance(value, Output):
            return value.hint
        if isinstance(value, Param):
            return self.params[value.name]
        if isinstance(value, Constant):
            return type(value.value)
        if isinstance(value, Dataset):
            return _loaded("pyarrow", "Table")
        if isinstance(value, FeatureService):
            return _loaded("everloop.features.history", "History")
        return _loaded("everloop.models.model", "Model") | None

    def _check_output(self, value: Input, key: str, wanted: type) -> None:
        offered = self._offers(value)
        if not isinstance(value, Output) or not fits(offered, wanted):
            raise ProjectError(
                f"register takes as {key} the {wanted.__name__} that a step of this pipeline returns, "
                f"and is given {describe_type(offered)}."
            )


def _loaded(module: str, name: str) -> type:
    # A hint that means this class has loaded its module, which is heavy and would slow down every command here. Where it is
    # not loaded, nothing in the project can take what the engine would give.
    return getattr(sys.modules.get(module), name, None) or type(name, (), {"__module__": module})


def _is_plain(value: object) -> bool:
    """Whether a value can be written down as it is and read again."""
    if isinstance(value, list | tuple):
        return type(value) in (list, tuple) and all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    return value is None or (
        type(value) in (bool, int, float, str) and (not isinstance(value, float) or math.isfinite(value))
    )
