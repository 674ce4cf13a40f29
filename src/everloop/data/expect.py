"""Hold rows against what the user declared of them, and say which rows broke it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from everloop.data.profile import moment, refuse_duplicates
from everloop.data.wording import percent
from everloop.errors import InvalidInput
from everloop.records.data import DataVerdict, Finding
from everloop.records.datasets import Between, Expectation, Level, NotNull, OneOf, Unique
from everloop.storage.columns import decode, is_moment, is_number, is_text, without_views

TOLERATED = 0.01
"""Share of a batch's rows that may break an expectation before the batch is quarantined."""

_SHOWN_ROWS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """How many rows break one expectation, and the first of them by their index in the table."""

    rows: int
    first: tuple[int, ...]


def judge_expectations(
    expectations: Sequence[Expectation], table: pa.Table, *, tolerated: float = TOLERATED
) -> tuple[Finding, ...]:
    """One finding per expectation that some row breaks, or that cannot be asked of this table.

    Up to the tolerated share of rows the finding is a `pass` that is told and changes nothing; above it is
    `quarantine`; a column that is absent, or of a type that cannot be compared, is `stop`.

    >>> from everloop.records.datasets import between
    >>> batch = pa.table({"temp": [39.0, 41.0, 999.0, None]})
    >>> judge_expectations([between("temp", -60, 130)], batch)[0].message
    'temp: 1 of 4 rows (25 %) not between -60 and 130; first: row 2 (999.0)'
    """
    refuse_duplicates(table.column_names)
    findings = (_judge(expectation, table, tolerated) for expectation in expectations)
    return tuple(finding for finding in findings if finding is not None)


def _judge(expectation: Expectation, table: pa.Table, tolerated: float) -> Finding | None:
    name = ", ".join(expectation.columns)
    absent = [column for column in expectation.columns if column not in table.column_names]
    if absent:
        return absent_column(absent[0])
    try:
        broken = breaks(expectation, table)
    except InvalidInput as error:
        return Finding(
            verdict=DataVerdict.STOP,
            rule="expectation",
            column=name,
            message=f"{name}: {error.reason.rstrip('.')}",
        )
    if not broken.rows:
        return None
    limit = tolerated if expectation.tolerated is None else expectation.tolerated
    too_many = broken.rows > limit * table.num_rows
    return Finding(
        verdict=DataVerdict.QUARANTINE if too_many else DataVerdict.PASS,
        rule="expectation",
        column=name,
        message=_describe(expectation, broken, table),
    )


def absent_column(name: str) -> Finding:
    """The finding for a column that the dataset's declaration names and the batch does not have."""
    return Finding(
        verdict=DataVerdict.STOP,
        rule="missing",
        column=name,
        message=f"{name}: missing; the dataset declares it",
    )


def breaks(expectation: Expectation, table: pa.Table) -> Broken:
    """Count the rows that break an expectation; InvalidInput when its column cannot be compared.

    >>> from everloop.records.datasets import unique
    >>> breaks(unique("id"), pa.table({"id": [7, 8, 7, None]}))
    Broken(rows=1, first=(2,))
    """
    bad = _bad_rows(expectation, table)
    rows = pc.indices_nonzero(bad)
    return Broken(rows=len(rows), first=tuple(rows.slice(0, _SHOWN_ROWS).to_pylist()))


def _bad_rows(expectation: Expectation, table: pa.Table) -> pa.ChunkedArray:
    match expectation:
        case Between():
            return _outside(_decoded(table.column(expectation.column)), expectation)
        case OneOf():
            return _unlisted(_decoded(table.column(expectation.column)), expectation.values)
        case NotNull():
            return _absent(_decoded(table.column(expectation.column)))
        case Unique():
            return _repeats(table.select(list(expectation.columns)))
        case _:
            assert_never(expectation)


def _decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return without_views(decode(column))


def _outside(column: pa.ChunkedArray, expected: Between) -> pa.ChunkedArray:
    if pa.types.is_null(column.type):
        return _nowhere(column)
    if not is_number(column.type) or pa.types.is_duration(column.type):
        raise InvalidInput(
            f"{column.type} cannot be {expected.text}.",
            next_step="cast the column, or take the expectation out.",
        )
    values = column.cast(pa.float64(), safe=False)
    # Asked as "is inside" and turned round, because NaN is inside of nothing.
    inside = pc.is_valid(values)
    if expected.low is not None:
        inside = pc.and_(inside, pc.greater_equal(values, float(expected.low)))
    if expected.high is not None:
        inside = pc.and_(inside, pc.less_equal(values, float(expected.high)))
    return pc.and_(pc.is_valid(column), pc.invert(pc.fill_null(inside, False)))


def _unlisted(column: pa.ChunkedArray, values: Sequence[Level]) -> pa.ChunkedArray:
    if pa.types.is_null(column.type):
        return _nowhere(column)
    if isinstance(values[0], bool):
        fits, type = pa.types.is_boolean(column.type), pa.bool_()
    elif isinstance(values[0], str):
        fits, type = is_text(column.type), column.type
    else:
        fits, type = is_number(column.type) and not pa.types.is_duration(column.type), pa.float64()
    if not fits:
        raise InvalidInput(
            f"{column.type} cannot be one of {', '.join(map(repr, values[:3]))}.",
            next_step="cast the column, or take the expectation out.",
        )
    listed = pc.is_in(column.cast(type, safe=False), value_set=pa.array(values).cast(type))
    return pc.and_(pc.is_valid(column), pc.invert(listed))


def _absent(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.is_null(column, nan_is_null=pa.types.is_floating(column.type))


def _repeats(table: pa.Table) -> pa.ChunkedArray:
    """Marks every row but the first of each group of equal rows."""
    names = [f"column_{i}" for i in range(table.num_columns)]  # the user's own names may be anything
    table = pa.table([_decoded(column) for column in table.columns], names=names)
    rows = pa.array(np.arange(table.num_rows))
    complete = table.append_column("row", rows).drop_null()
    try:
        firsts = complete.group_by(names).aggregate([("row", "min")]).column("row_min")
    except (pa.ArrowNotImplementedError, pa.ArrowKeyError) as error:
        raise InvalidInput(
            f"{', '.join(str(c.type) for c in table.columns)} cannot be compared.",
            next_step="cast the columns, or take the expectation out.",
        ) from error
    repeated = np.zeros(table.num_rows, dtype=np.bool_)
    repeated[complete.column("row").to_numpy()] = True
    repeated[firsts.to_numpy()] = False
    return pa.chunked_array([pa.array(repeated)])


def _nowhere(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.fill_null(pc.is_valid(column), False)


def _describe(expectation: Expectation, broken: Broken, table: pa.Table) -> str:
    name, share = ", ".join(expectation.columns), percent(broken.rows / table.num_rows)
    match expectation:
        case NotNull():
            what, columns = "without a value", []
        case Unique():
            what, columns = "repeat an earlier row", list(expectation.columns)
        case _:
            what, columns = f"not {expectation.text}", list(expectation.columns)
    shown = ", ".join(_shown(row, [table.column(column)[row] for column in columns]) for row in broken.first)
    return f"{name}: {broken.rows:,} of {table.num_rows:,} rows ({share}) {what}; first: {shown}"


def _shown(row: int, values: Sequence[pa.Scalar]) -> str:
    examples = ", ".join(_text(value)[:40] for value in values)
    return f"row {row} ({examples})" if examples else f"row {row}"


def _text(value: pa.Scalar) -> str:
    return moment(value) if is_moment(value.type) else str(value)
