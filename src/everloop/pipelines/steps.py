"""A step is a plain function; the decorator only gives it a name and checks that its types are written down."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Generic, ParamSpec, TypeAlias, TypeVar, cast, get_type_hints, overload

from everloop.errors import ProjectError
from everloop.pipelines import tracing

P = ParamSpec("P")
R = TypeVar("R")


class Step(Generic[P, R]):
    """A function that a pipeline may call; called anywhere else, it just runs.

    A type checker sees the function's own parameters and result, in a pipeline as anywhere else.

    >>> @step
    ... def double(n: int) -> int:
    ...     return 2 * n
    >>> double(21)
    42
    """

    def __init__(self, function: Callable[P, R], *, cache: bool, retries: int) -> None:
        _check_kind(function)
        self.function = function
        self.name = function.__name__
        self.cache = cache
        self.retries = retries
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        self.__module__ = function.__module__
        self.__wrapped__ = function
        self.signature = inspect.signature(function)
        _check_written(self)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it, or, while a pipeline is being traced, note that it was called."""
        trace = tracing.current()
        if trace is None:
            return self.function(*args, **kwargs)
        return cast(R, trace.add_step(self, args, kwargs))

    @cached_property
    def hints(self) -> Mapping[str, Any]:
        """Types of its parameters and, under `return`, of its result."""
        try:
            return get_type_hints(self.function)
        except Exception as error:  # noqa: BLE001 - hints may be any text, and this is the line to mend
            raise ProjectError(
                f"step {self.name} ({self.where}): its type hints mean nothing: {error}.",
                next_step="import what they name at the top of the module.",
            ) from None

    @property
    def where(self) -> str:
        """File and line, for messages."""
        code = self.function.__code__
        return f"{code.co_filename}:{code.co_firstlineno}"


AnyStep: TypeAlias = Step[..., Any]


@overload
def step(function: Callable[P, R], /) -> Step[P, R]: ...
@overload
def step(*, cache: bool = True, retries: int = 0) -> Callable[[Callable[P, R]], Step[P, R]]: ...


def step(
    function: Callable[P, R] | None = None, /, *, cache: bool = True, retries: int = 0
) -> Step[P, R] | Callable[[Callable[P, R]], Step[P, R]]:
    """Make a function a step, bare or with keywords.

    `cache=False` runs it in every run: for what reads more than its inputs, such as a clock or an address. `retries` is
    how often it is tried again after an error; a refusal is an answer and not tried again.
    Raises ProjectError for a function without type hints, naming its line.

    >>> @step(retries=2)
    ... def double(n: int) -> int:
    ...     return 2 * n
    >>> double(21), double.retries
    (42, 2)
    """
    if retries < 0:
        raise ProjectError(
            f"step ({tracing.called_from()}): retries={retries} is below 0.", next_step="give 0 or more."
        )
    if function is None:
        return lambda inner: Step(inner, cache=cache, retries=retries)
    return Step(function, cache=cache, retries=retries)


def _check_kind(function: Callable[..., Any]) -> None:
    if not inspect.isfunction(function):
        raise ProjectError(
            f"step ({tracing.called_from()}): {function!r} is not a function.",
            next_step="decorate a plain `def`.",
        )
    code = function.__code__
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise ProjectError(
            f"step {function.__name__} ({code.co_filename}:{code.co_firstlineno}) is async, and nobody would await it.",
            next_step="write a plain `def`; call asyncio.run inside it where you must.",
        )
    if inspect.isgeneratorfunction(function):
        raise ProjectError(
            f"step {function.__name__} ({code.co_filename}:{code.co_firstlineno}) yields, and what it yields "
            "could be read once only.",
            next_step="return a list or a table.",
        )


def _check_written(step: AnyStep) -> None:
    for name, parameter in step.signature.parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise ProjectError(
                f"step {step.name} ({step.where}): {parameter} is no input with a name; name each of them.",
                next_step="write it without * and without a / behind it.",
            )
        if parameter.annotation is parameter.empty:
            raise ProjectError(
                f"step {step.name} ({step.where}): parameter {name!r} has no type hint.",
                next_step=f"write it like `{name}: pa.Table` or `{name}: int = 3`; the hints say what it takes.",
            )
    if step.signature.return_annotation is inspect.Signature.empty:
        raise ProjectError(
            f"step {step.name} ({step.where}): it has no return type.",
            next_step="write `-> pa.Table`, `-> Model`, a NamedTuple for several outputs, or `-> None`.",
        )
