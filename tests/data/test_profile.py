"""Profiles: right by a slow obvious count, additive, JSON, and unharmed by odd columns."""

import math
from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everloop.data.profile import (
    GROUPS,
    MOST_VALUES,
    ColumnProfile,
    Kind,
    Profile,
    groups_of,
    merge,
    merge_all,
    profile,
)
from everloop.errors import InvalidInput

NUMBERS = st.lists(st.none() | st.floats(width=32) | st.integers(-5, 5).map(float), max_size=40)
TEXTS = st.lists(st.none() | st.text(max_size=3), max_size=40)


def one(values: pa.Array | list[object], edges: tuple[float, ...] = ()) -> ColumnProfile:
    """Profile of a table with one column."""
    table = pa.table({"x": values})
    return profile(table, edges={"x": edges} if edges else None).columns["x"]


def of_kind(array: pa.Array) -> Kind:
    """How a column is summed up."""
    return one(array).kind


@given(NUMBERS)
def test_numbers_are_summed_up_as_by_hand(values: list[float | None]) -> None:
    """Nulls, NaN, infinities, ends, moments, distinct values and the histogram agree with a loop over the rows."""
    column = one(pa.array(values, pa.float64(), from_pandas=False))
    finite = [x for x in values if x is not None and math.isfinite(x)]
    assert column.rows == len(values)
    assert column.nulls == values.count(None)
    assert column.nan == sum(x is not None and math.isnan(x) for x in values)
    assert column.infinite == sum(x is not None and math.isinf(x) for x in values)
    assert column.count == len(finite) and column.distinct == len(set(finite))
    assert column.unique == (len(set(finite)) == len(finite))
    assert column.increasing == (finite == sorted(finite))
    assert (column.min, column.max) == ((min(finite), max(finite)) if finite else (None, None))
    if finite:
        mean = math.fsum(finite) / len(finite)
        assert column.mean == pytest.approx(mean, rel=1e-12, abs=1e-9 * max(map(abs, finite)))
        assert column.m2 == pytest.approx(math.fsum((x - mean) ** 2 for x in finite), rel=1e-6, abs=1e-30)
    ends = (-math.inf, *column.edges, math.inf)
    by_hand = [sum(low < x <= high for x in finite) for low, high in pairwise(ends)]
    assert list(column.counts) == (by_hand if column.edges else [])


@given(TEXTS)
def test_categories_are_counted_as_by_hand(values: list[str | None]) -> None:
    """Counts of values and nulls agree with a Counter, the most frequent first."""
    column = one(pa.array(values, pa.string()))
    by_hand = Counter(value for value in values if value is not None)
    assert dict(column.values) == dict(by_hand) and column.nulls == values.count(None)
    assert column.distinct == len(by_hand) and column.other == 0
    assert list(column.values.values()) == sorted(by_hand.values(), reverse=True)


@given(NUMBERS, NUMBERS, TEXTS, TEXTS)
@settings(max_examples=200)
def test_profiles_add_up(
    xs: list[float | None], ys: list[float | None], ts: list[str | None], us: list[str | None]
) -> None:
    """Merging the profiles of two tables gives the profile of the tables laid end to end."""
    rows = min(len(xs), len(ts)), min(len(ys), len(us))
    a = pa.table({"x": pa.array(xs[: rows[0]], pa.float64()), "t": pa.array(ts[: rows[0]], pa.string())})
    b = pa.table({"x": pa.array(ys[: rows[1]], pa.float64()), "t": pa.array(us[: rows[1]], pa.string())})
    first = profile(a)
    merged = merge(first, profile(b, edges=first.edges()))
    whole = profile(pa.concat_tables([a, b]), edges=merged.edges())
    assert merged.rows == whole.rows and dict(merged.columns["t"].values) == dict(whole.columns["t"].values)
    x, expected = merged.columns["x"], whole.columns["x"]
    for name in ("rows", "nulls", "nan", "infinite", "increasing", "min", "max", "edges", "counts"):
        assert getattr(x, name) == getattr(expected, name), name
    assert x.unique in (None, expected.unique) and x.distinct in (None, expected.distinct)
    largest = max(abs(x.min or 0), abs(x.max or 0))
    assert (x.mean or 0) == pytest.approx(expected.mean or 0, rel=1e-9, abs=1e-9 * largest)
    assert x.m2 == pytest.approx(expected.m2, rel=1e-6, abs=1e-9 * largest**2)


def test_nothing_is_the_neutral_element() -> None:
    """Merging with an empty profile, and merging none at all, changes nothing."""
    some = profile(pa.table({"x": [1.0, 2.0], "t": ["a", None]}))
    assert merge_all([some]) == some == merge(some, profile(pa.table({"x": pa.array([], pa.float64())})))
    assert merge_all([]) == Profile(rows=0, columns={})


