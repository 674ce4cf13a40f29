"""A table in a few kilobytes: the summary from which gates and monitors judge, so that they never need the rows.

A profile is JSON and two profiles add up, so "all accepted batches so far" costs nothing to keep. Histograms
add up only when they were taken on the same edges: take the edges from the first profile and hand them on.
"""

import hashlib
import math
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import reduce
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from everloop.errors import InvalidInput
from everloop.storage.columns import decode, is_encoded, is_moment, is_number, is_text, without_views

MOST_VALUES = 1_000
"""Distinct values of a category that are counted one by one; the rest is `other`."""

_INNER_EDGES = 223
_OUTER_EDGES = 16
_LONG_TEXT = 200
GROUPS = 64  # 2^6: a group is told by the six highest bits of a hash

_PRIME = np.uint64(0x9E3779B97F4A7C15)  # 2^64 divided by the golden ratio, made odd: Knuth's multiplier
_HASHED_AT_ONCE = 65_536

_Counts: TypeAlias = npt.NDArray[np.int64]
_Floats: TypeAlias = npt.NDArray[np.float64]
_Numbers: TypeAlias = npt.NDArray[np.float64 | np.int64]


class Kind(StrEnum):
    """How a column is summed up."""

    NUMBER = "number"
    CATEGORY = "category"
    TIME = "time"
    EMPTY = "empty"
    """A column of Arrow type null: nothing is known of it yet."""
    OTHER = "other"
    """Nested and binary columns: rows and nulls are counted and nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnProfile:
    """What is kept of one column; all numbers are finite, so it is JSON as it stands."""

    kind: Kind
    rows: int
    nulls: int = 0
    nan: int = 0
    infinite: int = 0
    distinct: int | None = None
    """Exact up to 1,000, else None; None also where two profiles were merged and it can no longer be known."""
    unique: bool | None = None
    """No value occurs twice; None where it cannot be known."""
    increasing: bool = False
    """A number that never falls from row to row, such as a sequence number or a clock."""
    min: float | None = None
    max: float | None = None
    mean: float | None = None
    m2: float = 0.0
    """Sum of squared deviations from the mean."""
    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    """One more than the edges: values up to the first edge, between the edges (upper end included), above the last."""
    values: Mapping[str, int] = field(default_factory=dict)
    """Counts of a category's values, the most frequent first; of 1,000 where there are more, and then at least so many."""
    other: int = 0
    """Rows whose value is not in `values`."""
    groups: tuple[int, ...] = ()
    """Where there are more than 1,000 values: rows in each of 64 groups of values, put together by their hash.
    A list of the most frequent would compare badly: who is on it has been chosen by luck, and lists do not add up."""
    first: str | None = None
    last: str | None = None

    @property
    def count(self) -> int:
        """Values that can be used: neither null nor NaN nor infinite."""
        return self.rows - self.missing

    @property
    def missing(self) -> int:
        """Rows without a value that can be used."""
        return self.nulls + self.nan + self.infinite

    @property
    def missing_rate(self) -> float:
        """Share of rows without a usable value; 0 for an empty column."""
        return self.missing / self.rows if self.rows else 0.0

    @property
    def std(self) -> float:
        """Standard deviation; 0 for fewer than two values."""
        return math.sqrt(self.m2 / (self.count - 1)) if self.count > 1 else 0.0

    @property
    def constant(self) -> str | None:
        """The one value that every row with a value has; None when there are several, or none."""
        if self.kind is Kind.NUMBER and self.count and self.min is not None and self.min == self.max:
            return f"{self.min:g}"
        if self.kind is Kind.CATEGORY and len(self.values) == 1 and not self.other:
            return next(iter(self.values))
        return self.first if self.kind is Kind.TIME and self.first == self.last else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What is kept of a table."""

    rows: int
    columns: Mapping[str, ColumnProfile]

    def edges(self) -> dict[str, tuple[float, ...]]:
        """The histogram edges of every numeric column, to take the next profile on."""
        return {name: column.edges for name, column in self.columns.items() if column.edges}


def profile(table: pa.Table, *, edges: Mapping[str, tuple[float, ...]] | None = None) -> Profile:
    """Sum up a table; without `edges` a column's own quantiles become its edges.

    >>> january = profile(pa.table({"temp": [30.0, 50.0, None, float("nan")], "origin": ["JFK", "LGA", "JFK", "JFK"]}))
    >>> temp, origin = january.columns["temp"], january.columns["origin"]
    >>> temp.mean, temp.nulls, temp.nan, dict(origin.values)
    (40.0, 1, 1, {'JFK': 3, 'LGA': 1})
    >>> february = profile(pa.table({"temp": [20.0], "origin": ["EWR"]}), edges=january.edges())
    >>> both = merge(january, february)
    >>> both.rows, both.columns["temp"].min, both.columns["origin"].distinct
    (5, 20.0, 3)
    """
    refuse_duplicates(table.column_names)
    wanted = edges or {}
    columns = {name: _sum_up(name, table.column(name), wanted.get(name, ())) for name in table.column_names}
    return Profile(rows=table.num_rows, columns=columns)


def merge(a: Profile, b: Profile) -> Profile:
    """The profile of both tables together, as if `b`'s rows came after `a`'s.

    A column that only one of them has counts as all missing in the other. InvalidInput when a column's
    histograms were taken on different edges.
    """
    names = dict.fromkeys((*a.columns, *b.columns))
    nothing_a = ColumnProfile(kind=Kind.EMPTY, rows=a.rows, nulls=a.rows)
    nothing_b = ColumnProfile(kind=Kind.EMPTY, rows=b.rows, nulls=b.rows)
    return Profile(
        rows=a.rows + b.rows,
        columns={
            name: _merge_column(name, a.columns.get(name, nothing_a), b.columns.get(name, nothing_b))
            for name in names
        },
    )


def merge_all(profiles: Iterable[Profile]) -> Profile:
    """Merge any number of profiles, oldest first; none at all make an empty one.

    >>> merge_all([]).rows
    0
    """
    return reduce(merge, profiles, Profile(rows=0, columns={}))


def refuse_duplicates(names: Iterable[str]) -> None:
    """InvalidInput that names every column name that occurs twice."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InvalidInput(
            f"Column names occur more than once: {', '.join(twice)}.", next_step="rename or drop the repeats."
        )


