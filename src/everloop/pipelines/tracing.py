"""Which pipeline is being drawn right now; nothing when steps are simply called."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from everloop.pipelines.graph import Drawing

_current: ContextVar[Drawing | None] = ContextVar("everloop_drawing", default=None)


def current() -> Drawing | None:
    """The drawing that calls of steps are added to."""
    return _current.get()


@contextmanager
def drawing_on(drawing: Drawing | None) -> Iterator[None]:
    """Add calls of steps to this drawing for the length of a block."""
    token = _current.set(drawing)
    try:
        yield
    finally:
        _current.reset(token)
