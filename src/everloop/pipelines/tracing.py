"""Which pipeline is being traced right now; nothing when steps are simply called."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from traceback import extract_tb
from types import TracebackType
from typing import Any, Protocol


class Trace(Protocol):
    """What calls are added to; the one that makes a graph of them is in `graph`, which knows steps, as steps need not it."""

    def add_step(self, step: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], /) -> object:
        """A step was called; returns what stands for its result."""

    def add_register(self, model: Any, candidate: object, evaluation: object, /) -> None:
        """A model is to be registered."""


_current: ContextVar[Trace | None] = ContextVar("everloop_trace", default=None)
_ROOM = str(Path(__file__).parent)
_PLACEHOLDERS = str(
    Path(__file__).parents[1] / "records"
)  # they refuse by themselves what a pipeline cannot do with them


def current() -> Trace | None:
    """The trace that calls of steps are added to."""
    return _current.get()


@contextmanager
def tracing_into(trace: Trace | None) -> Iterator[None]:
    """Add calls of steps to this trace for the length of a block."""
    token = _current.set(trace)
    try:
        yield
    finally:
        _current.reset(token)


def called_from() -> str:
    """File and line of the nearest caller outside this room: the line that a user can mend."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_ROOM):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def raised_at(trace: TracebackType | None) -> str | None:
    """File and line, outside what refuses here, where an error came from."""
    lines = [f"{frame.filename}:{frame.lineno}" for frame in extract_tb(trace) if _is_theirs(frame.filename)]
    return lines[-1] if lines else None


def _is_theirs(file: str) -> bool:
    return not file.startswith((_ROOM, _PLACEHOLDERS))
