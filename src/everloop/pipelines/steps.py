"""A step is a plain function; the decorator only gives it a name and checks that its types are written down."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar, get_type_hints, overload

from everloop.errors import ProjectError
from everloop.pipelines import tracing

R = TypeVar("R")


class Step(Generic[R]):
    """A function that a pipeline may call; called anywhere else, it just runs.

    >>> @step
    ... def double(n: int) -> int:
    ...     return 2 * n
    >>> double(21)
    42
    """

    def __init__(self, function: Callable[..., R], *, cache: bool, retries: int) -> None:
        self.function = function
        self.name = function.__name__
        self.cache = cache
        self.retries = retries
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        self.__module__ = function.__module__
        self.__wrapped__ = function
        _check_written(self)

    def __call__(self, *args: Any, **kwargs: Any) -> R:
        """Run it, or, while a pipeline is being drawn, note that it was called."""
        drawing = tracing.current()
        if drawing is None:
            return self.function(*args, **kwargs)
        return drawing.add_step(self, args, kwargs)  # type: ignore[no-any-return]

    @property
    def signature(self) -> inspect.Signature:
        """Its parameters."""
        return inspect.signature(self.function)

    @property
    def hints(self) -> Mapping[str, Any]:
        """Types of its parameters and, under `return`, of its result."""
        try:
            return get_type_hints(self.function)
        except NameError as error:
            raise ProjectError(
                f"step {self.name} ({self.where}): its type hints name {error.name!r}, which does not exist."
            ) from None

    @property
    def where(self) -> str:
        """File and line, for messages."""
        code = self.function.__code__
        return f"{code.co_filename}:{code.co_firstlineno}"


@overload
def step(function: Callable[..., R], /) -> Step[R]: ...
@overload
def step(*, cache: bool = True, retries: int = 0) -> Callable[[Callable[..., R]], Step[R]]: ...


def step(
    function: Callable[..., R] | None = None, /, *, cache: bool = True, retries: int = 0
) -> Step[R] | Callable[[Callable[..., R]], Step[R]]:
    """Make a function a step, bare or with keywords.

    `cache=False` runs it in every run; `retries` is how often it is tried again after an error.
    Raises ProjectError for a function without type hints, naming its line.
    """
    if retries < 0:
        raise ProjectError(f"retries={retries} is below 0.")
    if function is None:
        return lambda inner: Step(inner, cache=cache, retries=retries)
    return Step(function, cache=cache, retries=retries)


def _check_written(step: Step[Any]) -> None:
    for name, parameter in step.signature.parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise ProjectError(
                f"step {step.name} ({step.where}): *{name} has no fixed inputs; name each of them."
            )
        if parameter.annotation is parameter.empty:
            raise ProjectError(
                f"step {step.name} ({step.where}): parameter {name!r} has no type hint.",
                next_step=f"write it like `{name}: pa.Table` or `{name}: int = 3`; the hints are the step's contract.",
            )
    if step.signature.return_annotation is inspect.Signature.empty:
        raise ProjectError(
            f"step {step.name} ({step.where}): it has no return type.",
            next_step="write `-> pa.Table`, `-> Model`, a NamedTuple for several outputs, or `-> None`.",
        )
