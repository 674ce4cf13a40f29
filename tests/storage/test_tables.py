"""Versioned tables: every batch once, in order, and a version that never changes."""

import os
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everloop.errors import Corrupted, InvalidInput, NotFound, Unsupported
from everloop.settings import Settings
from everloop.storage import tables as room
from everloop.storage.tables import Tables
from tests.support.processes import finish, heard, kill, start

BATCHES = st.lists(
    st.lists(
        st.tuples(st.none() | st.integers(-(2**63), 2**63 - 1), st.none() | st.text(max_size=5)), max_size=5
    ),
    min_size=1,
    max_size=4,
)


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    """An empty store."""
    return Tables(tmp_path / "tables")


def numbers(*values: int) -> pa.Table:
    """A batch of one column."""
    return pa.table({"n": pa.array(values, pa.int64())})


def pairs(rows: list[tuple[int | None, str | None]]) -> pa.Table:
    """A batch of two columns."""
    return pa.table(
        {"n": pa.array([n for n, _ in rows], pa.int64()), "s": pa.array([s for _, s in rows], pa.string())}
    )


@settings(max_examples=15, deadline=None)
@given(batches=BATCHES)
def test_every_version_is_its_batches_one_after_the_other(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[tuple[int | None, str | None]]]
) -> None:
    """At each version exactly the rows up to then, in the order in which they came, also much later."""
    tables = Tables(tmp_path_factory.mktemp("tables"))
    versions = [tables.append("t", pairs(rows), key=f"b{place}") for place, rows in enumerate(batches)]
    assert versions == list(range(len(batches)))
    for version in versions:
        expected = [row for rows in batches[: version + 1] for row in rows]
        assert tables.read("t", version).equals(pairs(expected))


def test_rows_keep_their_order_however_they_are_chunked(tables: Tables) -> None:
    """A table in many small pieces comes back as one sequence."""
    chunks = [numbers(*range(start, start + 1000)) for start in range(0, 200_000, 1000)]
    for place in range(2):
        tables.append("t", pa.concat_tables(chunks), key=str(place))
    assert tables.read("t", 1)["n"].to_pylist() == [*range(200_000), *range(200_000)]


def test_the_same_batch_again_is_the_same_version(tables: Tables) -> None:
    """The key decides, however much came after it, and whatever the repeat holds."""
    assert tables.append("t", numbers(1), key="a") == 0
    assert tables.append("t", numbers(1), key="b") == 1
    assert tables.append("t", numbers(7, 8, 9), key="a") == 0
    assert tables.find_version("t", "a") == 0
    assert tables.find_version("t", "c") is None
    assert tables.read("t", 1)["n"].to_pylist() == [1, 1]


