"""Processes that work for this one and never outlive it: started, listened to, started again when they fall."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

_LONGEST_PAUSE = 60.0
_PATIENCE = 30.0
"""How long a child may take to finish what it has begun before it is killed."""


@dataclass(frozen=True, slots=True)
class ChildMessage:
    """A line of JSON that a child has written, or its end."""

    child: str
    message: Mapping[str, Any]
    ended: int | None = None
    """Its exit code, once it has none but that to say."""


Mail = queue.SimpleQueue[ChildMessage | None]
"""What the children say, in the order in which it came; None is a call to look up, which a signal may send, too."""


@dataclass(slots=True, kw_only=True)
class Child:
    """`everloop …` as a process of its own, whose standard output is lines of JSON."""

    name: str
    command: Sequence[str]
    mail: Mail
    proven: bool = False
    """It has said something since it was first started: it can work, so it is started again when it falls."""
    _process: subprocess.Popen[bytes] | None = None
    _pause: float = 1.0
    _started_at: float = 0.0
    _again_at: float = 0.0

    def start(self) -> None:
        """Start it; its standard input is a pipe from us, and when that closes it stops."""
        self._started_at = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "everloop", *self.command, "--json", "--with-parent"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in the terminal is for us; we pass it on in our order
        )
        threading.Thread(target=self._listen, args=(self._process,), daemon=True).start()

    def fell(self, now: float) -> float:
        """Note that it has ended by itself; returns after how many seconds it is started again.

        One that falls soon after each start is started ever more slowly.
        """
        self._reap()
        pause = 1.0 if now - self._started_at > _LONGEST_PAUSE else self._pause
        self._process = None
        self._again_at, self._pause = now + pause, min(pause * 2, _LONGEST_PAUSE)
        return pause

    def restart_if_due(self, now: float) -> None:
        """Start it again when it is time."""
        if self._process is None and now >= self._again_at:
            self.start()

    def ask_to_stop(self) -> None:
        """Ask it to finish what it has begun."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def wait(self, deadline: float) -> None:
        """Wait for its end; kill it when it takes too long."""
        if self._process is None:
            return
        try:
            self._process.wait(timeout=max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._reap()

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait()
            if self._process.stdin is not None:
                self._process.stdin.close()

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                if line.endswith(b"\n"):  # one that was killed may have left half a line
                    self.mail.put(ChildMessage(self.name, json.loads(line)))
        self.mail.put(ChildMessage(self.name, {}, ended=process.wait()))


@contextmanager
def running(children: Sequence[Child]) -> Iterator[None]:
    """Have them for the length of a block; whatever ends the block ends them all."""
    try:
        for child in children:
            child.start()
        yield
    finally:
        for child in children:
            child.ask_to_stop()
        deadline = time.monotonic() + _PATIENCE
        for child in children:
            child.wait(deadline)
