"""A pipeline: a function that calls steps, traced once and run as often as its triggers say."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, get_type_hints

from everloop.errors import EverloopError, InvalidInput, ProjectError
from everloop.pipelines import tracing
from everloop.pipelines.graph import Graph, GraphBuilder, ResultPlaceholder
from everloop.pipelines.hints import fits
from everloop.pipelines.sources import Param
from everloop.records.json import Json
from everloop.registry.model_names import RegisteredModel

if TYPE_CHECKING:
    from everloop.models.model import Model

_KINDS = (bool, int, float, str)
_HINTS = "import what they name at the top of the module."
_LIKE = "write it like `trees: int = 60`."
_ONLY_STEPS = "a pipeline only calls steps and hands their outputs on; compute inside a step."


class Pipeline:
    """The definition of a workflow; its params are the function's arguments, each with a default or asked for.

    >>> from everloop import step
    >>> @step
    ... def train(trees: int) -> float: ...
    >>> def keep_fresh(trees: int = 60) -> None:
    ...     train(trees)
    >>> workflow = Pipeline(keep_fresh)
    >>> workflow.name, workflow.fill({})
    ('keep_fresh', {'trees': 60})
    """

    def __init__(self, function: Callable[..., None]) -> None:
        if not inspect.isfunction(function) or inspect.iscoroutinefunction(function):
            raise ProjectError(
                f"pipeline ({tracing.called_from()}): {function!r} is not a plain function.",
                next_step="decorate a `def` that calls steps.",
            )
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
                f"pipeline {self.name} ({self.where}) is called inside a pipeline: a cycle or a sub-pipeline.",
                next_step="call steps only; share code between pipelines through steps.",
            )
        raise ProjectError(
            f"pipeline {self.name} cannot be called like a function ({tracing.called_from()}).",
            next_step=f"`everloop run {self.name}`, or call its steps one by one.",
        )

    @cached_property
    def params(self) -> Mapping[str, tuple[type, Any]]:
        """Type and default of each param; the default is `inspect.Parameter.empty` when there is none."""
        try:
            hints = get_type_hints(self.function)
        except Exception as error:  # noqa: BLE001 - hints may be any text, and this is the line to mend
            raise self._error(f"its type hints mean nothing: {error}.", self.where, _HINTS) from None
        return {
            parameter.name: self._param(parameter, hints.get(parameter.name))
            for parameter in inspect.signature(self.function).parameters.values()
        }

    @cached_property
    def graph(self) -> Graph:
        """Its steps; raises ProjectError for anything that cannot work, naming the line."""
        trace = GraphBuilder(self.name, {name: kind for name, (kind, _) in self.params.items()})
        with tracing.tracing_into(trace):
            try:
                self.function(**{name: ResultPlaceholder(Param(name)) for name in self.params})
            except EverloopError as error:
                raise self._error(error.reason, self._line(error), error.next_step) from error
            except Exception as error:
                raise self._error(f"it cannot be traced: {error}.", self._line(error), _ONLY_STEPS) from error
        if not trace.nodes:
            raise self._error("it calls no step.", self.where, "call one, or take the pipeline out.")
        return Graph(nodes=tuple(trace.nodes))

    def fill(self, given: Mapping[str, Json]) -> dict[str, Json]:
        """All params of a run: what was given, checked, and the defaults."""
        unknown = [name for name in given if name not in self.params]
        if unknown:
            known = ", ".join(self.params) or "none"
            raise InvalidInput(
                f"pipeline {self.name} has no param {', '.join(unknown)}; it has {known}.",
                next_step="give only params that it has.",
            )
        values: dict[str, Json] = {}
        for name, (kind, default) in self.params.items():
            if name in given:
                values[name] = _checked(f"pipeline {self.name}: param {name!r}", kind, given[name])
            elif default is inspect.Parameter.empty:
                raise InvalidInput(f"pipeline {self.name} needs param {name!r}.", next_step=f"-p {name}=…")
            else:
                values[name] = default
        return values

    def read(self, name: str, text: str) -> Json:
        """A param's value from the text of a command line."""
        if name not in self.params:
            raise InvalidInput(
                f"pipeline {self.name} has no param {name!r}; it has {', '.join(self.params) or 'none'}.",
                next_step="give only params that it has.",
            )
        return _parsed(self.name, name, self.params[name][0], text)

    def _param(self, parameter: inspect.Parameter, kind: Any) -> tuple[type, Any]:
        name, default = parameter.name, parameter.default
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise self._error(f"{parameter} is no param with a name.", self.where, "name each of them.")
        if kind not in _KINDS:
            raise self._error(f"param {name!r} must be hinted as bool, int, float or str.", self.where, _LIKE)
        if default is inspect.Parameter.empty:
            return kind, default
        try:
            return kind, _checked(f"the default of param {name!r}", kind, default)
        except InvalidInput as error:
            raise self._error(error.reason, self.where, error.next_step) from None

    def _line(self, error: Exception) -> str:
        return tracing.raised_at(error.__traceback__) or self.where

    def _error(self, reason: str, where: str, next_step: str) -> ProjectError:
        return ProjectError(f"pipeline {self.name} ({where}): {reason}", next_step=next_step)


def pipeline(function: Callable[..., None]) -> Pipeline:
    """Make a function that calls steps a pipeline.

    >>> from everloop import step
    >>> @step
    ... def train(trees: int) -> float: ...
    >>> @pipeline
    ... def keep_fresh(trees: int = 60) -> None:
    ...     train(trees)
    >>> [node.name for node in keep_fresh.graph.nodes]
    ['train']
    """
    return Pipeline(function)


def register(model: RegisteredModel, candidate: Model, evaluation: object) -> None:
    """Inside a pipeline: register the model that a step made, after its gate was asked about what a step evaluated.

    A version that passed becomes `challenger`; a refused one is kept, numbered, and can never carry an alias, and neither
    can a version of a model that has no gate.

    >>> from everloop import Evaluation, Model, step
    >>> churn = RegisteredModel("churn")
    >>> @step
    ... def train() -> Model: ...
    >>> @step
    ... def evaluate(candidate: Model) -> Evaluation: ...
    >>> @pipeline
    ... def keep_fresh() -> None:
    ...     candidate = train()
    ...     register(churn, candidate, evaluate(candidate))
    >>> [node.name for node in keep_fresh.graph.nodes]
    ['train', 'evaluate', 'register']
    """
    trace = tracing.current()
    if trace is None:
        raise ProjectError(
            f"register ({tracing.called_from()}) works inside a @pipeline, where the run's record vouches for the model.",
            next_step="let a step return the model, and call register in the pipeline.",
        )
    trace.add_register(model, candidate, evaluation)


def _checked(what: str, kind: type, value: Json) -> Json:
    finite = not isinstance(value, float) or math.isfinite(value)
    if not finite or not fits(type(value), kind) or (kind is not bool and isinstance(value, bool)):
        raise InvalidInput(
            f"{what} is {value!r}; it must be of type {kind.__name__}.",
            next_step="give a value of that type.",
        )
    return float(value) if kind is float and isinstance(value, int) else value


def _parsed(pipeline: str, name: str, kind: type, text: str) -> Json:
    if kind is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        if kind is not bool:
            return kind(text)  # type: ignore[no-any-return]
    except ValueError:
        pass  # said below, with what was expected
    raise InvalidInput(
        f"pipeline {pipeline}: param {name}={text!r} is not of type {kind.__name__}.",
        next_step="`everloop run --help` says how a param is given.",
    )
