"""Locks that the operating system takes back when their holder dies.

`flock` and nothing else: a lock of POSIX's own belongs to the process, so a second holder in it would get it, too, and
whatever closes the file lets go of it. Everything durable stands on this; `tests/storage/test_locks.py` shows it.
"""

import errno
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from everloop.errors import InvalidInput, Unsupported

if sys.platform == "win32":

    def _lock(handle: int, *, wait: bool) -> bool:
        raise Unsupported(
            "an embedded workspace needs POSIX file locks, which Windows lacks.", next_step="use WSL."
        )

else:
    import fcntl

    def _lock(handle: int, *, wait: bool) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True


class FileLock:
    """One file, one holder; a killed process lets go at once, so nobody waits for a clock.

    Threads that share the object queue behind each other before they queue behind other processes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._threads = threading.Lock()
        self._handle: int | None = None

    def try_acquire(self) -> bool:
        """Take it if nobody holds it."""
        return self._threads.acquire(blocking=False) and self._take(wait=False)

    def acquire(self) -> None:
        """Take it, waiting for the holder."""
        self._threads.acquire()
        self._take(wait=True)

    def release(self) -> None:
        """Let go."""
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)
        self._threads.release()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold it for the length of a block."""
        self.acquire()
        try:
            yield
        finally:
            self.release()

    def _take(self, *, wait: bool) -> bool:
        handle: int | None = None
        try:
            handle = _open(self.path)
            if _lock(handle, wait=wait):
                self._handle, handle = handle, None
                return True
            return False
        finally:
            if handle is not None:
                os.close(handle)
            if self._handle is None:
                self._threads.release()


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise InvalidInput(
            f"{path.parent} cannot be written: {error.strerror}.",
            next_step="ask for write access, or name another folder in [storage] of everloop.toml.",
        ) from None
