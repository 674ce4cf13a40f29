"""A pipeline: a function that calls steps, drawn once and run as often as its triggers say."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, get_type_hints

from everloop.errors import InvalidInput, ProjectError
from everloop.pipelines import tracing
from everloop.pipelines.graph import Drawing, Graph, Param, fits
from everloop.pipelines.steps import Step
from everloop.records.checks import CheckResult
from everloop.records.json import Json
from everloop.registry.model_names import RegisteredModel

_KINDS = (bool, int, float, str)


class Pipeline:
    """The definition of a workflow; its params are the function's arguments, each with a default or asked for."""

    def __init__(self, function: Callable[..., None]) -> None:
        self.function = function
        self.name = function.__name__
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        self.__module__ = function.__module__
        code = function.__code__
        self.where = f"{code.co_filename}:{code.co_firstlineno}"

    def __call__(self, *_args: Any, **_kwargs: Any) -> None:
        """A pipeline is run by the engine, because it reads versions that the engine pins."""
        if tracing.current() is not None:
            raise ProjectError(
                f"pipeline {self.name} ({self.where}) is called inside pipeline {_drawn_name()}: a cycle or a sub-pipeline.",
                next_step="call steps only; share code between pipelines through steps.",
            )
        raise ProjectError(
            f"pipeline {self.name} cannot be called like a function.",
            next_step=f"`everloop run {self.name}`, or call its steps one by one.",
        )

    @cached_property
    def params(self) -> Mapping[str, tuple[type, Any]]:
        """Type and default of each param; the default is `inspect.Parameter.empty` when there is none."""
        hints = get_type_hints(self.function)
        found: dict[str, tuple[type, Any]] = {}
        for name, parameter in inspect.signature(self.function).parameters.items():
            kind = hints.get(name)
            if kind not in _KINDS:
                raise ProjectError(
                    f"pipeline {self.name} ({self.where}): param {name!r} must be hinted as bool, int, float or str."
                )
            found[name] = (kind, parameter.default)
        return found

    @cached_property
    def graph(self) -> Graph:
        """Its steps; raises ProjectError for anything that cannot work, naming the line."""
        drawing = Drawing(self.name, {name: kind for name, (kind, _) in self.params.items()})
        with tracing.drawing_on(drawing):
            try:
                self.function(**{name: Param(name) for name in self.params})
            except (TypeError, AttributeError, NameError) as error:
                raise ProjectError(
                    f"pipeline {self.name} ({self.where}) cannot be drawn: {error}.",
                    next_step="a pipeline only calls steps and hands their outputs on; compute inside a step.",
                ) from error
        if not drawing.nodes:
            raise ProjectError(f"pipeline {self.name} ({self.where}) calls no step.")
        return Graph(nodes=tuple(drawing.nodes))

    def fill(self, given: Mapping[str, Json]) -> dict[str, Json]:
        """All params of a run: what was given, checked, and the defaults."""
        unknown = [name for name in given if name not in self.params]
        if unknown:
            known = ", ".join(self.params) or "none"
            raise InvalidInput(f"pipeline {self.name} has no param {', '.join(unknown)}; it has {known}.")
        values: dict[str, Json] = {}
        for name, (kind, default) in self.params.items():
            if name in given:
                values[name] = _checked(self.name, name, kind, given[name])
            elif default is inspect.Parameter.empty:
                raise InvalidInput(f"pipeline {self.name} needs param {name!r}.", next_step=f"-p {name}=…")
            else:
                values[name] = default
        return values

    def read(self, name: str, text: str) -> Json:
        """A param's value from the text of a command line."""
        if name not in self.params:
            raise InvalidInput(
                f"pipeline {self.name} has no param {name!r}; it has {', '.join(self.params) or 'none'}."
            )
        return _parsed(self.name, name, self.params[name][0], text)


def pipeline(function: Callable[..., None]) -> Pipeline:
    """Make a function that calls steps a pipeline."""
    return Pipeline(function)


def register(model: RegisteredModel, candidate: Any, verdict: CheckResult) -> None:
    """Inside a pipeline: register the model a step made, with the verdict of its gate.

    A version that passed becomes `challenger`; a refused one is kept, numbered, and can never carry an alias.
    """
    drawing = tracing.current()
    if drawing is None:
        raise ProjectError("register works inside a @pipeline, where the run's record vouches for the model.")
    drawing.add_register(_REGISTER, model, {"candidate": candidate, "verdict": verdict})


def _contract(candidate: Any, verdict: CheckResult) -> None:
    """What `register` takes; the engine does the work in the transaction that ends the step."""


_contract.__name__ = "register"
_REGISTER: Step[None] = Step(_contract, cache=False, retries=0)


def _drawn_name() -> str:
    drawing = tracing.current()
    return drawing.pipeline if drawing is not None else ""


def _checked(pipeline: str, name: str, kind: type, value: Json) -> Json:
    if not fits(type(value), kind) or (kind is not bool and isinstance(value, bool)):
        raise InvalidInput(f"pipeline {pipeline}: param {name!r} is {value!r}; it must be a {kind.__name__}.")
    return float(value) if kind is float and isinstance(value, int) else value


def _parsed(pipeline: str, name: str, kind: type, text: str) -> Json:
    if kind is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        if kind is not bool:
            return kind(text)  # type: ignore[no-any-return]
    except ValueError:
        pass  # said below, with what was expected
    raise InvalidInput(f"pipeline {pipeline}: param {name}={text!r} is not a {kind.__name__}.")
