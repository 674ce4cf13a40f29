"""Every answer the server gave, kept: appending never waits, a thread writes groups, and what is dropped is counted.

Rows are numbered in the order in which they are committed, so that whoever has read up to a number can go on from it and
miss nothing. On SQLite writers queue anyway; on PostgreSQL, where a transaction could take a number and commit after a
later one, they queue at an advisory lock that is given back when the commit can be seen.
"""

import logging
import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import Connection, RowMapping, Select, func, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, StatementError

from everloop.errors import Corrupted, NotReady
from everloop.records.serving import Arm, Outcome, Prediction, Value
from everloop.storage.database import Database
from everloop.storage.schema import UtcTime, predictions

_logger = logging.getLogger(__name__)
_LONGEST_PAUSE = 5.0
_encode = msgspec.msgpack.Encoder().encode
_inputs = msgspec.msgpack.Decoder(dict[str, bool | int | float | str | None]).decode
_outputs = msgspec.msgpack.Decoder(dict[str, bool | int | float | str | list[Any]]).decode
_COLUMNS = tuple(column.name for column in predictions.c if column.name != "seq")
_PACKED = ("arm", "outcome", "inputs", "outputs")
_PLAIN = tuple(name for name in _COLUMNS if name not in _PACKED)
_utc = UtcTime().process_bind_param
_IN_TURN = 0x6576_6C6F
"""The advisory lock at which PostgreSQL's writers of the log queue."""


class _Mark(threading.Event):
    """A place in the queue; it is set once everything before it is durable."""


class InferenceLog:
    """A bounded queue in front of the table `predictions`.

    `append` costs a fraction of a microsecond and never waits: when `capacity` predictions wait for a database
    that does not take them, further ones are dropped and counted. Groups of up to `group` rows are committed at
    least every `every` seconds; a failing database is asked again, ever more slowly, and loses nothing that fits.
    A prediction that the database refuses for good is counted as dropped, so that it cannot hold up the others.
    """

    def __init__(
        self, database: Database, *, capacity: int = 50_000, group: int = 500, every: float = 0.05
    ) -> None:
        self._database = database
        self._capacity, self._group, self._every = capacity, group, every
        self._queue: deque[Prediction | _Mark] = deque()
        self._in_hand = 0
        self._dropped = 0
        self._marks = 0
        self._counting = threading.Lock()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._abandoned = threading.Event()
        self._error: str | None = None
        self._thread = threading.Thread(target=self._run, name="inference-log", daemon=True)
        self._thread.start()

    @property
    def pending(self) -> int:
        """Predictions that are not durable yet."""
        return len(self._queue) + self._in_hand - self._marks

    @property
    def dropped(self) -> int:
        """Predictions that will never be in the log."""
        return self._dropped

    @property
    def error(self) -> str | None:
        """Why the database does not take predictions at the moment; None when it does."""
        return self._error

    def append(self, prediction: Prediction) -> None:
        """Keep a prediction; returns at once, whatever the database does."""
        waiting = len(self._queue) - self._marks
        if waiting + self._in_hand >= self._capacity or self._closing.is_set():
            self._drop(1)
            return
        self._queue.append(prediction)
        if waiting >= self._group and not self._wake.is_set():
            self._wake.set()

    def flush(self, timeout: float = 30.0) -> None:
        """Return when everything appended so far is durable.

        Raises NotReady when the database does not take it in time; it stays in the queue then.
        """
        if not self._thread.is_alive():
            self._refuse_remains()
            return
        mark = _Mark()
        self._count_marks(1)
        self._queue.append(mark)
        self._wake.set()
        if not mark.wait(timeout):
            raise NotReady(
                f"{self.pending} predictions are not in the database after {timeout:g} s: "
                f"{self._error or 'it is slow'}.",
                next_step="mend the database; they are kept until then.",
            )

    def close(self, timeout: float = 30.0) -> None:
        """Write what is left and stop; raises NotReady, with their number, when predictions had to be left."""
        self._closing.set()
        self._wake.set()
        self._thread.join(timeout)
        if self._thread.is_alive():
            self._abandoned.set()
            self._thread.join(timeout)
        self._refuse_remains()

    def _refuse_remains(self) -> None:
        if self.pending:
            raise NotReady(
                f"{self.pending} predictions could not be written: {self._error or 'no time was left'}.",
                next_step="mend the database before the next start.",
            )

    def _count_marks(self, change: int) -> None:
        with self._counting:
            self._marks += change

    def _drop(self, number: int) -> None:
        with self._counting:
            self._dropped += number
            total = self._dropped
        if total == number or total % 10_000 == 0:
            _logger.error("the inference log drops predictions; %d so far", total)

    # What follows runs in the writer's thread.

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.wait(self._every)
            self._wake.clear()
            self._drain()
        self._drain()

    def _drain(self) -> None:
        # The queue may be filled as fast as it is emptied, so a mark ends a group and never waits for the end.
        while self._queue and not self._abandoned.is_set():
            rows, mark = self._take()
            if rows and not self._write(rows):
                self._queue.extendleft(reversed(rows))
                self._in_hand = 0
                return
            self._in_hand = 0
            if mark is not None:
                mark.set()

    def _take(self) -> tuple[list[Prediction], _Mark | None]:
        rows: list[Prediction] = []
        while self._queue and len(rows) < self._group:
            item = self._queue.popleft()
            if isinstance(item, _Mark):
                self._count_marks(-1)
                return rows, item
            rows.append(item)
            self._in_hand = len(rows)
        return rows, None

    def _write(self, rows: Sequence[Prediction]) -> bool:
        """Commit a group, however long it takes; False when the log is closed before it worked."""
        pause = self._every
        while (error := self._commit(rows)) is not None:
            if _is_final(error):
                return self._write_apart(rows, error)
            self._report(error, pause)
            if self._abandoned.wait(pause):
                return False
            pause = min(pause * 2, _LONGEST_PAUSE)
        self._error = None
        return True

    def _commit(self, rows: Sequence[Prediction]) -> Exception | None:
        try:
            with self._database.log() as tx:
                insert_predictions(tx, rows)
        except Exception as error:  # noqa: BLE001 - this thread must outlive whatever a database can do
            return error
        return None

    def _write_apart(self, rows: Sequence[Prediction], error: Exception) -> bool:
        # One row that does not fit its columns must not take its neighbours with it.
        if len(rows) > 1:
            return all(self._write([row]) for row in rows)
        _logger.error("prediction %s cannot be kept: %s", rows[0].id, error)
        self._drop(1)
        return True

    def _report(self, error: Exception, pause: float) -> None:
        self._error = str(error).split("\n", 1)[0]
        message = "the inference log waits for its database (%d rows, again in %.2f s): %s"
        _logger.warning(message, self.pending, pause, self._error)


