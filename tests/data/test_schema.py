"""Schemas: inferred by meaning, and every difference told."""

import pyarrow as pa
import pytest

from everloop.data.schema import differences, infer, type_name
from everloop.errors import InvalidInput
from everloop.records.data import DataVerdict, Finding

KNOWN = pa.schema(
    {
        "id": pa.int64(),
        "temp": pa.float64(),
        "origin": pa.string(),
        "at": pa.timestamp("us", "UTC"),
        "gust": pa.null(),
    }
)


def told(batch: pa.Schema) -> list[str]:
    """What is said of a batch with these columns."""
    findings: tuple[Finding, ...] = differences(infer(KNOWN.empty_table()), infer(batch.empty_table()))
    assert all(finding.verdict is DataVerdict.STOP for finding in findings)
    return [finding.message for finding in findings]


def changed(**types: pa.DataType | None) -> pa.Schema:
    """The known columns with some types changed, added, or (None) dropped."""
    columns = {field.name: field.type for field in KNOWN} | types
    return pa.schema({name: type for name, type in columns.items() if type is not None})


def test_the_same_columns_in_any_order_and_encoding_are_no_difference() -> None:
    """Order, dictionaries, text sizes and clock ticks do not count."""
    other = changed(origin=pa.dictionary(pa.int8(), pa.large_string()), at=pa.timestamp("ns", "UTC"))
    assert told(pa.schema(list(reversed(list(other))))) == []


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        (changed(temp=None), "temp: missing; the schema has it as double"),
        (
            changed(temp=None, Temp=pa.float64()),
            "temp: missing; the schema has it as double; renamed to Temp?",
        ),
        (changed(humid=pa.float64()), "humid: double, which the schema does not have"),
        (changed(temp=pa.int64()), "temp: int64 where the schema has double"),
        (changed(id=pa.float64()), "id: double where the schema has int64"),
        (changed(at=pa.timestamp("us")), "at: timestamp where the schema has timestamp[tz=UTC]"),
        (changed(origin=pa.list_(pa.string())), "origin: list<string> where the schema has string"),
    ],
)
def test_every_difference_is_told(batch: pa.Schema, said: str) -> None:
    """A dropped, added, renamed or retyped column stops, and the message says which and how."""
    assert said in told(batch)


def test_a_column_without_values_may_become_anything_and_the_reverse() -> None:
    """A null-typed column is missing values and not a wrong type, on either side."""
    assert told(changed(gust=pa.float64())) == [] == told(changed(temp=pa.null()))


def test_nested_types_have_names_without_encodings() -> None:
    """Inside of lists and structs the same rules hold."""
    plain = pa.struct({"a": pa.list_(pa.string()), "b": pa.date32()})
    other = pa.struct({"a": pa.large_list(pa.string_view()), "b": pa.date64()})
    assert type_name(plain) == type_name(other) == "struct<a: list<string>, b: date>"


def test_duplicate_names_are_refused() -> None:
    """Two columns of one name cannot be told apart."""
    with pytest.raises(InvalidInput, match="more than once: x"):
        infer(pa.table([[1], [2]], names=["x", "x"]))
