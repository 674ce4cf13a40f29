"""Who is alive: a name that a process holds, and that is free again the moment the process dies.

What counts is who holds the lock, never whether its file is there: else a worker that was killed is alive for ever, and
nobody takes over its run. `tests/storage/test_presence.py` kills the holder.
"""

import hashlib
import re
import threading
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from everloop.errors import InvalidInput
from everloop.storage.database import Database
from everloop.storage.locks import FileLock

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class _Names(Protocol):
    def enter(self, name: str) -> bool: ...
    def leave(self, name: str) -> None: ...
    def present(self, name: str) -> bool: ...
    def close(self) -> None: ...


class Presence:
    """Names held by live processes: file locks beside SQLite, advisory locks in PostgreSQL.

    No lease and no heartbeat: nobody waits for a clock to notice a death, and a slow process is not taken for dead.
    """

    def __init__(self, database: Database, folder: Path) -> None:
        self._names: _Names = _Files(folder / "present") if database.is_sqlite else _Session(database)

    def enter(self, name: str) -> bool:
        """Hold the name until `leave` or death; False when somebody holds it, also if it is this process."""
        return self._names.enter(_checked(name))

    def leave(self, name: str) -> None:
        """Let go of the name; nothing happens when it was not held here."""
        self._names.leave(_checked(name))

    def present(self, name: str) -> bool:
        """Whether a live process holds the name; asking gets in nobody's way."""
        return self._names.present(_checked(name))

    def close(self) -> None:
        """Let go of everything."""
        self._names.close()


class _Files:
    """A locked file for each name.

    One more lock is held over each look and each change, so that a file is never removed under somebody who is about
    to lock it, and a mere look is never taken for a holder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._changing = FileLock(folder / ".lock")
        self._held: dict[str, FileLock] = {}

    def enter(self, name: str) -> bool:
        with self._changing.held():
            lock = self._lock(name)
            if name in self._held or not lock.try_acquire():
                return False
            self._held[name] = lock
            return True

    def leave(self, name: str) -> None:
        with self._changing.held():
            lock = self._held.pop(name, None)
            if lock is not None:
                _remove(lock)

    def present(self, name: str) -> bool:
        with self._changing.held():
            lock = self._lock(name)
            if name in self._held or not lock.path.exists():
                return name in self._held
            if not lock.try_acquire():
                return True
            _remove(lock)
            return False

    def close(self) -> None:
        for name in list(self._held):
            self.leave(name)

    def _lock(self, name: str) -> FileLock:
        return FileLock(self._folder / f"{name}.lock")


def _remove(lock: FileLock) -> None:
    lock.path.unlink(missing_ok=True)
    lock.release()


class _Session:
    """Advisory locks of one session that is kept open; PostgreSQL drops them when the session ends."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._changing = threading.Lock()
        self._held: set[str] = set()
        self._session: Connection | None = None

    def enter(self, name: str) -> bool:
        with self._changing:
            if name in self._held:  # the same session would be given the same lock twice
                return False
            query = text("SELECT pg_try_advisory_lock(:key)")
            held = bool(self._opened().execute(query, {"key": _key(name)}).scalar_one())
            if held:
                self._held.add(name)
            return held

    def leave(self, name: str) -> None:
        with self._changing:
            if name in self._held:
                self._held.remove(name)
                self._opened().execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _key(name)})

    def present(self, name: str) -> bool:
        # Looking into the list of locks: trying to take the lock would shut somebody out for a moment.
        query = text(
            "SELECT EXISTS (SELECT 1 FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database"
            " WHERE datname = current_database() AND locktype = 'advisory' AND objsubid = 1 AND granted"
            " AND classid::bigint = :high AND objid::bigint = :low)"
        )
        key = _key(name)
        with self._database.read() as tx:
            return bool(
                tx.execute(query, {"high": key >> 32 & 0xFFFF_FFFF, "low": key & 0xFFFF_FFFF}).scalar_one()
            )

    def close(self) -> None:
        with self._changing:
            session, self._session = self._session, None
            self._held.clear()
            if session is not None:
                # When the database was restarted meanwhile, the locks ended with the session that held them.
                with session, suppress(OperationalError):
                    session.execute(text("SELECT pg_advisory_unlock_all()"))

    def _opened(self) -> Connection:
        if self._session is None:
            session = self._database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            # A killed process ends its session at once; a machine without power is noticed after a minute.
            for setting in (
                "tcp_keepalives_idle = 30",
                "tcp_keepalives_interval = 10",
                "tcp_keepalives_count = 3",
            ):
                session.execute(text(f"SET {setting}"))
            self._session = session
        return self._session


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"{name!r} cannot name a process.", next_step="use up to 100 letters, digits, dots, dashes and _."
        )
    return name


def _key(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big", signed=True)
