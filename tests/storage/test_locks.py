"""File locks: one holder among threads and processes, and none that is dead."""

import threading
from pathlib import Path

import pytest

from everloop.settings import Settings
from everloop.storage.locks import FileLock
from tests.support.processes import heard, kill, start


def test_a_lock_has_one_holder(tmp_path: Path) -> None:
    """The same object, and another one on the same file, are both kept out until it is let go."""
    lock, other = FileLock(tmp_path / "deep" / "lock"), FileLock(tmp_path / "deep" / "lock")
    with lock.held():
        assert not lock.try_acquire()
        assert not other.try_acquire()
    assert other.try_acquire()
    assert not lock.try_acquire()
    other.release()
    assert lock.try_acquire()
    lock.release()


def test_threads_take_turns(tmp_path: Path) -> None:
    """Two threads that share a lock never overlap, and both come to an end."""
    lock, inside, most = FileLock(tmp_path / "lock"), 0, 0

    def take() -> None:
        nonlocal inside, most
        for _ in range(200):
            with lock.held():
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=take) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_an_exception_lets_go(tmp_path: Path) -> None:
    """Whatever happens inside."""
    lock = FileLock(tmp_path / "lock")
    with pytest.raises(ZeroDivisionError), lock.held():
        raise ZeroDivisionError
    assert lock.try_acquire()
    lock.release()


HOLD = """
from everloop.storage.locks import FileLock
FileLock(place.root / "lock").acquire()
print("held", flush=True)
sys.stdin.readline()
"""


def test_a_killed_holder_lets_go(tmp_path: Path) -> None:
    """At once: the waiting thread gets it without anybody's help."""
    process = start(Settings(root=tmp_path, module="project"), HOLD)
    assert heard(process) == "held"
    lock = FileLock(tmp_path / "lock")
    assert not lock.try_acquire()
    waiting = threading.Thread(target=lock.acquire)
    waiting.start()
    kill(process)
    waiting.join(timeout=30)
    assert not waiting.is_alive()
    lock.release()