def _is_final(error: Exception) -> bool:
    """Asking again cannot help: the row itself is wrong, and not the database's state."""
    if isinstance(error, DBAPIError):
        return isinstance(error, DataError | IntegrityError)
    return isinstance(error, StatementError | ValueError | TypeError | OverflowError)


def insert_predictions(tx: Connection, rows: Iterable[Prediction]) -> None:
    """Write predictions; one that is there already is left alone, so a repeated commit changes nothing."""
    values = [_to_row(row) for row in rows]
    if tx.dialect.name == "sqlite":
        _insert_packed(tx, values)
    elif values:
        tx.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _IN_TURN})
        tx.execute(postgresql.insert(predictions).on_conflict_do_nothing(), values)


def _insert_packed(tx: Connection, values: Sequence[dict[str, Any]]) -> None:
    for row in values:
        # Where a client gives no time of its own, the two are one.
        arrived_at = _utc(row["arrived_at"], tx.dialect)
        time = arrived_at if row["time"] is row["arrived_at"] else _utc(row["time"], tx.dialect)
        row["time"], row["arrived_at"] = time, arrived_at
    # Many rows in one statement: Python's driver gives the interpreter to another thread at each one, and the
    # server's own thread waits for it to come back. Row by row costs four times as much of both.
    start = 0
    while left := len(values) - start:
        size = 1 << min(left.bit_length() - 1, 8)  # powers of two, so that few statements are ever prepared
        chunk = values[start : start + size]
        flat = [row[name] for row in chunk for name in _COLUMNS]
        tx.exec_driver_sql(_packed_insert(size), tuple(flat))
        start += size


@lru_cache(maxsize=16)
def _packed_insert(rows: int) -> str:
    row = f"({', '.join('?' * len(_COLUMNS))})"
    return (
        f"INSERT INTO {predictions.name} ({', '.join(_COLUMNS)}) "
        f"VALUES {', '.join([row] * rows)} ON CONFLICT DO NOTHING"
    )