ODD = {
    "empty": pa.array([], pa.float64()),
    "one row": pa.array([3]),
    "all null": pa.array([None, None], pa.float64()),
    "no type": pa.array([None, None]),
    "nan": pa.array([math.nan, math.inf, -math.inf]),
    "int64": pa.array([-(2**63), 2**63 - 1]),
    "uint64": pa.array([0, 2**64 - 1], pa.uint64()),
    "half": pa.array(np.array([1.5, 2.5], dtype=np.float16)),
    "decimal": pa.array([Decimal("1.10"), None, Decimal("-2.20")]),
    "decimal256": pa.array([Decimal(10) ** 60], pa.decimal256(76, 2)),
    "bool": pa.array([True, None, False]),
    "date": pa.array([date(2013, 1, 1), None]),
    "date64": pa.array([date(2013, 1, 1), None], pa.date64()),
    "time": pa.array([time(6, 0), time(23, 59, 59, 999)]),
    "time32": pa.array([time(6, 0)], pa.time32("s")),
    "time64ns": pa.array([1], pa.time64("ns")),
    "naive": pa.array([datetime(2013, 1, 1, 6), None]),
    "zoned": pa.array([datetime(2013, 1, 1, 6, tzinfo=UTC)]),
    "nanoseconds": pa.array([1_357_000_000_000_000_001], pa.timestamp("ns", "UTC")),
    "far future": pa.array([2**62], pa.timestamp("s")),
    "duration": pa.array([timedelta(minutes=90), None]),
    "string": pa.array(["a", "", None, "日本"]),
    "large_string": pa.array(["a", "b"], pa.large_string()),
    "string_view": pa.array(["a", "b"], pa.string_view()),
    "dictionary": pa.array(["a", "b", "a", None]).dictionary_encode(),
    "dictionary of numbers": pa.array([1.5, None, 1.5]).dictionary_encode(),
    "runs": pa.RunEndEncodedArray.from_arrays([2, 3], [7, 8]),
    "binary": pa.array([b"\x00", None]),
    "list": pa.array([[1, 2], None, []]),
    "struct": pa.array([{"a": 1}, None]),
    "map": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
}


@pytest.mark.parametrize("name", ODD)
def test_any_column_has_a_profile_that_is_json(name: str) -> None:
    """No column type crashes; rows and nulls are right; it survives JSON, and it merges with itself."""
    table = pa.table({"x": ODD[name]})
    seen = profile(table)
    column = seen.columns["x"]
    assert column.rows == len(ODD[name]) and column.nulls == ODD[name].null_count
    assert msgspec.convert(msgspec.to_builtins(seen), Profile) == seen
    assert msgspec.json.decode(msgspec.json.encode(seen), type=Profile) == seen
    assert merge(seen, profile(table, edges=seen.edges())).columns["x"].rows == 2 * column.rows


def test_kinds_follow_the_arrow_type() -> None:
    """Decimals and durations are numbers, booleans are categories, dates and clocks are times."""
    assert of_kind(ODD["decimal"]) is of_kind(ODD["duration"]) is of_kind(ODD["runs"]) is Kind.NUMBER
    assert of_kind(ODD["bool"]) is of_kind(ODD["string_view"]) is of_kind(ODD["dictionary"]) is Kind.CATEGORY
    assert of_kind(ODD["date"]) is of_kind(ODD["time"]) is of_kind(ODD["naive"]) is Kind.TIME
    assert of_kind(ODD["list"]) is of_kind(ODD["binary"]) is Kind.OTHER
    assert of_kind(ODD["no type"]) is Kind.EMPTY


def test_values_are_told_in_plain_units() -> None:
    """Durations are seconds, instants carry a Z only when they have a zone, and no precision is lost."""
    assert one(ODD["duration"]).mean == 5400.0
    assert one(ODD["zoned"]).first == "2013-01-01T06:00:00Z"
    assert one(ODD["naive"]).first == "2013-01-01T06:00:00"
    assert one(ODD["nanoseconds"]).first == "2013-01-01T00:26:40.000000001Z"
    assert one(ODD["date64"]).first == one(ODD["date"]).first == "2013-01-01"
    assert one(ODD["time"]).last == "23:59:59.000999"
    assert dict(one(ODD["bool"]).values) == {"false": 1, "true": 1}


def test_times_merge_by_time_and_not_by_text() -> None:
    """A fraction of a second, a zone's letter and a year of five digits do not confuse the order."""
    exact = pa.array([datetime(2013, 1, 1, 6, 0, 0, 5, tzinfo=UTC)])
    far = pa.array([np.datetime64("10000-01-01T00:00:00", "s")]).cast(pa.timestamp("s", "UTC"))
    tables = [pa.table({"x": column}) for column in (exact, ODD["zoned"], far)]
    merged = merge_all([profile(table) for table in tables]).columns["x"]
    assert (merged.first, merged.last) == ("2013-01-01T06:00:00Z", "10000-01-01T00:00:00Z")


def test_huge_numbers_stay_finite() -> None:
    """Squares and spans that no float can hold neither overflow nor warn."""
    top = 1.7e308
    a = profile(pa.table({"x": [top, -top, top]}))
    column = merge(a, profile(pa.table({"x": [-top, -top]}), edges=a.edges())).columns["x"]
    told = (column.mean or 0.0, column.m2, column.std, *column.edges)
    assert all(map(math.isfinite, told)) and column.mean == pytest.approx(-top / 5)


