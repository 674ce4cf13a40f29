"""Signatures: what a model takes, and one matrix from a table and from plain values alike."""

from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everloop.errors import InvalidInput
from everloop.models import signature as signatures
from everloop.models.compiled import CompiledSignature
from everloop.models.signature import categorical_places, infer_signature, matrix
from everloop.records.models import Datatype, Field, Signature

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=3)
VALUES: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "whole": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "real": (pa.float64(), st.floats()),
    "flag": (pa.bool_(), st.booleans()),
    "word": (pa.string(), TEXT),
}


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """Rows of each kind, with gaps, cut into chunks."""
    size = draw(st.integers(1, 6))
    columns = {
        name: pa.array(draw(st.lists(st.none() | values, min_size=size, max_size=size)), kind)
        for name, (kind, values) in VALUES.items()
    }
    table = pa.table(columns)
    cut = draw(st.integers(0, size))
    return pa.concat_tables([table.slice(0, cut), table.slice(cut)])


def slowly(signature: Signature, table: pa.Table) -> np.ndarray:
    """The obvious matrix: value by value."""

    def number(field: Field, value: Any) -> float:
        if value is None:
            return float("nan")
        if field.datatype is Datatype.BYTES:
            return float(field.categories.index(value)) if value in field.categories else float("nan")
        return float(value)

    rows = table.to_pylist()
    return np.array([[number(field, row[field.name]) for field in signature.inputs] for row in rows])


@given(trained=tables(), asked=tables())
def test_one_matrix_from_tables_and_from_plain_values(trained: pa.Table, asked: pa.Table) -> None:
    """In training and in the server the same numbers to the bit: gaps, booleans, words that training never saw."""
    signature = infer_signature(trained, inputs=list(VALUES))
    for rows in (trained, asked):
        filled = matrix(signature, rows)
        assert filled.dtype == np.float64
        np.testing.assert_array_equal(filled, CompiledSignature(signature).matrix(rows.to_pydict()))
        np.testing.assert_array_equal(filled, slowly(signature, rows))


@given(rows=tables())
def test_inference_keeps_the_kind_of_each_column(rows: pa.Table) -> None:
    """Its name, its place, whether it has gaps, and for text every word once, sorted."""
    signature = infer_signature(rows, inputs=list(VALUES), output="late")
    kinds = [Datatype.INT64, Datatype.FP64, Datatype.BOOL, Datatype.BYTES]
    assert [(field.name, field.datatype) for field in signature.inputs] == list(
        zip(VALUES, kinds, strict=True)
    )
    for field in signature.inputs:
        values = rows[field.name].to_pylist()
        assert field.nullable == any(value is None or value != value for value in values)
    words = {value for value in rows["word"].to_pylist() if value is not None}
    assert signature.inputs[3].categories == tuple(sorted(words))
    assert signature.outputs == (Field(name="late", datatype=Datatype.FP64),)
    assert categorical_places(signature) == [3]


def test_columns_may_be_chosen_and_ordered() -> None:
    """The matrix follows the signature, not the table."""
    rows = pa.table({"a": [1], "b": [2], "c": [3]})
    assert matrix(infer_signature(rows, inputs=["c", "a"]), rows).tolist() == [[3.0, 1.0]]


def test_optional_columns_may_be_null_later() -> None:
    """Also when these rows happen to be complete; the others may not."""
    rows = pa.table({"a": [1], "b": ["x"], "c": [0.5]})
    fields = infer_signature(rows, inputs=["a", "b", "c"], optional=["b", "c"]).inputs
    assert [field.nullable for field in fields] == [False, True, True]
    with pytest.raises(InvalidInput, match="d, e cannot be optional"):
        infer_signature(rows, inputs=["a"], optional=["d", "e"])
    with pytest.raises(InvalidInput, match="b cannot be optional"):
        infer_signature(rows, inputs=["a"], optional=["b"])