def test_old_versions_outlive_the_logs_usual_age(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """Delta's own housekeeping would take versions older than 30 days away; a pinned one must stay."""
    monkeypatch.setattr(room, "_KEEP_ALL", room._KEEP_ALL | {"delta.checkpointInterval": "2"})
    long_ago = time.time() - 90 * 86_400
    for n in range(6):
        tables.append("t", numbers(n), key=str(n))
        for commit in (tables.folder / "t" / "_delta_log").iterdir():
            os.utime(commit, (long_ago, long_ago))
    assert (tables.folder / "t" / "_delta_log" / "_last_checkpoint").exists()
    assert [tables.read("t", n)["n"].to_pylist() for n in range(6)] == [list(range(n + 1)) for n in range(6)]
    assert tables.append("t", numbers(9), key="0") == 0


def test_columns_may_be_chosen(tables: Tables) -> None:
    """In the order asked for; a column that is not there is named."""
    tables.append("t", pa.table({"a": [1], "b": ["x"], "c": [0.5]}), key="k")
    assert tables.read("t", 0, ["c", "a"]).to_pydict() == {"c": [0.5], "a": [1]}
    with pytest.raises(InvalidInput, match="no column d, e"):
        tables.read("t", 0, ["e", "a", "d"])


@pytest.mark.parametrize("version", [-1, 1, 99])
def test_a_version_that_is_not_there_is_not_found(tables: Tables, version: int) -> None:
    """Nor is a dataset; both are named."""
    tables.append("t", numbers(1), key="k")
    with pytest.raises(NotFound, match=f"dataset t has no version {version}"):
        tables.read("t", version)
    with pytest.raises(NotFound, match="dataset other has no version 0"):
        tables.read("other", 0)
    assert tables.types("other") is None


def test_an_empty_batch_is_a_version_too(tables: Tables) -> None:
    """It decides the types, and adds no rows."""
    assert tables.append("t", numbers(), key="a") == 0
    assert tables.read("t", 0).equals(numbers())
    assert tables.append("t", numbers(1), key="b") == 1
    assert tables.types("t") == pa.schema([("n", pa.int64())])


NOON = datetime(2013, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given_type", "value", "kept_type"),
    [
        (pa.int8(), 1, pa.int8()),
        (pa.uint8(), 200, pa.int16()),
        (pa.uint16(), 40_000, pa.int32()),
        (pa.uint32(), 3_000_000_000, pa.int64()),
        (pa.uint64(), 5, pa.int64()),
        (pa.float16(), 0.5, pa.float32()),
        (pa.float32(), 0.1, pa.float32()),
        (pa.bool_(), True, pa.bool_()),
        (pa.large_string(), "x", pa.string()),
        (pa.string_view(), "x", pa.string()),
        (pa.dictionary(pa.int8(), pa.string()), "x", pa.string()),
        (pa.large_binary(), b"x", pa.binary()),
        (pa.date64(), NOON.date(), pa.date32()),
        (pa.timestamp("ns", "UTC"), NOON, pa.timestamp("us", "UTC")),
        (pa.timestamp("s", "America/New_York"), NOON, pa.timestamp("us", "UTC")),
        (pa.timestamp("ms"), NOON.replace(tzinfo=None), pa.timestamp("us")),
        (pa.decimal128(10, 2), Decimal("1.25"), pa.decimal128(10, 2)),
        (pa.list_(pa.int64()), [1, 2], pa.list_(pa.int64())),
    ],
)
def test_every_type_keeps_its_values(tables: Tables, given_type: Any, value: Any, kept_type: Any) -> None:
    """Encodings and widths may change, values do not; a second batch of the given type fits."""
    batch = pa.table({"x": pa.array([value, None], given_type)})
    for key in ("a", "b"):
        tables.append("t", batch, key=key)
    kept = tables.read("t", 1)
    assert kept.schema == pa.schema([("x", kept_type)]) == tables.types("t")
    assert kept["x"].cast(
        given_type if not pa.types.is_dictionary(given_type) else pa.string()
    ).to_pylist() == (batch["x"].to_pylist() * 2)


@pytest.mark.parametrize(
    ("column", "told"),
    [
        (pa.array([2**63 + 1], pa.uint64()), "x .uint64. cannot be kept"),
        (pa.array([1], pa.timestamp("ns")), "would lose data"),
        (pa.array([1], pa.duration("s")), "no such type"),
        (pa.array([1], pa.time64("us")), "no such type"),
        (pa.nulls(1), "nothing but nulls"),
    ],
)
def test_what_would_lose_something_is_refused(tables: Tables, column: pa.Array, told: str) -> None:
    """By the name of its column, and before anything is written."""
    with pytest.raises(InvalidInput, match=told):
        tables.append("t", pa.table({"x": column}), key="k")
    assert tables.types("t") is None


def test_a_later_batch_takes_the_tables_order_and_types(tables: Tables) -> None:
    """Columns may come in any order, narrower, or as nothing but nulls."""
    tables.append("t", pa.table({"a": [1], "b": [0.5], "c": ["x"]}), key="1")
    narrow = {"c": pa.nulls(1), "b": pa.array([1.5], pa.float32()), "a": pa.array([2], pa.int8())}
    tables.append("t", pa.table(narrow), key="2")
    assert tables.read("t", 1).to_pydict() == {"a": [1, 2], "b": [0.5, 1.5], "c": ["x", None]}


@pytest.mark.parametrize(
    ("batch", "told"),
    [
        ({"a": [1]}, "the columns are a; the table has a, b"),
        ({"a": [1], "b": ["x"], "c": [1]}, "the columns are a, b, c"),
        ({"a": ["1"], "b": ["x"]}, "column a is string; the table has int8"),
        ({"a": [1.0], "b": ["x"]}, "column a is double; the table has int8"),
        ({"a": [300], "b": ["x"]}, "column a does not fit int8"),
    ],
)
def test_a_later_batch_that_does_not_fit_is_refused(tables: Tables, batch: dict[str, Any], told: str) -> None:
    """And the table stays as it was."""
    tables.append("t", pa.table({"a": pa.array([1], pa.int8()), "b": ["x"]}), key="1")
    with pytest.raises(InvalidInput, match=told):
        tables.append("t", pa.table(batch), key="2")
    assert tables.find_version("t", "2") is None


def test_a_column_that_is_there_twice_is_refused(tables: Tables) -> None:
    """Nobody knows which one was meant."""
    with pytest.raises(InvalidInput, match="twice"):
        tables.append("t", pa.table([[1], [2]], names=["a", "a"]), key="k")


def files(tables: Tables) -> list[Path]:
    """The data files of the table `t`."""
    return sorted((tables.folder / "t").glob("*.parquet"))


def test_changed_bytes_are_refused(tables: Tables) -> None:
    """Whichever byte flips, in rows or headers; so are a cut and a lost file."""
    tables.append("t", numbers(*range(50)), key="k")
    (path,) = files(tables)
    true = path.read_bytes()
    for place in range(0, len(true), 11):
        damaged = bytearray(true)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(Corrupted, match="dataset t"):
            tables.read("t", 0)
    path.write_bytes(true)
    assert tables.read("t", 0).equals(numbers(*range(50)))
    path.write_bytes(true[: len(true) // 2])
    with pytest.raises(Corrupted):
        tables.read("t", 0)
    path.unlink()
    with pytest.raises(Corrupted):
        tables.read("t", 0)


APPEND = """
import pyarrow as pa
from everloop.storage.tables import Tables
tables = Tables(place.root / "tables")
print("ready", flush=True)
sys.stdin.readline()
for key in arguments:
    print(tables.append("t", pa.table({"n": [1, 2]}), key=key))
"""


def test_processes_that_append_at_once_lose_nothing(tmp_path: Path, tables: Tables) -> None:
    """Equal rows under different keys are different batches, and a key that two of them send is one batch.

    The table itself is made in the same moment.
    """
    place = Settings(root=tmp_path, module="project")
    both = [start(place, APPEND, "shared", *(f"{name}{n}" for n in range(4))) for name in "ab"]
    assert [heard(process) for process in both] == ["ready", "ready"]
    said = [[int(line) for line in lines.split()] for lines in finish(both)]
    assert said[0][0] == said[1][0] == tables.find_version("t", "shared")
    assert sorted({*said[0], *said[1]}) == list(range(9))
    assert tables.read("t", 8)["n"].to_pylist() == [1, 2] * 9


DIE_BEFORE_THE_COMMIT = """
import pyarrow as pa
from everloop.storage.tables import Tables
class Halted(Tables):
    def _commit(self, *words):
        print("written", flush=True)
        sys.stdin.readline()
Halted(place.root / "tables").append("t", pa.table({"n": [1, 2]}), key="k")
"""


def test_a_process_killed_before_its_commit_leaves_nothing_that_matters(
    tmp_path: Path, tables: Tables
) -> None:
    """Its file is in no version; the repeat writes the same file and makes the version."""
    process = start(Settings(root=tmp_path, module="project"), DIE_BEFORE_THE_COMMIT)
    assert heard(process) == "written"
    kill(process)
    assert tables.types("t") is None
    left = files(tables)
    assert len(left) == 1
    assert tables.append("t", numbers(1, 2), key="k") == 0
    assert files(tables) == left
    assert tables.read("t", 0)["n"].to_pylist() == [1, 2]


@pytest.mark.parametrize("name", ["", "../t", "a/b", "Big", "1st", "a b", "a.b", "x" * 101])
def test_a_name_that_could_lead_elsewhere_is_refused(tables: Tables, name: str) -> None:
    """Whatever is asked under it."""
    with pytest.raises(InvalidInput, match="no name for a dataset"):
        tables.read(name, 0)
    with pytest.raises(InvalidInput, match="no name for a dataset"):
        tables.append(name, numbers(1), key="k")


@pytest.mark.parametrize("name", ["with space", "ünïcode", "a=b", "100%", "x=y&z", "a+b", "quote'\"", "{}*"])
def test_folders_may_have_unusual_names(tmp_path: Path, name: str) -> None:
    """What means something in an address means nothing in a folder's name."""
    tables = Tables(tmp_path / name / "tables")
    for key in ("1", "2"):
        tables.append("t", numbers(1), key=key)
    assert tables.read("t", 1).to_pydict() == {"n": [1, 1]}


@pytest.mark.parametrize("name", ["a[b]", "a%20b", "a\\b", "c#", "why?"])
def test_folders_that_delta_would_misread_are_refused(tmp_path: Path, name: str) -> None:
    """Before anything is lost in another folder."""
    with pytest.raises(Unsupported, match="rename the folder"):
        Tables(tmp_path / name)