def test_layout_does_not_matter() -> None:
    """Chunks, dictionaries with unused, repeated and null entries, and text types give the same profile."""
    texts = ["a", "b", None, "a", "c"]
    plain = one(pa.array(texts))
    dictionary = pa.DictionaryArray.from_arrays(
        pa.array([0, 1, 4, 2, 5], pa.int8()), pa.array(["a", "b", "a", "unused", None, "c"])
    )
    chunked = pa.chunked_array(
        [pa.array(texts[:2]).dictionary_encode(), pa.array(texts[2:]).dictionary_encode()]
    )
    for other in (dictionary, chunked, pa.array(texts, pa.string_view()), pa.array(["x", *texts])[1:]):
        assert one(other) == plain
    numbers = pa.chunked_array([[1, 2], [], [3, None]], pa.int64())
    assert one(numbers) == one(numbers.combine_chunks())


def test_many_distinct_texts_are_cut_and_reproducible() -> None:
    """Above 1,000 values the 1,000 most frequent are kept, the rest is `other`, and order of rows is irrelevant."""
    texts = [f"id{i}" for i in range(3_000)] * 2 + ["often"] * 50
    column, turned = one(pa.array(texts)), one(pa.array(texts[::-1]))
    assert column == turned
    assert len(column.values) == MOST_VALUES and next(iter(column.values.items())) == ("often", 50)
    assert sum(column.values.values()) + column.other == column.count == len(texts)
    assert column.distinct is None and column.unique is False and sum(column.groups) == len(texts)


def test_texts_that_are_all_different_are_not_listed() -> None:
    """A column of ids takes no room and is known to be unique."""
    column = one(pa.array([f"id{i}" for i in range(5_000)]))
    assert not column.values and column.other == 5_000 and column.unique is True


@given(st.integers(0, 2_500), st.integers(0, 2_500), st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_groups_add_up_whether_or_not_values_were_listed(low: int, high: int, times: int) -> None:
    """Few values merged with many give the same groups as all of them counted at once, long texts included."""
    a = pa.table({"x": [f"id{i}" for i in range(low)] * times + ["long" * 100]})
    b = pa.table({"x": [f"id{i}" for i in range(high)] + ["long" * 100]})
    merged, whole = merge(profile(a), profile(b)).columns["x"], profile(pa.concat_tables([a, b])).columns["x"]
    assert groups_of(merged) == groups_of(whole) and sum(groups_of(whole)) == whole.count
    assert sum(merged.values.values()) + merged.other == merged.count


def test_groups_are_even_and_never_change() -> None:
    """Similar names fall into all groups alike, and the same ones on every machine: profiles are kept for years."""
    column = one(pa.array([f"N{i:05d}AA" for i in range(64_000)]))
    assert min(column.groups) > 850 and max(column.groups) < 1_150
    few = one(pa.array(["", "a", "b", "ab", "ba", "日本"]))
    assert [i for i in range(GROUPS) if groups_of(few)[i]] == [0, 1, 36, 37, 52]


def test_columns_must_have_names_of_their_own() -> None:
    """Duplicate names are refused and named."""
    with pytest.raises(InvalidInput, match="more than once: x, y"):
        profile(pa.table([[1], [2], [3], [4], [5]], names=["x", "y", "x", "z", "y"]))


def test_edges_must_fit() -> None:
    """Edges that fall, and histograms on different edges, are refused with the way out."""
    with pytest.raises(InvalidInput, match="finite and rise"):
        one(pa.array([1.0]), edges=(2.0, 1.0))
    with pytest.raises(InvalidInput, match=r"edges=earlier\.edges"):
        merge(profile(pa.table({"x": [1.0, 2.0]})), profile(pa.table({"x": [5.0, 6.0]})))
    with pytest.raises(InvalidInput, match="is a number in one profile and a category"):
        merge(profile(pa.table({"x": [1.0]})), profile(pa.table({"x": ["a"]})))


def test_edges_survive_a_batch_without_values() -> None:
    """A batch in which a known number is all null, even without a type, hands the edges on."""
    first = profile(pa.table({"x": [1.0, 2.0, 3.0]}))
    for gap in (pa.array([None, None]), pa.array([None, None], pa.float64())):
        second = profile(pa.table({"x": gap}), edges=first.edges())
        assert second.edges() == first.edges() == merge(first, second).edges()


def test_later_and_larger_values_are_still_told_apart() -> None:
    """Edges reach two spans beyond the first batch, so July and August differ though both exceed January."""
    january = profile(pa.table({"temp": np.linspace(10, 60, 500)}))
    july, august = (
        profile(pa.table({"temp": np.linspace(low, low + 20, 500)}), edges=january.edges()).columns["temp"]
        for low in (75, 85)
    )
    assert july.counts != august.counts and july.counts[-1] == august.counts[-1] == 0
    assert len(january.columns["temp"].edges) <= 256
