"""How values become files: the same bytes in every version, and never all of them in memory beside the value."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
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


LARGE = """
import resource, sys
from pathlib import Path

import numpy as np
import pyarrow as pa

from everloop.pipelines.artifacts import Artifacts
from everloop.records.runs import ArtifactRef
from everloop.settings import Trust
from everloop.storage.blobs import Blobs
from everloop.storage.codec import dumps, loads

what, do, folder = sys.argv[1:]
kept = Path(folder) / "ref.json"
artifacts = Artifacts(blobs=Blobs(Path(folder) / "blobs"), trust=Trust(), pipeline="main")
kind = pa.Table if what == "table" else np.ndarray


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def saved(megabytes, name="output"):
    array = np.random.default_rng(0).normal(size=megabytes * 1024 * 1024 // 8)
    value = pa.table({"a": array}) if what == "table" else array
    before = peak()
    return artifacts.save(name, value, kind)[0], before


small, _ = saved(1)
artifacts.load(small, kind), artifacts.is_intact(small)  # what the libraries need once
if do == "write":
    ref, before = saved(64)
    kept.write_bytes(dumps(ref))
else:
    ref, before = loads(ArtifactRef, kept.read_bytes()), peak()
    held = artifacts.is_intact(ref) if do == "check" else artifacts.load(ref, kind)
print(peak() - before, ref.size)
"""
"""A process of its own, because only there the most memory that was held is that of one thing."""


@pytest.mark.parametrize("what", ["table", "array"])
def test_no_second_copy_of_a_large_value_is_held(what: str, tmp_path: Path) -> None:
    """Neither while it is written nor while it is checked and read: it goes through in pieces."""
    grown: dict[str, int] = {}
    for do in ("write", "check", "read"):
        command = [sys.executable, "-c", LARGE, what, do, str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        grown[do], size = map(int, done.stdout.split())
        assert size > 32 * MEGABYTE
    assert max(grown["write"], grown["check"], grown["read"] - size) < size / 2
