"""Who is alive: a name that a process holds, and that is free again the moment the process dies."""

import hashlib
from pathlib import Path

from sqlalchemy import Connection, text

from everloop.storage.database import Database
from everloop.storage.locks import FileLock


class Presence:
    """Names held by live processes: file locks beside SQLite, advisory locks in PostgreSQL.

    No lease and no heartbeat: nobody waits for a clock to notice a death, and a slow process is not taken for dead.
    """

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self._folder = folder / "present"
        self._files: dict[str, FileLock] = {}
        self._session: Connection | None = None

    def enter(self, name: str) -> bool:
        """Hold the name until `leave` or death; False when somebody holds it."""
        if not self._database.is_sqlite:
            return self._try_advisory(self._own_session(), name)
        lock = FileLock(self._folder / f"{name}.lock")
        if not lock.try_acquire():
            return False
        self._files[name] = lock
        return True

    def leave(self, name: str) -> None:
        """Let go of the name."""
        if self._database.is_sqlite:
            lock = self._files.pop(name)
            lock.path.unlink(missing_ok=True)
            lock.release()
            return
        self._unlock(self._own_session(), name)

    def present(self, name: str) -> bool:
        """Whether a live process holds the name."""
        if self._database.is_sqlite:
            return name in self._files or self._held_by_other(FileLock(self._folder / f"{name}.lock"))
        with self._database.engine.connect() as other:
            free = self._try_advisory(other, name)
            if free:
                self._unlock(other, name)
            return not free

    def close(self) -> None:
        """Let go of everything."""
        for name in list(self._files):
            self.leave(name)
        if self._session is not None:
            self._session.invalidate()  # ends the session, and with it every lock it holds
            self._session.close()
            self._session = None

    def _held_by_other(self, lock: FileLock) -> bool:
        if not lock.path.exists():
            return False
        if not lock.try_acquire():
            return True
        lock.path.unlink(missing_ok=True)
        lock.release()
        return False

    def _own_session(self) -> Connection:
        if self._session is None:
            self._session = self._database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        return self._session

    def _try_advisory(self, session: Connection, name: str) -> bool:
        return bool(
            session.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": _key(name)}).scalar_one()
        )

    def _unlock(self, session: Connection, name: str) -> None:
        session.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _key(name)})


def _key(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big", signed=True)