# ---------------------------------------------------------------- one column


def _sum_up(name: str, column: pa.ChunkedArray, edges: tuple[float, ...]) -> ColumnProfile:
    type = column.type
    if pa.types.is_null(type):
        if edges:  # it has been a number before, and the next profile looks here for its edges
            return _numbers(column.cast(pa.float64()), _checked(name, edges))
        return ColumnProfile(kind=Kind.EMPTY, rows=len(column), nulls=len(column))
    if pa.types.is_dictionary(type) and is_text(type.value_type):
        return _encoded_texts(column)
    if is_encoded(type):
        return _sum_up(name, decode(column), edges)
    if pa.types.is_boolean(type):
        return _booleans(column)
    if is_text(type):
        return _texts(column)
    if is_number(type):
        return _numbers(column, _checked(name, edges))
    if is_moment(type):
        return _times(column)
    return ColumnProfile(kind=Kind.OTHER, rows=len(column), nulls=column.null_count)


def _checked(name: str, edges: tuple[float, ...]) -> tuple[float, ...]:
    rising = all(low < high for low, high in pairwise(edges))
    if not rising or not all(map(math.isfinite, edges)):
        raise InvalidInput(
            f"The edges for {name} must be finite and rise.", next_step="take Profile.edges()."
        )
    return edges


# ---------------------------------------------------------------- numbers


