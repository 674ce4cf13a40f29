"""Columns of a table as flat arrays: moments as whole numbers, join keys as codes, values as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from everloop.errors import InvalidInput, Unsupported
from everloop.storage.columns import decode, is_binary, is_text, without_views

Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Floats: TypeAlias = npt.NDArray[np.float64]
Words: TypeAlias = npt.NDArray[np.uint64]
Numbers: TypeAlias = "Ints | Words | Floats"
Unit: TypeAlias = Literal["us", "ns"]

UNKNOWN = -1
"""Code of a join key with a null in it, which matches nothing, and number of a row that is not there."""

_LONGEST = 2**63 - 1


def column(table: pa.Table, name: str, where: str) -> pa.ChunkedArray:
    """The one column of that name."""
    places = table.schema.get_all_field_indices(name)
    if len(places) != 1:
        has = "no column" if not places else f"{len(places)} columns"
        raise InvalidInput(
            f"{where}: the table has {has} {name!r}.", next_step=f"it has {', '.join(table.column_names)}."
        )
    return table.column(places[0])


def unit_of(columns: Sequence[pa.ChunkedArray]) -> Unit:
    """Nanoseconds when any of these times has them, else microseconds; the coarser units fit in both."""
    fine = any(pa.types.is_timestamp(values.type) and values.type.unit == "ns" for values in columns)
    return "ns" if fine else "us"


def moments(values: pa.ChunkedArray, unit: Unit, where: str) -> tuple[Ints, Bools]:
    """A column of instants as whole numbers of `unit` since 1970 in UTC, and which of them are there."""
    there = valid(values)
    if pa.types.is_null(values.type):
        return np.zeros(len(values), np.int64), there
    _check_instants(values.type, where)
    try:
        same = values.cast(pa.timestamp(unit, "UTC"))
    except pa.ArrowInvalid as error:
        raise InvalidInput(
            f"{where} holds an instant that does not fit in 64 bits of {unit}: {error}.",
            next_step="make the far ones null, or cast every time to microseconds.",
        ) from error
    return flat(pc.fill_null(same.cast(pa.int64()), 0)), there


def length(span: timedelta, unit: Unit) -> int:
    """A span in whole numbers of `unit`, no longer than 64 bits tell: 292 years of nanoseconds.

    >>> length(timedelta(hours=1), "us"), length(timedelta.max, "ns") == 2**63 - 1
    (3600000000, True)
    """
    return min(span // timedelta(microseconds=1) * (1000 if unit == "ns" else 1), _LONGEST)


def before(times: Ints, span: int) -> Ints:
    """Every moment this much earlier, and never earlier than there are moments.

    >>> before(np.array([5, -(2**63)]), 2).tolist() == [3, -(2**63)]
    True
    """
    floor = np.iinfo(np.int64).min
    return np.where(times < floor + span, floor, times - span)


def valid(values: pa.ChunkedArray) -> Bools:
    """Where a column is not null."""
    if not values.null_count:
        return np.ones(len(values), np.bool_)
    return np.asarray(values.is_valid().to_numpy(), np.bool_)


def flat(values: pa.ChunkedArray) -> Ints:
    """A column of 64-bit integers without nulls as one array, in place where it can be."""
    return np.asarray(values.to_numpy(), np.int64)


def taken(values: pa.ChunkedArray, rows: Ints, where: str) -> pa.ChunkedArray:
    """The values of these rows in the same type, null for the row -1."""
    places = pa.array(rows, mask=rows == UNKNOWN)
    wide = without_views(values)
    try:
        return values.take(places) if wide is values else wide.take(places).cast(values.type)
    except pa.ArrowNotImplementedError as error:
        raise Unsupported(f"{where}: {error}.", next_step="cast it to a plain type.") from error


def codes(
    rows: Sequence[pa.ChunkedArray], asked: Sequence[pa.ChunkedArray], names: Sequence[str], where: str
) -> tuple[Ints, Ints]:
    """Join keys of a source's rows and of the rows that ask as small whole numbers: equal numbers, equal keys."""
    joined: Ints | None = None
    for left, right, name in zip(rows, asked, names, strict=True):
        part = _codes(_together(decode(left), decode(right), f"{where}: join key {name!r}"))
        joined = part if joined is None else _paired(joined, part)
    if joined is None:
        raise InvalidInput(f"{where}: there is no join key.", next_step="name one at least.")
    return joined[: len(rows[0])], joined[len(rows[0]) :]


