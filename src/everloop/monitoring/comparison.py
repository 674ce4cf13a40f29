"""What the inference log and the labels say of two versions that are compared: read on from a place, or counted whole.

What belongs to a comparison is decided by model, version, share and arrival. The `time` and the `id` of a request are the
client's choice: a canary that fails must not look well because its requests are dated last year.

A client meets the arm that it was assigned to; a shadow scores beside it. Where a canary fails, the stable revision
answers for it, and its row stands behind the canary's: so a request is counted by the row that is its last word (one whose
last word was lost with its server is not), and of a unit's rows the first in the log is the arm that it met.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, case, func, not_, select

from everloop.monitoring.inference_log import last_seq, unpacked_outputs
from everloop.records.serving import Arm, LabelValue, Outcome, Value
from everloop.storage.database import in_groups
from everloop.storage.schema import labels, predictions

_MOST_ROWS = 1_000
"""That are held at once while the whole log is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two versions of a model behind an endpoint, from a place in the log and a moment on."""

    endpoint: str
    model: str
    stable: int
    canary: int
    log_seq: int
    since: datetime


class Scored(NamedTuple):
    """One row of the log: who met which arm, and whether that failed."""

    seq: int
    id: str
    unit: str
    arm: Arm
    share: int
    """Percent of traffic that the arm had; of a shadow, the arm that it stood beside."""
    failed: bool


class Pair(NamedTuple):
    """One request that both versions scored and whose label is known."""

    id: str
    percent: int
    """Of traffic that the canary had."""
    canary: Value | None
    """Its main output; None when it gave no answer."""
    stable: Value | None
    label: LabelValue


class Counts(NamedTuple):
    """How many units, or requests, there were of one kind."""

    arm: Arm
    share: int
    failed: bool
    number: int


def read_scored(
    tx: Connection, comparison: Comparison, *, after: int, limit: int
) -> tuple[list[Scored], int]:
    """The next rows of a comparison behind `after`, in the order of the log, and the place up to which that is all."""
    end, row = last_seq(tx), predictions.c
    query = select(row.seq, row.id, row.unit, row.arm, row.share, row.outcome)
    query = query.where(*_belongs(predictions, comparison, after=after), row.seq <= end)
    found = [
        Scored(seq, id, unit, Arm(arm), share, outcome != Outcome.ANSWERED.value)
        for seq, id, unit, arm, share, outcome in tx.execute(query.order_by(row.seq).limit(limit))
    ]
    return found, end if len(found) < limit else found[-1].seq


def read_pairs(tx: Connection, comparison: Comparison, ids: Iterable[str]) -> list[Pair]:
    """Those of these predictions that both versions scored and that have a label.

    Asked by their ids and put together here: a database that has counted its rows long ago, or never, would join them by
    reading the whole log.
    """
    return [pair for group in in_groups(list(ids)) for pair in _paired(tx, comparison, group)]


def stream_pairs(tx: Connection, comparison: Comparison) -> Iterator[Sequence[Pair]]:
    """Every pair of a comparison, in groups, so that a log of any length fits into memory."""
    group: list[Pair] = []
    for pair in _joined(tx, comparison):
        group.append(pair)
        if len(group) == _MOST_ROWS:
            yield group
            group = []
    if group:
        yield group


def count_firsts(tx: Connection, comparison: Comparison, *, failed: bool = False) -> list[Counts]:
    """How many units met which arm at their first request, or with `failed` at their first failure, and how it went."""
    row = predictions.c
    place = func.row_number().over(partition_by=row.unit, order_by=row.seq)
    query = select(row.arm, row.share, row.outcome, place.label("place"))
    query = query.where(*_met(comparison), *([_failed()] if failed else []))
    return _counted(tx, query.subquery("placed"), first=True)


def count_requests(tx: Connection, comparison: Comparison) -> list[Counts]:
    """How many requests there were, by the row that was the last word on each."""
    row = predictions.c
    answered_for = and_(row.arm == Arm.CANARY.value, _failed())
    query = select(row.arm, row.share, row.outcome).where(*_met(comparison), not_(answered_for))
    return _counted(tx, query.subquery("placed"), first=False)


def find_first_unit(tx: Connection, comparison: Comparison) -> str | None:
    """On whose behalf the first request was."""
    query = select(predictions.c.unit).where(*_met(comparison)).order_by(predictions.c.seq).limit(1)
    return tx.execute(query).scalar_one_or_none()


def _paired(tx: Connection, comparison: Comparison, ids: Sequence[str]) -> Iterator[Pair]:
    query = select(labels.c.prediction_id, labels.c.value).where(labels.c.prediction_id.in_(ids))
    truth = {id: value for id, value in tx.execute(query)}
    if not truth:
        return
    row = predictions.c
    scored = select(row.id, row.seq, row.endpoint, row.model, row.version, row.arm, row.share, row.arrived_at)
    scored = scored.add_columns(row.outputs).where(row.id.in_(list(truth)))
    canary: dict[str, Any] = {}
    stable: dict[str, Any] = {}
    for found in tx.execute(scored):
        if _is_part(found, comparison):
            (canary if found.version == comparison.canary else stable)[found.id] = found
    for id, one in canary.items():
        if id in stable:
            yield _pair(id, one.arm, one.share, one.outputs, stable[id].outputs, truth[id])


def _joined(tx: Connection, comparison: Comparison) -> Iterator[Pair]:
    canary, stable = predictions.alias("canary"), predictions.alias("stable")
    query = select(
        canary.c.id,
        canary.c.arm,
        canary.c.share,
        canary.c.outputs,
        stable.c.outputs.label("others"),
        labels.c.value.label("label"),
    )
    query = query.select_from(
        canary.join(stable, stable.c.id == canary.c.id).join(labels, labels.c.prediction_id == canary.c.id)
    )
    query = query.where(
        *_belongs(canary, comparison, after=comparison.log_seq),
        canary.c.version == comparison.canary,
        *_belongs(stable, comparison, after=comparison.log_seq),
        stable.c.version == comparison.stable,
    )
    for id, arm, share, mine, others, label in tx.execute(query.execution_options(yield_per=_MOST_ROWS)):
        yield _pair(id, arm, share, mine, others, label)


def _pair(
    id: str, arm: str, share: int, canary: bytes | None, stable: bytes | None, label: LabelValue
) -> Pair:
    # A canary that only looked on stood beside the stable arm, and its row has that arm's share.
    percent = 100 - share if arm == Arm.SHADOW.value else share
    return Pair(id, percent, _main(id, canary), _main(id, stable), label)


def _main(id: str, packed: bytes | None) -> Value | None:
    outputs = unpacked_outputs(id, packed)
    return None if outputs is None else next(iter(outputs.values()))


def _counted(tx: Connection, placed: Any, *, first: bool) -> list[Counts]:
    failed = case((placed.c.outcome == Outcome.ANSWERED.value, 0), else_=1).label("failed")
    query = select(placed.c.arm, placed.c.share, failed, func.count().label("number"))
    if first:
        query = query.where(placed.c.place == 1)
    query = query.group_by(placed.c.arm, placed.c.share, failed)
    return [Counts(Arm(arm), share, bool(bad), number) for arm, share, bad, number in tx.execute(query)]


def _met(comparison: Comparison) -> tuple[ColumnElement[bool], ...]:
    """What a client has met, and no shadow."""
    belongs = _belongs(predictions, comparison, after=comparison.log_seq)
    return (*belongs, predictions.c.arm != Arm.SHADOW.value)


def _failed() -> ColumnElement[bool]:
    return predictions.c.outcome != Outcome.ANSWERED.value


def _belongs(table: Any, comparison: Comparison, *, after: int) -> tuple[ColumnElement[bool], ...]:
    """What makes a row behind a place in the log part of a comparison."""
    row = table.c
    return (
        row.seq > after,
        # Told as an expression, so that SQLite walks along the log: the index of endpoint and time would give it everything
        # that the endpoint was ever asked.
        row.endpoint.concat("") == comparison.endpoint,
        row.model == comparison.model,
        row.version.in_((comparison.stable, comparison.canary)),
        row.share.between(1, 99),  # at 0 and at 100 there was nothing to compare with
        row.arrived_at >= comparison.since,
    )


def _is_part(row: Any, comparison: Comparison) -> bool:
    """The same of a row that is there."""
    return (
        row.seq > comparison.log_seq
        and row.endpoint == comparison.endpoint
        and row.model == comparison.model
        and row.version in (comparison.stable, comparison.canary)
        and 1 <= row.share <= 99
        and row.arrived_at >= comparison.since
    )