@pytest.mark.parametrize(
    ("column", "datatype", "expected"),
    [
        (pa.array([1, 0], pa.int8()), Datatype.INT64, [1, 0]),
        (pa.array([255, 0], pa.uint8()), Datatype.INT64, [255, 0]),
        (pa.array([2**64 - 1, 0], pa.uint64()), Datatype.INT64, [2.0**64, 0]),
        (pa.array([0.5, None], pa.float16()), Datatype.FP64, [0.5, np.nan]),
        (pa.array([0.1, None], pa.float32()), Datatype.FP64, [np.float32(0.1), np.nan]),
        (pa.array(["b", "a"], pa.large_string()), Datatype.BYTES, [1, 0]),
        (pa.array(["b", "a"], pa.string_view()), Datatype.BYTES, [1, 0]),
        (pa.array(["b", "a"]).dictionary_encode(), Datatype.BYTES, [1, 0]),
        (pa.array(["b", "a"], pa.large_string()).dictionary_encode(), Datatype.BYTES, [1, 0]),
        (pa.array([7, 9]).dictionary_encode(), Datatype.INT64, [7, 9]),
    ],
)
def test_every_encoding_means_what_it_holds(
    column: pa.Array, datatype: Datatype, expected: list[float]
) -> None:
    """Width and encoding of a column are the table's business, not the model's."""
    rows = pa.table({"x": column})
    signature = infer_signature(rows, inputs=["x"])
    assert signature.inputs[0].datatype is datatype
    np.testing.assert_array_equal(matrix(signature, rows)[:, 0], expected)


@pytest.mark.parametrize(
    "column",
    [
        pa.array([Decimal("1.5")]),
        pa.array([Decimal("1.5")]).dictionary_encode(),
        pa.array([0], pa.timestamp("us", "UTC")),
        pa.array([0], pa.date32()),
        pa.array([0], pa.duration("s")),
        pa.array([b"x"]),
        pa.array([[1]]),
        pa.array([{"a": 1}]),
    ],
)
def test_what_no_model_takes_is_refused(column: pa.Array) -> None:
    """By the column's name and type, when the signature is inferred and when it is used."""
    rows = pa.table({"x": column})
    with pytest.raises(
        InvalidInput, match=r"x is of type .*; a model takes numbers, booleans and text.*cast it"
    ):
        infer_signature(rows, inputs=["x"])
    with pytest.raises(InvalidInput, match="x is of type"):
        matrix(infer_signature(pa.table({"x": [1]}), inputs=["x"]), rows)


def test_a_column_without_any_value_has_no_type() -> None:
    """It cannot be learned from, but a batch may have it: then every row lacks it."""
    with pytest.raises(InvalidInput, match="x holds nothing but nulls"):
        infer_signature(pa.table({"x": pa.nulls(2)}), inputs=["x"])
    for known in (pa.table({"x": [1]}), pa.table({"x": ["a"]})):
        signature = infer_signature(known, inputs=["x"])
        assert np.isnan(matrix(signature, pa.table({"x": pa.nulls(2)}))).all()


@pytest.mark.parametrize(
    ("trained", "asked"), [(["a"], [1]), ([1], ["a"]), ([True], ["a"]), (["a"], [True]), ([0.5], ["a"])]
)
def test_text_is_no_number_and_a_number_is_no_text(trained: list[Any], asked: list[Any]) -> None:
    """A batch with the wrong kind is refused, by the name of its column."""
    signature = infer_signature(pa.table({"x": trained}), inputs=["x"])
    with pytest.raises(InvalidInput, match="x is of type"):
        matrix(signature, pa.table({"x": asked}))


def test_columns_that_are_missing_or_named_twice_are_refused() -> None:
    """With what there is."""
    rows = pa.table({"a": [1], "b": [2]})
    with pytest.raises(InvalidInput, match="no column c, d among a, b"):
        infer_signature(rows, inputs=["a", "c", "d"])
    with pytest.raises(InvalidInput, match="named twice"):
        infer_signature(rows, inputs=["a", "a"])
    with pytest.raises(InvalidInput, match="at least one input"):
        infer_signature(rows, inputs=[])
    with pytest.raises(InvalidInput, match="needs column b"):
        matrix(infer_signature(rows, inputs=["a", "b"]), rows.select(["a"]))


def test_a_text_that_is_no_category_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A column of names or of free text would make a signature without end."""
    monkeypatch.setattr(signatures, "_MOST_CATEGORIES", 3)
    assert len(infer_signature(pa.table({"x": ["a", "b", "c"]}), inputs=["x"]).inputs[0].categories) == 3
    with pytest.raises(InvalidInput, match="x has 4 different texts"):
        infer_signature(pa.table({"x": ["a", "b", "c", "d"]}), inputs=["x"])


def test_no_rows_make_an_empty_matrix() -> None:
    """Of the right width."""
    rows = pa.table({"a": pa.array([], pa.int64()), "b": pa.array([], pa.string())})
    signature = infer_signature(rows, inputs=["a", "b"])
    assert (
        matrix(signature, rows).shape == CompiledSignature(signature).matrix(rows.to_pydict()).shape == (0, 2)
    )
