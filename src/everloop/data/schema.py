"""What a dataset's columns are called and which types they have, and where a batch differs from that."""

from collections.abc import Iterable
from difflib import get_close_matches

import pyarrow as pa

from everloop.data.profile import refuse_duplicates
from everloop.records.data import DataColumn, DataVerdict, Finding, Schema
from everloop.storage.columns import is_binary, is_text, value_type

NULL = "null"
"""The type of a column that has never had a value."""


def infer(table: pa.Table) -> Schema:
    """The schema of a table; a column without any type yet may become anything later.

    >>> infer(pa.table({"temp": [39.0], "gust": [None]})).columns[1].type
    'null'
    """
    refuse_duplicates(table.column_names)
    return Schema(
        columns=tuple(
            DataColumn(name=field.name, type=type_name(field.type), nullable=field.nullable)
            for field in table.schema
        )
    )


def type_name(type: pa.DataType) -> str:
    """One name per meaning: encodings, text sizes and clock ticks that a store may change do not count.

    >>> type_name(pa.dictionary(pa.int32(), pa.large_string())), type_name(pa.timestamp("ms", "UTC"))
    ('string', 'timestamp[tz=UTC]')
    """
    of_type, type = pa.types, value_type(type)
    if is_text(type):
        return "string"
    if of_type.is_timestamp(type):
        return f"timestamp[tz={type.tz}]" if type.tz else "timestamp"
    if of_type.is_date(type):
        return "date"
    if of_type.is_time(type):
        return "time"
    if of_type.is_duration(type):
        return "duration"
    if is_binary(type):
        return "binary"
    return _nested_name(type)


def _nested_name(type: pa.DataType) -> str:
    of_type = pa.types
    if of_type.is_list(type) or of_type.is_large_list(type):
        return f"list<{type_name(type.value_type)}>"
    if of_type.is_struct(type):
        inside = (f"{type.field(i).name}: {type_name(type.field(i).type)}" for i in range(type.num_fields))
        return f"struct<{', '.join(inside)}>"
    return str(type)


def differences(schema: Schema, other: Schema) -> tuple[Finding, ...]:
    """Every column that `other` lacks, adds, or has in another type than `schema`; the order is free.

    >>> known, batch = pa.table({"temp": [39.0], "dewp": [26.1]}), pa.table({"temp": [39]})
    >>> for finding in differences(infer(known), infer(batch)): print(finding.message)
    dewp: missing; the schema has it as double
    temp: int64 where the schema has double
    """
    known = {column.name: column for column in schema.columns}
    seen = {column.name: column for column in other.columns}
    unexpected = [name for name in seen if name not in known]
    missing = (_missing(column, unexpected) for name, column in known.items() if name not in seen)
    added = (
        _stop("unexpected", name, f"{seen[name].type}, which the schema does not have") for name in unexpected
    )
    both = ((known[name], seen[name]) for name in known if name in seen)
    mistyped = (
        _stop("type", was.name, f"{now.type} where the schema has {was.type}")
        for was, now in both
        # nothing but nulls is missing values, and the null gate's business
        if was.type != now.type and NULL not in (was.type, now.type)
    )
    return (*missing, *added, *mistyped)


def _missing(column: DataColumn, unexpected: Iterable[str]) -> Finding:
    alike = get_close_matches(column.name.lower(), [name.lower() for name in unexpected], n=1, cutoff=0.75)
    renamed = next((name for name in unexpected if alike and name.lower() == alike[0]), None)
    hint = f"; renamed to {renamed}?" if renamed else ""
    return _stop("missing", column.name, f"missing; the schema has it as {column.type}{hint}")


def _stop(rule: str, column: str, words: str) -> Finding:
    return Finding(verdict=DataVerdict.STOP, rule=rule, column=column, message=f"{column}: {words}")
