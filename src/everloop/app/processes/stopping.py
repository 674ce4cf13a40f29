"""How a command that goes on until it is stopped hears that it should: SIGTERM, Ctrl-C, or the death of its parent."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType


class Stopped(BaseException):
    """Asked to stop in the middle of a run: the run stays open, and the next worker goes on from its last step."""


class StartAnew(BaseException):
    """Asks for this process to become a fresh one with these arguments."""

    def __init__(self, arguments: Sequence[str]) -> None:
        super().__init__()
        self.arguments = arguments


class Stop:
    """Whether stopping was asked for. What must not be cut short finishes first; what may be, is."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._at_once = False

    @property
    def asked(self) -> bool:
        """Somebody wants this to end."""
        return self._asked.is_set()

    def wait(self, seconds: float) -> None:
        """Sleep, unless and until it is asked to stop."""
        self._asked.wait(seconds)

    def ask(self) -> None:
        """Note it, and break off what may be broken off; asked again, break off anything."""
        if self.asked:
            raise KeyboardInterrupt
        self._asked.set()
        if self._at_once:
            raise Stopped

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """For the length of a block, do not wait for what is being done: it can be taken up again where it was."""
        self._at_once = True
        try:
            if self.asked:
                raise Stopped
            yield
        finally:
            self._at_once = False


@contextmanager
def stopping(on_stop: Callable[[], None] | None = None) -> Iterator[Stop]:
    """Hear SIGTERM and Ctrl-C for the length of a block."""
    stop = Stop()

    def hear(_signal: int, _frame: FrameType | None) -> None:
        if on_stop is not None:
            on_stop()
        stop.ask()

    before = {number: signal.signal(number, hear) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop_with_parent() -> None:
    """End this process as SIGTERM would when its standard input closes, which happens however the parent dies.

    A parent that is killed cannot tell anybody, but the kernel closes its end of the pipe.
    """

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()
