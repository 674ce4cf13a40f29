"""Columns in every encoding that Arrow has for them, and what is found in each."""

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from everloop.storage.columns import (
    decode,
    is_binary,
    is_moment,
    is_number,
    is_text,
    value_type,
    without_views,
)

WORDS = ["b", None, "a", "a", "b"]


def encoded() -> dict[str, pa.ChunkedArray]:
    """The same texts, in one way after the other."""
    plain = pa.chunked_array([WORDS[:2], WORDS[2:]], pa.string())
    return {
        "plain": plain,
        "large": plain.cast(pa.large_string()),
        "view": plain.cast(pa.string_view()),
        "dictionary": plain.dictionary_encode(),
        "large dictionary": plain.cast(pa.large_string()).dictionary_encode(),
        "run ends": pa.chunked_array([pc.run_end_encode(chunk) for chunk in plain.chunks]),
        "nothing": pa.chunked_array([], pa.dictionary(pa.int32(), pa.string())),
    }


@pytest.mark.parametrize("how", encoded())
def test_texts_are_the_same_however_they_are_encoded(how: str) -> None:
    """Decoded, they are texts of the type that was below, and functions of Arrow take them."""
    column = encoded()[how]
    found = decode(column)
    assert found.type == value_type(column.type)
    assert is_text(found.type)
    assert found.to_pylist() == ([] if how == "nothing" else WORDS)
    looked_up = pc.is_in(without_views(found), value_set=pa.array(["a"], without_views(found).type))
    assert looked_up.to_pylist() == ([] if how == "nothing" else [word == "a" for word in WORDS])


def test_what_has_no_encoding_is_left_as_it_is() -> None:
    """Nothing is copied for nothing."""
    column = pa.chunked_array([[1, 2]])
    assert decode(column) is column
    assert without_views(column) is column


@pytest.mark.parametrize(
    ("kind", "meaning"),
    [
        (pa.string_view(), is_text),
        (pa.binary_view(), is_binary),
        (pa.large_binary(), is_binary),
        (pa.float16(), is_number),
        (pa.decimal128(9, 2), is_number),
        (pa.duration("s"), is_number),
        (pa.date64(), is_moment),
        (pa.time32("s"), is_moment),
        (pa.timestamp("ns", "UTC"), is_moment),
        (pa.bool_(), None),
        (pa.list_(pa.string()), None),
    ],
)
def test_a_type_means_one_thing_at_most(kind: pa.DataType, meaning: object) -> None:
    """Text, bytes, a number or a moment."""
    assert [known for known in (is_text, is_binary, is_number, is_moment) if known(kind)] == [
        known for known in (meaning,) if known
    ]
