"""Each step in an interpreter beside the worker: independent ones side by side, and one that dies takes nobody with it."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Collection
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from multiprocessing.connection import Pipe
from threading import Lock

from everloop.errors import EverloopError
from everloop.pipelines.executors.executor import Here
from everloop.pipelines.orders import StepOrder, StepResult

MOST_DEATHS = 3
"""A step that has outlived so many of its processes is the one that kills them."""
PATIENCE = 5.0
"""Seconds that a process has for leaving by itself, once nobody waits for its answer."""
_LOOK = 1.0
"""Seconds between two looks at whether a process that is busy is still there."""

_logger = logging.getLogger(__name__)


class Process:
    """Orders go to interpreters that were started afresh; one that has answered is kept for the next order."""

    def __init__(self, _here: Here) -> None:
        self.places = max(
            2, os.cpu_count() or 1
        )  # while one waits for something outside, another one can compute
        self._threads = ThreadPoolExecutor(self.places, thread_name_prefix="order")
        self._idle: list[_Interpreter] = []
        self._asked: dict[Future[StepResult], _Question] = {}

    def submit(self, order: StepOrder) -> Future[StepResult]:
        """Ask an interpreter that has nothing to do; a thread waits for its answer."""
        question = _Question(order)
        future = self._threads.submit(self._answer, question)
        self._asked[future] = question
        future.add_done_callback(self._asked.pop)
        return future

    def cancel(self, futures: Collection[Future[StepResult]]) -> None:
        """As Ctrl-C would, so that the step does what it does in the end; by force when that takes too long."""
        questions = [asked for future in futures if (asked := self._asked.get(future)) is not None]
        for number, patience in ((signal.SIGINT, PATIENCE), (signal.SIGKILL, None)):
            for question in questions:
                question.cancel(number)
            if not wait(futures, timeout=patience).not_done:
                return

    def close(self) -> None:
        """End every interpreter."""
        self.cancel(list(self._asked))
        self._threads.shutdown()
        while self._idle:
            self._idle.pop().end()

    def _answer(self, question: _Question) -> StepResult:
        order, ended = question.order.to_bytes(), ""
        for _ in range(MOST_DEATHS):
            interpreter = self._take()
            answer = question.put_to(interpreter, order)
            if answer is not None and not question.cancelled:
                self._idle.append(interpreter)
                return StepResult.from_bytes(answer)
            ended = interpreter.end()
            if question.cancelled:
                raise CancelledError
            where = f"step {question.order.node} of run {question.order.run.id}"
            _logger.warning("the process of %s %s", where, ended)
        error = EverloopError(
            f"the step's process {ended}, {MOST_DEATHS} times.",
            next_step="look for what ends it: memory first, then a native library.",
        )
        return StepResult(error=str(error))

    def _take(self) -> _Interpreter:
        try:
            return self._idle.pop()
        except IndexError:
            return _Interpreter()


class _Question:
    """An order, and the interpreter that is at it, which may be told to stop from another thread."""

    def __init__(self, order: StepOrder) -> None:
        self.order = order
        self.cancelled = False
        self._interpreter: _Interpreter | None = None
        self._changing = Lock()

    def put_to(self, interpreter: _Interpreter, order: bytes) -> bytes | None:
        """The interpreter's answer; None when it has died over it, or was never asked."""
        with self._changing:
            if self.cancelled:
                return None
            self._interpreter = interpreter
        try:
            return interpreter.ask(order)
        finally:
            with self._changing:
                self._interpreter = None

    def cancel(self, number: signal.Signals) -> None:
        """Nobody wants an answer any more."""
        with self._changing:
            self.cancelled = True
            if self._interpreter is not None:
                self._interpreter.send(number)


class _Interpreter:
    """A process that answers orders one by one; `interpreter` is its side of it."""

    def __init__(self) -> None:
        self._connection, theirs = Pipe()
        with theirs:
            # No fork: nothing of this process may be in it but where Python looks for modules, because the libraries must be
            # the same. In a session of its own: Ctrl-C in the terminal is for the writer.
            command = [sys.executable, "-P", "-m", "everloop.pipelines.executors.interpreter"]
            self._process = subprocess.Popen(
                [*command, str(theirs.fileno()), *sys.path],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def ask(self, order: bytes) -> bytes | None:
        """Its answer; None when it died."""
        try:
            self._connection.send_bytes(order)
            # A process that the step itself has forked may hold the other end open for ever.
            while not self._connection.poll(_LOOK):
                if self._process.poll() is not None and not self._connection.poll():
                    return None
            return self._connection.recv_bytes()
        except (EOFError, OSError):
            return None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it and to all that its steps have started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def end(self) -> str:
        """Have it leave, and all that its steps have started; returns how it has ended."""
        self._connection.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(PATIENCE)
        self.send(signal.SIGKILL)
        code = self._process.wait()
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
