"""Promises of labels: whatever comes, in whatever order and however often, the last word on a prediction counts."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from everloop.errors import InvalidInput
from everloop.monitoring.inference_log import insert_predictions
from everloop.monitoring.labels import (
    Labelled,
    LabelReceipt,
    labelled,
    last_label_seq,
    list_labelled_since,
    record_labels,
)
from everloop.records.serving import Arm, Label, LabelValue, Outcome, Prediction
from everloop.settings import Settings
from everloop.storage.database import Database
from everloop.storage.schema import labels, tables

NOON = datetime(2013, 1, 31, 12, tzinfo=UTC)
LATER = NOON + timedelta(days=1)
PREDICTION = Prediction(
    id="p",
    request_id="r",
    unit="r",
    endpoint="late",
    model="late",
    version=1,
    arm=Arm.STABLE,
    share=80,
    time=NOON,
    arrived_at=LATER,
    inputs={"dep_hour": 7},
    outputs={"late": 0.25},
    outcome=Outcome.ANSWERED,
    error=None,
    seconds=0.001,
)
_fresh = count()


def label(prediction_id: str, value: LabelValue, time: datetime = NOON) -> Label:
    """A label."""
    return Label(prediction_id=prediction_id, value=value, time=time)


def one_by_one(kept: dict[str, tuple[LabelValue, int]], given_labels: Sequence[Label]) -> LabelReceipt:
    """The slow and obvious reference: a dictionary of value and corrections, changed label by label."""
    accepted = duplicates = corrections = 0
    for each in given_labels:
        if each.prediction_id not in kept:
            kept[each.prediction_id] = (each.value, 0)
            accepted += 1
        elif kept[each.prediction_id][0] == each.value:
            duplicates += 1
        else:
            kept[each.prediction_id] = (each.value, kept[each.prediction_id][1] + 1)
            corrections += 1
    return LabelReceipt(accepted=accepted, duplicates=duplicates, corrections=corrections)


LABELS = st.builds(
    label, st.sampled_from("abcde"), st.sampled_from([0.0, 1.0, 0.5, "gold", "", [0.5, 2.0], ["a", "b"]])
)


class TestLabels:
    """What every database must keep."""

    @pytest.fixture
    def database(self, new_place: Settings) -> Iterator[Database]:
        """A database with its tables, of each kind."""
        new_place.folder.mkdir()
        database = Database(new_place.storage.database, folder=new_place.folder)
        with database.write() as tx:
            tables.create_all(tx)
        yield database
        database.close()

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(batches=st.lists(st.lists(LABELS, max_size=8), max_size=4))
    def test_any_sequence_of_labels_ends_like_the_reference(
        self, database: Database, batches: list[list[Label]]
    ) -> None:
        """Receipts, values and counts of corrections are those of labels taken one by one."""
        prefix = f"{next(_fresh)}-"
        kept: dict[str, tuple[LabelValue, int]] = {}
        for batch in batches:
            named = [replace(each, prediction_id=prefix + each.prediction_id) for each in batch]
            with database.write() as tx:
                assert record_labels(tx, named, LATER) == one_by_one(kept, named)
        with database.read() as tx:
            rows = tx.execute(select(labels).where(labels.c.prediction_id.startswith(prefix))).mappings()
            assert {row["prediction_id"]: (row["value"], row["corrections"]) for row in rows} == kept

    @settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        sent=st.lists(
            st.lists(st.tuples(st.integers(0, 4), st.sampled_from([0.0, 1.0])), max_size=6), max_size=6
        ),
        most=st.integers(1, 4),
    )
    def test_a_reader_of_labels_that_goes_on_from_its_place_misses_no_change(
        self, database: Database, sent: list[list[tuple[int, float]]], most: int
    ) -> None:
        """Between any two sends it reads on, so many at once: what it has seen last of each prediction is what is kept."""
        name = f"reader-{next(_fresh)}"
        with database.read() as tx:
            place = last_label_seq(tx)
        seen: dict[str, LabelValue] = {}
        kept: dict[str, LabelValue] = {}
        for batch in sent:
            with database.write() as tx:
                record_labels(tx, [label(f"{name}-{which}", value) for which, value in batch], NOON)
            while True:
                with database.read() as tx:
                    news = list_labelled_since(tx, place, most)
                    kept = {row.prediction_id: row.value for row in tx.execute(select(labels))}
                seen |= {id: kept[id] for _, id in news}
                place = news[-1][0] if news else place
                if len(news) < most:
                    break
        assert (
            seen == {id: value for id, value in kept.items() if id.startswith(f"{name}-")}
            if sent
            else not seen
        )

    def test_more_labels_than_one_statement_takes(self, database: Database) -> None:
        """Thousands of labels in one call, some of them twice, are all counted."""
        many = [label(f"p{n}", float(n % 2)) for n in range(1200)]
        with database.write() as tx:
            receipt = record_labels(tx, [*many, *many[:100]], LATER)
        assert receipt == LabelReceipt(accepted=1200, duplicates=100)

    def test_a_label_that_comes_before_its_prediction_waits_for_it(self, database: Database) -> None:
        """It is kept, and joined when the prediction is logged."""
        with database.write() as tx:
            record_labels(tx, [label("p", 1.0)], LATER)
        with database.write() as tx:
            insert_predictions(tx, [PREDICTION])
        with database.read() as tx:
            rows = labelled(tx, endpoint="late")
        assert rows == [Labelled(prediction=PREDICTION, label=1.0, labelled_at=NOON)]

    def test_every_arm_that_scored_a_request_gets_its_label(self, database: Database) -> None:
        """A shadow's score is joined with the same label as the answer, and unlabelled rows are listed too."""
        canary = replace(PREDICTION, arm=Arm.CANARY, version=2, share=20)
        shadow = replace(PREDICTION, arm=Arm.SHADOW, share=20)
        waiting = replace(PREDICTION, id="q", request_id="s")
        with database.write() as tx:
            insert_predictions(tx, [waiting, shadow, canary])
            record_labels(tx, [label("p", 0.0)], LATER)
        with database.read() as tx:
            rows = labelled(tx, endpoint="late")
            assert [(row.prediction, row.label) for row in rows] == [
                (canary, 0.0),
                (shadow, 0.0),
                (waiting, None),
            ]
            assert [row.prediction for row in labelled(tx, endpoint="late", version=2)] == [canary]

    def test_the_past_can_be_asked_as_it_was_known(self, database: Database) -> None:
        """With `as_of`, labels that were received later are not seen."""
        with database.write() as tx:
            insert_predictions(tx, [PREDICTION])
            record_labels(tx, [label("p", 1.0)], LATER)
        with database.read() as tx:
            (before,) = labelled(tx, endpoint="late", as_of=LATER - timedelta(seconds=1))
            (after,) = labelled(tx, endpoint="late", as_of=LATER)
        assert (before.label, after.label) == (None, 1.0)

    def test_a_label_that_is_no_number_is_refused(self) -> None:
        """Nobody could be judged by it."""
        with pytest.raises(InvalidInput, match="a label of inf is no label"):
            label("p", float("inf"))


def test_a_number_is_one_label_however_it_is_written() -> None:
    """A judge and a monitor read the same of 1, 1.0 and True; a NaN is no label, wherever it stands."""
    assert all(type(label("p", value).value) is float for value in (1, 1.0, True))
    assert label("p", [1, ["a", True]]).value == [1.0, ["a", 1.0]]
    for value in (float("nan"), float("inf"), [0.5, float("nan")]):
        with pytest.raises(InvalidInput, match="is no label"):
            label("p", value)