def _numbers(column: pa.ChunkedArray, edges: tuple[float, ...]) -> ColumnProfile:
    values = as_numbers(column)
    finite = values if values.dtype.kind in "iu" else values[np.isfinite(values)]
    ordered = np.sort(finite)
    distinct = 1 + int(np.count_nonzero(ordered[1:] != ordered[:-1])) if ordered.size else 0
    mean, m2 = _moments(finite.astype(np.float64, copy=False))
    edges = edges or _edges_of(ordered, distinct)
    nan = 0 if finite is values else int(np.count_nonzero(np.isnan(values)))
    return ColumnProfile(
        kind=Kind.NUMBER,
        rows=len(column),
        nulls=len(column) - values.size,
        nan=nan,
        infinite=values.size - finite.size - nan,
        distinct=distinct if distinct <= MOST_VALUES else None,
        unique=distinct == ordered.size,
        increasing=bool(np.all(finite[1:] >= finite[:-1])),
        min=float(ordered[0]) if ordered.size else None,
        max=float(ordered[-1]) if ordered.size else None,
        mean=mean,
        m2=m2,
        edges=edges,
        counts=_counts(ordered, edges),
    )


def as_numbers(column: pa.ChunkedArray) -> _Numbers:
    """The values of a numeric column that are not null; durations are told in seconds."""
    values = pc.drop_null(column)
    if pa.types.is_duration(values.type):
        ticks_per_second = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}[values.type.unit]
        values = pc.divide(values.cast(pa.int64()).cast(pa.float64(), safe=False), ticks_per_second)
    if not pa.types.is_integer(values.type) and values.type != pa.float64():
        values = values.cast(pa.float64())
    numbers: _Numbers = values.to_numpy()
    return numbers


def _moments(values: _Floats) -> tuple[float | None, float]:
    if not values.size:
        return None, 0.0
    low, high = float(values.min()), float(values.max())
    # Squares of numbers above 1e150 do not fit into a float; divided by the largest they do.
    scale = max(abs(low), abs(high), 1.0) if max(abs(low), abs(high)) > 1e150 else 1.0
    scaled = values if scale == 1.0 else values / scale
    mean = min(max(float(scaled.mean()) * scale, low), high)
    return mean, _within(float(scaled.var()) * values.size * scale * scale)


def _within(m2: float) -> float:
    return min(m2, sys.float_info.max)


def _edges_of(ordered: _Numbers, distinct: int) -> tuple[float, ...]:
    """Edges for this and all later batches: every value where there are few, else quantiles; and room outside.

    The first batch is one winter month and July is warmer than all of it. Two spans on either side, in
    eighths, keep later batches apart where quantiles alone would put all of them above the last edge.
    """
    if not ordered.size:
        return ()
    if distinct <= _INNER_EDGES:
        inner = np.unique(ordered).astype(np.float64)
    else:
        inner = ordered[np.linspace(0, ordered.size - 1, _INNER_EDGES).astype(np.int64)].astype(np.float64)
    low, high = float(inner[0]), float(inner[-1])
    # halved first: the span of the two largest floats is not a float
    step = (high / 2 - low / 2) / 4 if high > low else max(abs(high), 1.0) / 8
    outside = np.arange(1, _OUTER_EDGES + 1) * min(step, sys.float_info.max / _OUTER_EDGES)
    with np.errstate(over="ignore"):
        edges = np.unique(np.concatenate([low - outside, inner, high + outside]))
    return tuple(edges[np.isfinite(edges)].tolist())


def _counts(ordered: _Numbers, edges: tuple[float, ...]) -> tuple[int, ...]:
    if not edges:
        return ()
    up_to = np.searchsorted(ordered, np.asarray(edges), side="right")
    return tuple(np.diff(up_to, prepend=0, append=ordered.size).tolist())


# ---------------------------------------------------------------- categories


def _booleans(column: pa.ChunkedArray) -> ColumnProfile:
    count = len(column) - column.null_count
    true = int(pc.sum(column).as_py() or 0)
    return _category(len(column), {"true": true, "false": count - true})


