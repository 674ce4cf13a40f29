"""Promises of the inference log: nothing that fits is lost, nothing waits, and what is dropped is counted."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from everloop.errors import NotReady
from everloop.monitoring.inference_log import (
    InferenceLog,
    count_asked,
    count_predictions,
    insert_predictions,
    list_answers,
    logged,
    read_log,
)
from everloop.records.serving import Arm, Outcome, Prediction
from everloop.settings import Settings
from everloop.storage.database import Database
from everloop.storage.schema import tables

NOON = datetime(2013, 1, 31, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)
PREDICTION = Prediction(
    id="p",
    request_id="r",
    unit="r",
    endpoint="late",
    model="late",
    version=1,
    arm=Arm.STABLE,
    share=100,
    time=NOON,
    arrived_at=LATER,
    inputs={"dep_hour": 7, "carrier": "UA"},
    outputs={"late": 0.25},
    outcome=Outcome.ANSWERED,
    error=None,
    seconds=0.001,
)
_fresh = count()


def some(number: int) -> list[Prediction]:
    """So many predictions that differ in id and request."""
    return [replace(PREDICTION, id=f"p{n:06}", request_id=f"r{n:06}") for n in range(number)]


def read(database: Database, endpoint: str = "late") -> list[Prediction]:
    """Everything in the log of an endpoint."""
    with database.read() as tx:
        return logged(tx, endpoint=endpoint)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=9)
)
VALUES = st.recursive(
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)
MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
TEXTS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20)
PREDICTIONS = st.builds(
    Prediction,
    id=TEXTS,
    request_id=TEXTS,
    unit=TEXTS,
    endpoint=st.just("late"),
    model=st.just("late"),
    version=st.integers(1, 9),
    arm=st.sampled_from(Arm),
    share=st.integers(0, 100),
    time=MOMENTS,
    inputs=st.dictionaries(st.text(max_size=9), SCALARS, max_size=5),
    arrived_at=MOMENTS,
    outputs=st.none() | st.dictionaries(st.text(max_size=9), VALUES, min_size=1, max_size=3),
    outcome=st.sampled_from(Outcome),
    error=st.none() | TEXTS,
    seconds=st.floats(0, 1),
)


class TestInferenceLog:
    """What every database must keep."""

    @pytest.fixture
    def empty(self, new_place: Settings) -> Iterator[Database]:
        """A database without tables, of each kind."""
        new_place.folder.mkdir()
        database = Database(new_place.storage.database, folder=new_place.folder)
        yield database
        database.close()

    @pytest.fixture
    def database(self, empty: Database) -> Database:
        """A database with its tables."""
        with empty.write() as tx:
            tables.create_all(tx)
        return empty

    @pytest.fixture
    def log(self, database: Database) -> Iterator[InferenceLog]:
        """A log that is closed at the end."""
        log = InferenceLog(database, every=0.01)
        yield log
        log.close()

    def test_what_was_answered_is_found_and_counted(self, log: InferenceLog, database: Database) -> None:
        """By a prediction's id, with each revision that scored it; a request counts once, a version's rows each."""
        shadow = replace(PREDICTION, arm=Arm.SHADOW, version=2)
        for prediction in (
            PREDICTION,
            shadow,
            replace(PREDICTION, id="q"),
            replace(PREDICTION, id="P", version=2),
        ):
            log.append(prediction)
        log.flush()
        with database.read() as tx:
            assert list_answers(tx, "p") == [shadow, PREDICTION]
            assert list_answers(tx, "nobody") == []
            assert [count_predictions(tx, *of) for of in (("late", 1), ("late", 2), ("on-time", 1))] == [
                2,
                2,
                0,
            ]
            assert count_asked(tx) == 3

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(given_predictions=st.lists(PREDICTIONS, max_size=6, unique_by=lambda p: (p.id, p.arm)))
    def test_what_was_appended_is_read_back_in_the_order_of_time_and_request(
        self, log: InferenceLog, database: Database, given_predictions: list[Prediction]
    ) -> None:
        """Every field survives, and the order does not depend on the order of arrival."""
        endpoint = f"endpoint-{next(_fresh)}"
        sent = [replace(p, endpoint=endpoint, id=f"{endpoint}{p.id}") for p in given_predictions]
        for prediction in sent:
            log.append(prediction)
        log.flush()
        expected = sorted(sent, key=lambda p: (p.time, p.request_id, p.arm.value, p.id))
        assert read(database, endpoint) == expected

    def test_close_leaves_nothing_in_memory(self, database: Database) -> None:
        """When close returns, everything that was appended is in the database."""
        log = InferenceLog(database, group=7, every=3600.0)
        for prediction in some(100):
            log.append(prediction)
        log.close()
        assert read(database) == some(100)
        assert (log.pending, log.dropped) == (0, 0)

    def test_threads_append_side_by_side(self, database: Database) -> None:
        """Predictions of several threads are all there, once."""
        log = InferenceLog(database, group=10, every=0.001)
        everything = some(400)

        def append(every_fourth: list[Prediction]) -> None:
            for prediction in every_fourth:
                log.append(prediction)

        parts = [threading.Thread(target=append, args=(everything[k::4],)) for k in range(4)]
        for part in parts:
            part.start()
        for part in parts:
            part.join()
        log.close()
        assert read(database) == everything

    def test_a_failing_database_is_asked_again_and_nothing_is_lost(self, empty: Database) -> None:
        """Predictions wait, the reason is told, and they are written once the database works."""
        log = InferenceLog(empty, group=3, every=0.01)
        for prediction in some(10):
            log.append(prediction)
        with pytest.raises(NotReady, match="10 predictions are not in the database"):
            log.flush(timeout=0.1)
        assert log.error is not None and "predictions" in log.error
        with empty.write() as tx:
            tables.create_all(tx)
        log.flush()
        assert read(empty) == some(10)
        assert (log.pending, log.dropped) == (0, 0)
        assert not log.error
        log.close()

    def test_more_than_fits_is_dropped_and_counted(self, empty: Database) -> None:
        """Appending never waits: with a database that takes nothing, what exceeds the capacity is counted."""
        log = InferenceLog(empty, capacity=10, every=0.01)
        log.append(PREDICTION)
        with pytest.raises(NotReady):
            log.flush(timeout=0.1)
        for prediction in some(14):
            log.append(prediction)
        assert (log.pending, log.dropped) == (10, 5)
        with pytest.raises(NotReady, match="10 predictions could not be written"):
            log.close(timeout=0.1)

    def test_a_row_that_does_not_fit_is_dropped_alone(self, log: InferenceLog, database: Database) -> None:
        """One prediction that no database takes is counted, and its neighbours are kept."""
        rows = some(5)
        for prediction in [*rows[:2], replace(PREDICTION, time=datetime(2013, 1, 1)), *rows[2:]]:
            log.append(prediction)
        log.flush()
        assert read(database) == rows
        assert log.dropped == 1

    def test_the_same_prediction_twice_is_one_row(self, log: InferenceLog, database: Database) -> None:
        """A commit that was repeated because its answer got lost changes nothing."""
        for prediction in some(3) + some(3):
            log.append(prediction)
        log.flush()
        assert read(database) == some(3)

    def test_a_window_is_closed_on_the_left_and_open_on_the_right(
        self, log: InferenceLog, database: Database
    ) -> None:
        """Neighbouring windows share no prediction and miss none; version and arm narrow them."""
        hours = [
            replace(PREDICTION, id=str(h), version=h % 2, time=NOON + timedelta(hours=h)) for h in range(4)
        ]
        for prediction in hours:
            log.append(prediction)
        log.append(replace(hours[1], arm=Arm.SHADOW))
        log.flush()
        with database.read() as tx:
            middle = logged(
                tx,
                endpoint="late",
                since=NOON + timedelta(hours=1),
                until=NOON + timedelta(hours=3),
                arms=[Arm.STABLE],
            )
            assert middle == hours[1:3]
            assert logged(tx, endpoint="late", version=1, arms=[Arm.SHADOW]) == [
                replace(hours[1], arm=Arm.SHADOW)
            ]
            assert logged(tx, endpoint="other") == []

    def test_a_reader_that_goes_on_from_a_number_misses_nothing(self, database: Database) -> None:
        """A writer that commits late can have no number below one that a reader has passed."""
        wrote, commit = threading.Event(), threading.Event()

        def write_late() -> None:
            with database.log() as tx:
                insert_predictions(tx, some(1))
                wrote.set()
                assert commit.wait(30)

        def write_meanwhile() -> None:
            with database.log() as tx:
                insert_predictions(tx, [replace(PREDICTION, id="meanwhile")])

        late = threading.Thread(target=write_late)
        late.start()
        assert wrote.wait(30)
        other = threading.Thread(target=write_meanwhile)
        other.start()
        other.join(timeout=0.3)  # it waits for its turn, or it is done
        seen: list[Prediction] = []
        for last in (False, True):
            with database.read() as tx:
                seen += read_log(tx, after=seen[-1].seq if seen else 0)
            if not last:
                commit.set()
                late.join()
                other.join()
        assert [prediction.id for prediction in seen] == ["p000000", "meanwhile"]
        assert seen[0].seq < seen[1].seq

    def test_the_log_can_be_read_in_pieces(self, log: InferenceLog, database: Database) -> None:
        """Each piece begins behind the last one, in the order of arrival."""
        for prediction in some(5):
            log.append(prediction)
        log.flush()
        with database.read() as tx:
            first = read_log(tx, limit=2)
            rest = read_log(tx, after=first[-1].seq)
        assert [*first, *rest] == some(5)
