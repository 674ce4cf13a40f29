"""What Arrow's columns hold, however it is encoded: the one place that knows dictionaries, run ends and views.

Arrow writes one meaning in many types, and its functions take some of them only. Whoever reads columns asks here what a type
means, and gets the values in a type that can be computed with.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

# Arrow can neither take single values from these nor look them up in a list.
_VIEWS = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}


def is_encoded(kind: pa.DataType) -> bool:
    """Is it a dictionary, or run by run?"""
    return bool(pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind))


def value_type(kind: pa.DataType) -> pa.DataType:
    """The type of the values below any encoding.

    >>> value_type(pa.dictionary(pa.int32(), pa.large_string())), value_type(pa.int8())
    (DataType(large_string), DataType(int8))
    """
    return value_type(kind.value_type) if is_encoded(kind) else kind


def decode(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same values without any encoding.

    >>> decode(pa.chunked_array([["a", "b", "a"]]).dictionary_encode()).type
    DataType(string)
    """
    if pa.types.is_dictionary(column.type):
        return decode(column.cast(column.type.value_type))
    return decode(pc.run_end_decode(column)) if pa.types.is_run_end_encoded(column.type) else column


def without_views(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same values where a view of texts or bytes was, in the type that every function of Arrow takes."""
    return column.cast(_VIEWS[column.type]) if column.type in _VIEWS else column


def is_text(kind: pa.DataType) -> bool:
    """Is it one of Arrow's text types?"""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_binary(kind: pa.DataType) -> bool:
    """Does it hold bytes of any length?"""
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def is_number(kind: pa.DataType) -> bool:
    """Does it hold values that can be added and averaged?"""
    of_type = pa.types
    return bool(
        of_type.is_integer(kind)
        or of_type.is_floating(kind)
        or of_type.is_decimal(kind)
        or of_type.is_duration(kind)
    )


def is_moment(kind: pa.DataType) -> bool:
    """Is it a date, a time of day or an instant?"""
    return bool(pa.types.is_date(kind) or pa.types.is_time(kind) or pa.types.is_timestamp(kind))