def _texts(column: pa.ChunkedArray) -> ColumnProfile:
    counted = pc.value_counts(pc.drop_null(without_views(column)))
    return _few_or_many(len(column), counted.field("values"), counted.field("counts"))


def _encoded_texts(column: pa.ChunkedArray) -> ColumnProfile:
    """Texts behind a dictionary are counted by their codes; the texts themselves are looked at once each."""
    texts, totals = [], []
    for chunk in column.chunks:
        codes = chunk.indices.drop_null().to_numpy()
        texts.append(chunk.dictionary.cast(pa.large_string()))
        totals.append(pa.array(np.bincount(codes, minlength=len(chunk.dictionary)), pa.int64()))
    counted = pa.table(
        [pa.chunked_array(texts, pa.large_string()), pa.chunked_array(totals, pa.int64())],
        names=["text", "count"],
    )
    # A dictionary may hold unused texts, one text twice, and even null.
    counted = counted.filter(pc.greater(counted.column("count"), 0)).drop_null()
    counted = counted.group_by("text").aggregate([("count", "sum")]).combine_chunks()
    return _few_or_many(len(column), _array(counted.column("text")), _array(counted.column("count_sum")))


def _array(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks else pa.array([], column.type)


def _few_or_many(rows: int, texts: pa.Array, counts: pa.Array) -> ColumnProfile:
    if len(texts) <= MOST_VALUES:
        return _category(rows, _named(texts, counts))
    total = int(pc.sum(counts).as_py())
    listed = _named(*_most_frequent(texts, counts))
    return replace(
        _category(rows, listed),
        nulls=rows - total,
        other=total - sum(listed.values()),
        groups=_grouped(texts, counts.to_numpy()),
        distinct=None,
        unique=total == len(texts),
    )


def _most_frequent(texts: pa.Array, counts: pa.Array) -> tuple[pa.Array, pa.Array]:
    """The 1,000 most frequent texts of those that occur twice; equal counts go by the text, so runs agree."""
    often = pc.greater(counts, 1)
    repeated = pa.table({"text": texts.filter(often), "count": counts.filter(often)})
    order = [("count", "descending"), ("text", "ascending")]
    top = repeated.take(pc.select_k_unstable(repeated, k=MOST_VALUES, sort_keys=order)).combine_chunks()
    return _array(top.column("text")), _array(top.column("count"))


def _grouped(texts: pa.Array, counts: _Counts) -> tuple[int, ...]:
    """Rows per group of values. Slices bound the memory, for a hash needs 24 bytes per byte of text."""
    rows = np.zeros(GROUPS, dtype=np.int64)
    for start in range(0, len(texts), _HASHED_AT_ONCE):
        part = texts.slice(start, _HASHED_AT_ONCE)
        np.add.at(rows, _groups_of(part), counts[start : start + _HASHED_AT_ONCE])
    return tuple(rows.tolist())


def _groups_of(texts: pa.Array) -> npt.NDArray[np.intp]:
    """The group of each text: a polynomial of its bytes modulo 2^64, the same on every machine and in every year."""
    if pc.max(pc.utf8_length(texts)).as_py() > _LONG_TEXT:  # as they are named in `values`
        texts = pa.array(map(_short, texts.to_pylist()))
    offsets, data = _bytes_of(texts)
    lengths = np.diff(offsets)
    places = np.arange(data.size) - np.repeat(offsets[:-1] - offsets[0], lengths)
    powers = np.cumprod(np.full(int(lengths.max(initial=0)) + 1, _PRIME, dtype=np.uint64))
    sums = np.concatenate(
        [[np.uint64(0)], np.cumsum((data + np.uint64(1)) * powers[places], dtype=np.uint64)]
    )
    hashes = sums[offsets[1:] - offsets[0]] - sums[offsets[:-1] - offsets[0]]
    hashes = (hashes ^ (hashes >> np.uint64(32))) * _PRIME  # mixed, since a group is told by the highest bits
    groups: npt.NDArray[np.intp] = (hashes >> np.uint64(58)).astype(np.intp)
    return groups


def _bytes_of(texts: pa.Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
    """Where each text begins and ends, and all of their bytes."""
    texts = texts.cast(pa.large_string())
    _, ends, data = texts.buffers()
    offsets = np.frombuffer(ends, dtype=np.int64)[texts.offset : texts.offset + len(texts) + 1]
    whole = np.frombuffer(data, dtype=np.uint8) if data is not None else np.zeros(0, dtype=np.uint8)
    return offsets, whole[offsets[0] : offsets[-1]].astype(np.uint64)


def groups_of(column: ColumnProfile) -> tuple[int, ...]:
    """Rows of a category in each of the 64 groups of values, also where every value is counted by itself.

    >>> few = profile(pa.table({"origin": ["JFK", "LGA", "JFK"]})).columns["origin"]
    >>> sorted(groups_of(few), reverse=True)[:3]
    [2, 1, 0]
    """
    if column.groups or not column.values:
        return column.groups or (0,) * GROUPS
    return _grouped(pa.array(column.values), np.array(list(column.values.values()), dtype=np.int64))


def _named(texts: pa.Array, counts: pa.Array) -> dict[str, int]:
    return {_short(text): count for text, count in zip(texts.to_pylist(), counts.to_pylist(), strict=True)}


def _short(text: str) -> str:
    """A profile travels through events and logs: a long text is told by its beginning and a digest."""
    if len(text) <= _LONG_TEXT:
        return text
    return f"{text[:80]}…{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}"


def _category(rows: int, counts: Mapping[str, int]) -> ColumnProfile:
    values = dict(sorted(((t, n) for t, n in counts.items() if n), key=lambda pair: (-pair[1], pair[0])))
    return ColumnProfile(
        kind=Kind.CATEGORY,
        rows=rows,
        nulls=rows - sum(values.values()),
        distinct=len(values),
        unique=all(count == 1 for count in values.values()),
        values=values,
    )


# ---------------------------------------------------------------- times


def _times(column: pa.ChunkedArray) -> ColumnProfile:
    ends = pc.min_max(column)
    first, last = (moment(ends[end]) if ends[end].is_valid else None for end in ("min", "max"))
    return ColumnProfile(kind=Kind.TIME, rows=len(column), nulls=column.null_count, first=first, last=last)


def moment(scalar: pa.Scalar) -> str:
    """A date, time or instant as ISO 8601; through numpy, for Python's own end at year 9999 and at microseconds."""
    type = scalar.type
    if pa.types.is_date(type):
        return str(np.datetime64(scalar.cast(pa.date32()).cast(pa.int32()).as_py(), "D"))
    if pa.types.is_time(type):
        ticks = scalar.cast(pa.int32() if pa.types.is_time32(type) else pa.int64()).as_py()
        since = timedelta(microseconds=ticks * {"s": 1e6, "ms": 1e3, "us": 1, "ns": 1e-3}[type.unit])
        return (datetime.min + since).time().isoformat()
    exact = np.datetime64(scalar.cast(pa.int64()).as_py(), type.unit)
    whole = exact.astype("datetime64[s]")
    return str(whole if whole == exact else exact) + ("Z" if type.tz else "")


# ---------------------------------------------------------------- merging


def _merge_column(name: str, a: ColumnProfile, b: ColumnProfile) -> ColumnProfile:
    return replace(
        _merge_values(name, a, b),
        rows=a.rows + b.rows,
        nulls=a.nulls + b.nulls,
        nan=a.nan + b.nan,
        infinite=a.infinite + b.infinite,
    )


def _merge_values(name: str, a: ColumnProfile, b: ColumnProfile) -> ColumnProfile:
    if not b.count:
        return b if a.kind is Kind.EMPTY else a
    if not a.count:
        return b
    if a.kind is not b.kind:
        raise InvalidInput(
            f"{name} is a {a.kind} in one profile and a {b.kind} in the other.",
            next_step="compare profiles of one and the same column.",
        )
    if a.kind is Kind.NUMBER:
        return _merge_numbers(name, a, b)
    if a.kind is Kind.CATEGORY:
        return _merge_categories(a, b)
    return _merge_times(a, b) if a.kind is Kind.TIME else a


def _merge_numbers(name: str, a: ColumnProfile, b: ColumnProfile) -> ColumnProfile:
    if a.edges != b.edges:
        raise InvalidInput(
            f"The histograms of {name} were taken on different edges.",
            next_step="take the later profile with edges=earlier.edges().",
        )
    (low_a, high_a), (low_b, high_b) = span(a), span(b)
    mean, m2 = _merge_moments(a, b)
    return replace(
        a,
        distinct=1 if low_a == high_a == low_b == high_b else None,
        unique=_merge_unique(a, b, apart=high_a < low_b or high_b < low_a),
        increasing=a.increasing and b.increasing and high_a <= low_b,
        min=min(low_a, low_b),
        max=max(high_a, high_b),
        mean=mean,
        m2=m2,
        counts=tuple(x + y for x, y in zip(a.counts, b.counts, strict=True)),
    )


def span(column: ColumnProfile) -> tuple[float, float]:
    """Smallest and largest value of a numeric column that has values."""
    if column.min is None or column.max is None:
        raise InvalidInput(
            "The column has no numeric value, so it has no span.", next_step="ask it of a column of numbers."
        )
    return column.min, column.max


def mean_of(column: ColumnProfile) -> float:
    """Mean of a numeric column that has values."""
    if column.mean is None:
        raise InvalidInput(
            "The column has no numeric value, so it has no mean.", next_step="ask it of a column of numbers."
        )
    return column.mean


def _merge_moments(a: ColumnProfile, b: ColumnProfile) -> tuple[float, float]:
    """Chan, Golub and LeVeque 1979: exact up to rounding, and it does not lose digits to a large mean."""
    share, mean_a, mean_b = b.count / (a.count + b.count), mean_of(a), mean_of(b)
    apart = mean_b - mean_a
    mean = mean_a + apart * share
    if not math.isfinite(mean):  # the difference of two huge numbers is not a float; their weighted sum is
        mean = mean_a * (1 - share) + mean_b * share
    return mean, _within(a.m2 + b.m2 + apart * apart * a.count * share)


def _merge_unique(a: ColumnProfile, b: ColumnProfile, *, apart: bool) -> bool | None:
    if a.unique is False or b.unique is False:
        return False
    return True if apart and a.unique and b.unique else None


def _merge_categories(a: ColumnProfile, b: ColumnProfile) -> ColumnProfile:
    values = Counter(a.values)
    values.update(b.values)
    complete = not a.groups and not b.groups
    rows = a.rows + b.rows
    if complete and len(values) <= MOST_VALUES:
        return _category(rows, values)
    kept = _category(rows, dict(sorted(values.items(), key=lambda pair: (-pair[1], pair[0]))[:MOST_VALUES]))
    other = a.count + b.count - sum(kept.values.values())
    repeated = max(values.values(), default=1) > 1 or a.unique is False or b.unique is False
    groups = tuple(x + y for x, y in zip(groups_of(a), groups_of(b), strict=True))
    unique = False if repeated else True if complete else None
    return replace(kept, distinct=None, unique=unique, other=other, groups=groups)


def _merge_times(a: ColumnProfile, b: ColumnProfile) -> ColumnProfile:
    first = min((time for time in (a.first, b.first) if time), key=_order)
    last = max((time for time in (a.last, b.last) if time), key=_order)
    return replace(a, first=first, last=last)


def _order(time: str) -> np.datetime64:
    """Comparable: an instant as it is, a time of day as if on one day. Texts would misplace the Z and year 10000."""
    return np.datetime64(time.removesuffix("Z") if "-" in time else f"1970-01-01T{time}")
