"""The true answers, whenever they come: before their prediction, late, twice, or corrected."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import count

from sqlalchemy import Connection, and_, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from everloop.monitoring.inference_log import from_row, order, window
from everloop.records.serving import Arm, Label, LabelValue, Prediction
from everloop.storage.database import in_groups
from everloop.storage.schema import labels, predictions


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelReceipt:
    """What became of some labels; the three numbers add up to how many came."""

    accepted: int = 0
    duplicates: int = 0
    """The same value was there already."""
    corrections: int = 0
    """Another value was there and has been replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """A logged prediction beside its label; both are None while the label has not come."""

    prediction: Prediction
    label: LabelValue | None
    labelled_at: datetime | None
    """When the true answer was known, by the sender's clock."""


def record_labels(tx: Connection, given: Sequence[Label], received_at: datetime) -> LabelReceipt:
    """Keep labels, known prediction or not; the last word on a prediction counts.

    A label whose prediction has not been logged yet waits for it. The same value again changes nothing, so a
    sender that is unsure may send again; another value replaces the old one and is counted on the row. Labels are numbered
    in the order in which they are recorded, a corrected one anew, so that a reader can go on from where it was; the
    transaction must be an exclusive one (`Database.write`).
    """
    later: list[Label] = []
    accepted = 0
    places = count(last_label_seq(tx) + 1)
    for chunk in in_groups(given):
        first = {label.prediction_id: label for label in reversed(chunk)}
        new = _insert(tx, list(first.values()), received_at, places)
        accepted += len(new)
        later += [
            label
            for label in chunk
            if label.prediction_id not in new or first[label.prediction_id] is not label
        ]
    corrections = _correct(tx, later, received_at, places)
    return LabelReceipt(accepted=accepted, duplicates=len(later) - corrections, corrections=corrections)


def last_label_seq(tx: Connection) -> int:
    """The place of the newest label or correction; 0 while there is none."""
    return tx.execute(select(func.max(labels.c.seq))).scalar_one() or 0


def list_labelled_since(tx: Connection, after: int, limit: int) -> list[tuple[int, str]]:
    """Place and prediction of the labels that were recorded or corrected behind `after`, in that order."""
    query = select(labels.c.seq, labels.c.prediction_id).where(labels.c.seq > after)
    return [(row.seq, row.prediction_id) for row in tx.execute(query.order_by(labels.c.seq).limit(limit))]


def _insert(tx: Connection, given: Sequence[Label], received_at: datetime, places: Iterator[int]) -> set[str]:
    """Insert those that are not there, and say which they were."""
    dialect = postgresql if tx.dialect.name == "postgresql" else sqlite
    rows = [
        {
            "prediction_id": label.prediction_id,
            "seq": next(places),
            "value": label.value,
            "time": label.time,
            "received_at": received_at,
            "corrections": 0,
        }
        for label in given
    ]
    # One statement decides and reports, so two senders at the same moment cannot both be first.
    statement = dialect.insert(labels).values(rows).on_conflict_do_nothing(index_elements=["prediction_id"])
    return set(tx.execute(statement.returning(labels.c.prediction_id)).scalars())


def _correct(tx: Connection, later: Sequence[Label], received_at: datetime, places: Iterator[int]) -> int:
    """Replace what differs; returns how many did."""
    corrections = 0
    for label in later:
        change = (
            update(labels)
            .where(labels.c.prediction_id == label.prediction_id, labels.c.value != label.value)
            .values(
                value=label.value,
                seq=next(places),
                time=label.time,
                received_at=received_at,
                corrections=labels.c.corrections + 1,
            )
        )
        corrections += tx.execute(change).rowcount
    return corrections


def labelled(
    tx: Connection,
    *,
    endpoint: str,
    since: datetime | None = None,
    until: datetime | None = None,
    version: int | None = None,
    arms: Iterable[Arm] = tuple(Arm),
    as_of: datetime | None = None,
) -> list[Labelled]:
    """Predictions with `since <= time < until` and their labels, ordered by time, request, arm and id.

    Predictions without a label are in the list too, so that coverage can be told. All arms by default: a request
    that two revisions scored gives one row for each. With `as_of`, only labels received until then are seen; a
    corrected label was received when its correction was.
    """
    received = labels.c.prediction_id == predictions.c.id
    if as_of is not None:
        received = and_(received, labels.c.received_at <= as_of)
    query = select(predictions, labels.c.value.label("label"), labels.c.time.label("labelled_at"))
    query = query.select_from(predictions.outerjoin(labels, received))
    query = window(query, endpoint, since, until, version, arms)
    rows = [
        Labelled(prediction=from_row(row), label=row["label"], labelled_at=row["labelled_at"])
        for row in tx.execute(query).mappings()
    ]
    return sorted(rows, key=lambda row: order(row.prediction))


def count_labels(tx: Connection) -> int:
    """How many predictions have a label, or have one waiting for them."""
    return tx.execute(select(func.count()).select_from(labels)).scalar_one()
