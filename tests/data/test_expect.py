"""Declared expectations: checked once when they are written, and held against every row."""

import math
from collections import Counter
from typing import get_args

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everloop.data.expect import breaks, judge_expectations
from everloop.errors import InvalidInput
from everloop.records.data import DataVerdict
from everloop.records.datasets import Dataset, Expectation, between, not_null, one_of, unique

VALUES = st.lists(st.none() | st.integers(-3, 3).map(float) | st.just(math.nan), max_size=30)


def rows_of(expectation: Expectation, values: list[float | None]) -> list[int]:
    """Rows that break it, by the table."""
    table = pa.table({"x": pa.array(values, pa.float64(), from_pandas=False)})
    broken = breaks(expectation, table)
    assert len(broken.first) == min(broken.rows, 5)
    return [*broken.first, *[-1] * (broken.rows - len(broken.first))]


def first_five(rows: list[int]) -> list[int]:
    """The first five, and -1 for each one more."""
    return [*rows[:5], *[-1] * (len(rows) - 5)]


@given(VALUES)
def test_rows_are_held_against_expectations_as_by_hand(values: list[float | None]) -> None:
    """Each expectation breaks in the rows in which a loop over them says so; nulls and NaN as documented."""
    known = [(row, x) for row, x in enumerate(values) if x is not None]
    outside = [row for row, x in known if not -1 <= x <= 2]
    assert rows_of(between("x", -1, 2), values) == first_five(outside)
    assert rows_of(between("x", None, 2), values) == first_five([row for row, x in known if not x <= 2])
    assert rows_of(one_of("x", 0, 1), values) == first_five([row for row, x in known if x not in (0, 1)])
    gaps = [row for row, x in enumerate(values) if x is None or math.isnan(x)]
    assert rows_of(not_null("x"), values) == first_five(gaps)


@given(st.lists(st.tuples(st.none() | st.integers(0, 2), st.none() | st.sampled_from("ab")), max_size=30))
def test_repeats_are_all_but_the_first(pairs: list[tuple[int | None, str | None]]) -> None:
    """Over several columns; a row with a null among them repeats nothing."""
    table = pa.table(
        {"a": pa.array([a for a, _ in pairs], pa.int64()), "b": pa.array([b for _, b in pairs], pa.string())}
    )
    complete = Counter(pair for pair in pairs if None not in pair)
    assert breaks(unique("a", "b"), table).rows == sum(count - 1 for count in complete.values())


def test_a_few_broken_rows_are_told_and_tolerated() -> None:
    """Up to the tolerated share the verdict is pass; an expectation may have a share of its own."""
    table = pa.table({"x": [1.0] * 99 + [9.0]})
    verdicts = {
        tolerated: judge_expectations([between("x", 0, 2, tolerated=tolerated)], table)[0].verdict
        for tolerated in (None, 0.02, 0.0)
    }
    assert verdicts == {None: DataVerdict.PASS, 0.02: DataVerdict.PASS, 0.0: DataVerdict.QUARANTINE}
    assert judge_expectations([between("x", 0, 9)], table) == ()


@pytest.mark.parametrize(
    ("expectation", "told"),
    [
        (between("gone", 0, 1), "gone: missing; the dataset declares it"),
        (between("text", 0, 1), "text: string cannot be between 0 and 1"),
        (one_of("text", 1, 2), "text: string cannot be one of 1, 2"),
        (one_of("number", "a"), "number: int64 cannot be one of 'a'"),
        (unique("nested"), "nested: list<item: int64> cannot be compared"),
    ],
)
def test_an_expectation_that_cannot_be_asked_stops(expectation: Expectation, told: str) -> None:
    """A check that cannot be evaluated has failed, and says why."""
    table = pa.table({"text": ["a"], "number": [1], "nested": [[1]]})
    (finding,) = judge_expectations([expectation], table)
    assert (finding.verdict, finding.message) == (DataVerdict.STOP, told)


@pytest.mark.parametrize(
    "values",
    [
        pa.array(["a", "x", None]),
        pa.array(["a", "x", None], pa.large_string()),
        pa.array(["a", "x", None], pa.string_view()),
        pa.array(["a", "x", None]).dictionary_encode(),
        pa.chunked_array([["a"], ["x", None]]),
    ],
)
def test_messages_name_rows_whatever_the_encoding(values: pa.Array) -> None:
    """Index and value of the first offenders are shown."""
    (finding,) = judge_expectations([one_of("x", "a", "b")], pa.table({"x": values}))
    assert finding.message == "x: 1 of 3 rows (33.3 %) not one of a, b; first: row 1 (x)"


def test_columns_without_rows_or_type_break_nothing() -> None:
    """An empty table, and a column of nothing but nulls, are fine unless nulls are the question."""
    expectations: list[Expectation] = [between("x", 0, 1), one_of("x", 1), unique("x")]
    for column in (pa.array([], pa.float64()), pa.nulls(3), pa.nulls(3, pa.float64())):
        assert judge_expectations(expectations, pa.table({"x": column})) == ()
    assert breaks(not_null("x"), pa.table({"x": pa.nulls(3)})).rows == 3


def test_nanosecond_times_can_be_shown() -> None:
    """Values that Python's datetime cannot hold do not break the message."""
    times = pa.array([1, 1], pa.timestamp("ns", "UTC"))
    (finding,) = judge_expectations([unique("x")], pa.table({"x": times}))
    assert "row 1 (1970-01-01T00:00:00.000000001Z)" in finding.message


@pytest.mark.parametrize(
    "declare",
    [
        lambda: between("x", None, None),
        lambda: between("x", 2, 1),
        lambda: between("x", 0, math.nan),
        lambda: between("x", False, 1),
        lambda: between("", 0, 1),
        lambda: between("x", 0, 1, tolerated=1.5),
        lambda: one_of("x"),
        lambda: one_of("x", "a", 1),
        lambda: one_of("x", True, 1),
        lambda: one_of("x", math.nan),
        lambda: unique(),
        lambda: not_null(""),
        lambda: Dataset("Flights", keys=[], event_time=None),
        lambda: Dataset("1flights", keys=[], event_time=None),
        lambda: Dataset("flights\n", keys=[], event_time=None),
        lambda: Dataset("flights", keys=["id", "id"], event_time=None),
        lambda: Dataset("flights", keys=[""], event_time=None),
        lambda: Dataset("flights", keys=[], event_time=None, created_time="seen_at"),
        lambda: Dataset("flights", keys=[], event_time=None, expect=["id"]),  # type: ignore[list-item]
    ],
)
def test_a_declaration_that_makes_no_sense_is_refused(declare: object) -> None:
    """The mistake is found when the project is read, not when the first batch arrives."""
    assert callable(declare)
    with pytest.raises(InvalidInput):
        declare()


def test_every_kind_of_expectation_can_be_declared() -> None:
    """A dataset takes each that there is; whoever adds one names it in one place."""
    each = (between("x", 0, 1), one_of("x", 1), not_null("x"), unique("x"))
    assert {type(expectation) for expectation in each} == set(get_args(Expectation))
    assert Dataset("flights", keys=[], event_time=None, expect=each).expect == each


def test_a_dataset_is_a_value() -> None:
    """Lists become tuples, a lone key is one key, and equal declarations are equal and hashable."""
    a = Dataset("flights", keys="id", event_time="at", expect=[unique("id")])
    b = Dataset("flights", keys=["id"], event_time="at", expect=(unique("id"),))
    assert a == b and hash(a) == hash(b) and a.keys == ("id",) and a.declared() == ("id", "at")
