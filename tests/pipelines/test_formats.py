"""How values become files: the same bytes in every version, and never all of them in memory beside the value."""

from __future__ import annotations

import io
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from everloop.pipelines.artifacts import Artifacts
from everloop.pipelines.formats import FORMATS
from everloop.pipelines.formats.parquet import PARQUET
from everloop.settings import Trust
from everloop.storage.blobs import Blobs
from everloop.storage.codec import digest

quick = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
MEGABYTE = 1 << 20


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    """Those of a pipeline that may pickle."""
    return Artifacts(blobs=Blobs(tmp_path), trust=Trust(pickle=("main",)), pipeline="main")


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.floats(allow_nan=False)
    | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=20,
)


@quick
@given(value=PLAIN)
def test_a_value_comes_back_from_the_first_format_that_owns_it(artifacts: Artifacts, value: Any) -> None:
    """As it was; its bytes are those that its format makes of it at once."""
    ref, _ = artifacts.save("output", value, Any)
    assert ref.digest == digest(_at_once(ref.format, value))
    loaded = artifacts.load(ref, Any)
    assert type(loaded) is type(value)
    assert loaded == value
    assert ref.format == next(format.name for format in FORMATS if format.owns(value, Any))


def test_a_large_pickle_has_the_bytes_of_a_pickle_at_once(artifacts: Artifacts) -> None:
    """Pickle writes what is large past its own buffer, and the bytes must not tell."""
    value = {1: b"x" * 200_000, 2: ["y" * 70_000] * 3, 3: list(range(50_000))}
    ref, _ = artifacts.save("output", value, Any)
    assert (ref.format, ref.digest) == ("pickle", digest(pickle.dumps(value, protocol=5)))


def _at_once(format: str, value: Any) -> bytes:
    if format == "bytes":
        return bytes(value)
    return msgspec.json.encode(value, order="sorted") if format == "json" else pickle.dumps(value, protocol=5)


TYPES = [
    pa.int8(),
    pa.uint64(),
    pa.float16(),
    pa.bool_(),
    pa.string(),
    pa.large_string(),
    pa.binary(4),
    pa.dictionary(pa.int8(), pa.string()),
    pa.dictionary(pa.int32(), pa.int64()),
    pa.timestamp("s"),
    pa.timestamp("us", "UTC"),
    pa.timestamp("ns"),
    pa.duration("ms"),
    pa.date32(),
    pa.date64(),
    pa.time32("s"),
    pa.decimal128(9, 2),
    pa.list_(pa.int64()),
    pa.large_list(pa.float32()),
    pa.list_(pa.float32(), 2),
    pa.struct([("a", pa.int64()), ("b", pa.list_(pa.string()))]),
    pa.map_(pa.string(), pa.int64()),
    pa.null(),
]


@pytest.mark.parametrize("kind", TYPES, ids=str)
@pytest.mark.parametrize("metadata", [None, {"who": "ann"}], ids=["plain", "described"])
def test_a_table_is_handed_on_only_if_reading_it_gives_the_same(
    artifacts: Artifacts, kind: pa.DataType, metadata: dict[str, str] | None
) -> None:
    """Which of its types Parquet changes is known without reading the file, and for every number of rows."""
    for rows in (0, 3):
        column = pa.array([None] * rows, kind)
        table = pa.table([column], pa.schema([("a", kind)], metadata=metadata))
        ref, same = artifacts.save("output", table, pa.Table)
        loaded = artifacts.load(ref, pa.Table)
        assert isinstance(loaded, pa.Table)
        assert (same is not None) == PARQUET.comes_back(table)
        assert PARQUET.comes_back(table) == loaded.schema.equals(table.schema, check_metadata=True)


@pytest.mark.parametrize("what", ["table", "array"])
def test_no_second_copy_of_a_large_value_is_held(artifacts: Artifacts, what: str) -> None:
    """Neither while it is written nor while it is checked and read: it goes through in pieces."""
    array = np.random.default_rng(0).normal(size=64 * MEGABYTE // 8)
    value: Any = pa.table({"a": array}) if what == "table" else array
    reference = io.BytesIO()
    pq.write_table(value, reference) if what == "table" else np.save(reference, value)
    expected, size = digest(reference.getvalue()), len(reference.getvalue())
    del reference
    tracemalloc.start()
    try:
        ref, _ = artifacts.save("output", value, Any)
        writing = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        assert artifacts.is_intact(ref)
        checking = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        loaded: Any = artifacts.load(ref, Any)
        reading = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    own = (
        0 if what == "table" else size
    )  # what is read is numpy's own memory, which is traced; Arrow's is not
    assert (ref.digest, ref.size) == (expected, size)
    assert size > 32 * MEGABYTE
    assert max(writing, checking, reading - own) < size / 2
    assert np.array_equal(loaded["a"] if what == "table" else loaded, array)