def logged(
    tx: Connection,
    *,
    endpoint: str,
    since: datetime | None = None,
    until: datetime | None = None,
    version: int | None = None,
    arms: Iterable[Arm] = tuple(Arm),
) -> list[Prediction]:
    """Predictions of an endpoint with `since <= time < until`, ordered by time, request, arm and id."""
    query = window(select(predictions), endpoint, since, until, version, arms)
    return sorted((from_row(row) for row in tx.execute(query).mappings()), key=order)


def is_logged(tx: Connection, *, endpoint: str, model: str, since: datetime, until: datetime) -> bool:
    """Whether any version of a model was asked in a window, other than as a canary."""
    query = window(select(predictions.c.seq), endpoint, since, until, None, (Arm.STABLE, Arm.SHADOW))
    return tx.execute(query.where(predictions.c.model == model).limit(1)).first() is not None


def read_log(tx: Connection, *, after: int = 0, limit: int | None = None) -> list[Prediction]:
    """Predictions in the order in which they were committed, from the one behind `after` on.

    Whoever goes on from the last `seq` that it was given sees every prediction once, whatever is written meanwhile.
    """
    query = select(predictions).where(predictions.c.seq > after).order_by(predictions.c.seq).limit(limit)
    return [from_row(row) for row in tx.execute(query).mappings()]


def list_answers(tx: Connection, id: str) -> list[Prediction]:
    """What was answered under this id, by each revision that scored it, in the order of their arms."""
    query = select(predictions).where(predictions.c.id == id).order_by(predictions.c.arm)
    return [from_row(row) for row in tx.execute(query).mappings()]


def count_predictions(tx: Connection, model: str, version: int) -> int:
    """How many rows a version has scored, at all endpoints and on every arm."""
    query = select(func.count()).select_from(predictions)
    return tx.execute(
        query.where(predictions.c.model == model, predictions.c.version == version)
    ).scalar_one()


def count_asked(tx: Connection) -> int:
    """How many predictions were asked for; what several revisions have scored is one."""
    return tx.execute(select(func.count(predictions.c.id.distinct()))).scalar_one()


def last_seq(tx: Connection) -> int:
    """Where the inference log ends now; 0 while it is empty."""
    return tx.execute(select(func.max(predictions.c.seq))).scalar_one() or 0


def order(prediction: Prediction) -> tuple[datetime, str, str, str]:
    """The one order that monitors rely on; sorted here, because each database compares text in its own way."""
    return (prediction.time, prediction.request_id, prediction.arm.value, prediction.id)


def window(
    query: Select[Any],
    endpoint: str,
    since: datetime | None,
    until: datetime | None,
    version: int | None,
    arms: Iterable[Arm],
) -> Select[Any]:
    """Narrow a query over `predictions` to one endpoint's window."""
    table = predictions.c
    query = query.where(table.endpoint == endpoint, table.arm.in_([arm.value for arm in arms]))
    if since is not None:
        query = query.where(table.time >= since)
    if until is not None:
        query = query.where(table.time < until)
    if version is not None:
        query = query.where(table.version == version)
    return query


def from_row(row: RowMapping) -> Prediction:
    """The prediction that a row of the table holds."""
    outputs = unpacked_outputs(row["id"], row["outputs"])
    try:
        inputs = _inputs(row["inputs"])
    except msgspec.MsgspecError as error:
        raise _damaged(row["id"], error) from error
    values = {name: row[name] for name in ("seq", *_PLAIN)}
    return Prediction(
        arm=Arm(row["arm"]), outcome=Outcome(row["outcome"]), inputs=inputs, outputs=outputs, **values
    )


def unpacked_outputs(id: str, packed: bytes | None) -> Mapping[str, Value] | None:
    """The outputs that a row of the table holds; None when there was no answer."""
    try:
        return None if packed is None else _outputs(packed)
    except msgspec.MsgspecError as error:
        raise _damaged(id, error) from error


def _damaged(id: str, error: msgspec.MsgspecError) -> Corrupted:
    return Corrupted(
        f"the values of prediction {id} cannot be read: {error}.",
        next_step="restore the database from a backup.",
    )


def _to_row(prediction: Prediction) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(prediction, name) for name in _PLAIN}
    row["arm"] = prediction.arm.value
    row["outcome"] = prediction.outcome.value
    row["inputs"] = _encode(prediction.inputs)
    row["outputs"] = None if prediction.outputs is None else _encode(prediction.outputs)
    return row