def numbers(values: pa.ChunkedArray, where: str) -> Numbers:
    """A plain column of numbers, true as 1 and false as 0, and 0 for a null."""
    kind = values.type
    if pa.types.is_null(kind) or pa.types.is_boolean(kind) or pa.types.is_signed_integer(kind):
        return flat(pc.fill_null(values.cast(pa.int64()), 0))
    if pa.types.is_unsigned_integer(kind):
        return np.asarray(pc.fill_null(values.cast(pa.uint64()), 0).to_numpy(), np.uint64)
    if pa.types.is_floating(kind):
        return np.asarray(pc.fill_null(values.cast(pa.float64()), 0.0).to_numpy(), np.float64)
    raise InvalidInput(f"{where} is {kind} and no number.", next_step="cast it to double or int64.")


def _check_instants(kind: pa.DataType, where: str) -> None:
    if not pa.types.is_timestamp(kind):
        raise InvalidInput(f"{where} is {kind} and no instant.", next_step="give a timestamp with a zone.")
    if kind.tz is None:
        raise InvalidInput(
            f"{where} has no time zone, so nobody can say which instant it means.",
            next_step="say which: pyarrow.compute.assume_timezone(column, 'America/New_York').",
        )


def _together(left: pa.ChunkedArray, right: pa.ChunkedArray, where: str) -> pa.Array:
    """Both sides of one join key as one array of one type."""
    kind = _shared_type(left.type, right.type, where)
    try:
        chunks = [chunk for side in (left, right) for chunk in side.cast(kind).chunks]
    except pa.ArrowInvalid as error:
        raise InvalidInput(
            f"{where}: {left.type} does not fit {right.type}: {error}.", next_step="cast one of them."
        ) from error
    return pa.concat_arrays(chunks) if chunks else pa.array([], kind)


def _shared_type(left: pa.DataType, right: pa.DataType, where: str) -> pa.DataType:
    wide = [_wide(kind, where) for kind in (left, right) if not pa.types.is_null(kind)]
    if not wide:
        return pa.int64()
    if len(set(wide)) == 1:
        return wide[0]
    if all(pa.types.is_integer(kind) for kind in wide):
        return pa.int64()
    raise InvalidInput(
        f"{where} is {left} in the source and {right} in the rows that ask.", next_step="cast one of them."
    )


def _wide(kind: pa.DataType, where: str) -> pa.DataType:
    """The type that equal values of related types share."""
    if pa.types.is_integer(kind):
        return pa.uint64() if kind == pa.uint64() else pa.int64()
    if is_text(kind):
        return pa.large_string()
    if is_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return pa.large_binary()
    if pa.types.is_floating(kind) or pa.types.is_nested(kind):
        raise InvalidInput(
            f"{where} is {kind}, and such values make no keys.",
            next_step="cast it to an integer or a string.",
        )
    return kind


def _codes(keys: pa.Array) -> Ints:
    indices = keys.dictionary_encode().indices
    return np.asarray(pc.fill_null(indices.cast(pa.int64()), UNKNOWN).to_numpy(), np.int64)


def _paired(left: Ints, right: Ints) -> Ints:
    """One code for each pair of codes, small again so that a third can be paired with it."""
    both = np.where((left < 0) | (right < 0), UNKNOWN, left * (int(right.max(initial=0)) + 1) + right)
    return _codes(pa.array(both, mask=both < 0))
