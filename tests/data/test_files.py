"""Files that appear in a folder become batches, each once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from everloop.data.datasets import list_batches
from everloop.data.files import append_file, collect, read_file, write_file
from everloop.errors import InvalidInput, ProjectError
from everloop.records.data import DataVerdict
from everloop.records.datasets import Dataset
from everloop.storage.workspace import Workspace, open_workspace
from tests.support.work import counting

if TYPE_CHECKING:
    from tests.data.conftest import Rows

WEATHER = Dataset("weather", keys="id", event_time=None, files="data/**/*.parquet")


def put(workspace: Workspace, place: str, rows: pa.Table) -> Path:
    """Write a file into the project."""
    path = workspace.settings.root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, path)
    return path


def test_each_file_is_collected_once_in_the_order_of_their_names(workspace: Workspace, weather: Rows) -> None:
    """Looking again finds nothing; a new file is found; two files of one name in two folders are two files."""
    put(workspace, "data/2/weather.parquet", weather(2))
    put(workspace, "data/1/weather.parquet", weather(1))
    (workspace.settings.root / "data" / "folder.parquet").mkdir()
    assert [batch.version for batch in collect(workspace, WEATHER)] == [0, 1]
    assert workspace.tables.read("weather", 1)["id"].to_pylist()[0] == 10_000
    assert collect(workspace, WEATHER) == []
    put(workspace, "data/3/weather.parquet", weather(3))
    assert [batch.version for batch in collect(workspace, WEATHER)] == [2]


def test_a_file_that_was_appended_by_hand_is_not_collected_again(workspace: Workspace, weather: Rows) -> None:
    """By hand or by the controller, the same file has the same key."""
    path = put(workspace, "data/1.parquet", weather(1))
    by_hand = append_file(workspace, WEATHER, path)
    assert collect(workspace, WEATHER) == []
    assert append_file(workspace, WEATHER, path) == by_hand
    assert append_file(workspace, WEATHER, path, key="another name").version == 1


def test_a_file_that_was_changed_after_it_became_a_version_is_refused(
    workspace: Workspace, weather: Rows
) -> None:
    """Versions never change: the error names the file and says where new rows belong."""
    put(workspace, "data/1.parquet", weather(1))
    collect(workspace, WEATHER)
    put(workspace, "data/1.parquet", weather(2))
    with pytest.raises(ProjectError, match=r"1\.parquet was changed .* new rows into a new file"):
        collect(workspace, WEATHER)
    put(workspace, "data/1.parquet", weather(1))
    assert collect(workspace, WEATHER) == []


def test_a_file_that_was_kept_out_may_be_mended_in_place(workspace: Workspace, weather: Rows) -> None:
    """It has become no version, so it is looked at again as soon as its bytes are others."""
    put(workspace, "data/1.parquet", weather(1))
    put(workspace, "data/2.parquet", weather(2, celsius=True).drop_columns(["gust"]))
    assert [batch.verdict for batch in collect(workspace, WEATHER)] == [DataVerdict.PASS, DataVerdict.STOP]
    assert collect(workspace, WEATHER) == []
    put(workspace, "data/2.parquet", weather(2))
    assert [batch.version for batch in collect(workspace, WEATHER)] == [1]


def test_a_batch_whose_sender_died_is_collected_again(workspace: Workspace, weather: Rows) -> None:
    """A row without a version and without a verdict against it is no batch that was seen."""
    from sqlalchemy import update

    from everloop.storage.schema import batches

    put(workspace, "data/1.parquet", weather(1))
    put(workspace, "data/2.parquet", weather(2))
    collect(workspace, WEATHER)
    with workspace.database.write() as tx:  # as it was in the moment before the version was written
        tx.execute(update(batches).where(batches.c.version == 1).values(version=None, total_rows=0))
    other = open_workspace(workspace.settings)  # whoever comes after the one that died
    assert [batch.version for batch in collect(other, WEATHER)] == [1]
    assert other.tables.read("weather", 1).num_rows == 800
    other.close()


def test_files_that_are_settled_are_not_asked_for_again(workspace: Workspace, weather: Rows) -> None:
    """While they are as they were, a look costs the database nothing; a process that begins asks once for all of them."""
    for number in range(3):
        put(workspace, f"data/{number}.parquet", weather(number))
    put(workspace, "data/3.parquet", weather(3).drop_columns(["gust"]))
    assert [batch.version for batch in collect(workspace, WEATHER)] == [0, 1, 2, None]
    other = open_workspace(workspace.settings)
    for opened, statements in ((workspace, 0), (other, 2), (other, 0)):
        with counting(opened.database) as work:
            assert collect(opened, WEATHER) == []
        assert (
            work.statements == statements
        )  # of the one that was kept out, also whether it had been accepted before
    other.close()


def test_a_dataset_without_a_pattern_collects_nothing(workspace: Workspace, weather: Rows) -> None:
    """Its batches are sent by hand."""
    put(workspace, "data/1.parquet", weather(1))
    assert collect(workspace, Dataset("weather", keys="id", event_time=None)) == []
    with workspace.database.read() as tx:
        assert list_batches(tx) == []


def test_files_of_three_kinds_are_read(tmp_path: Path, weather: Rows) -> None:
    """Parquet, CSV and JSON lines, whatever the case of the ending."""
    rows = weather(1).select(["id", "origin", "temp"])
    pq.write_table(rows, tmp_path / "a.PARQUET")
    pacsv.write_csv(rows, tmp_path / "a.csv")
    lines = "".join(
        f'{{"id": {r["id"]}, "origin": "{r["origin"]}", "temp": {r["temp"]:.1f}}}\n' for r in rows.to_pylist()
    )
    (tmp_path / "a.jsonl").write_text(lines)
    for name in ("a.PARQUET", "a.csv", "a.jsonl"):
        assert read_file(tmp_path / name).to_pylist() == rows.to_pylist(), name


def test_a_file_that_cannot_be_read_is_named(workspace: Workspace, tmp_path: Path) -> None:
    """Damaged, absent or of an unknown kind: one sentence, and no traceback of a library."""
    for name in ("a.parquet", "a.csv", "a.txt"):
        (tmp_path / name).write_bytes(b"\xff\xfe,\n\x00")
        with pytest.raises(InvalidInput, match=name):
            read_file(tmp_path / name)
    for act in (read_file, lambda path: append_file(workspace, WEATHER, path)):
        with pytest.raises(InvalidInput, match="does not exist"):
            act(tmp_path / "nowhere.csv")
    with pytest.raises(InvalidInput, match="cannot be read"):
        append_file(workspace, WEATHER, tmp_path)


def test_a_text_file_whose_numbers_happen_to_be_whole_is_of_the_datasets_type(
    workspace: Workspace, tmp_path: Path
) -> None:
    """A month in which every price is a whole number is no schema skew; a Parquet file that says integer is one."""
    prices = Dataset("prices", keys="id", event_time=None)
    (tmp_path / "one.csv").write_text("id,price\n1,9.5\n2,8.25\n3,7.0\n")
    (tmp_path / "two.csv").write_text("id,price\n4,9\n5,8\n6,7\n")
    assert [append_file(workspace, prices, tmp_path / name).version for name in ("one.csv", "two.csv")] == [
        0,
        1,
    ]
    pq.write_table(pa.table({"id": [7, 8, 9], "price": [6, 5, 4]}), tmp_path / "three.parquet")
    assert append_file(workspace, prices, tmp_path / "three.parquet").verdict is DataVerdict.STOP


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """What was there stays when the rows do not fit, and nothing is left beside it."""
    path = tmp_path / "august.csv"
    write_file(pa.table({"n": [1]}), path)
    with pytest.raises(InvalidInput, match="cannot hold these rows"):
        write_file(pa.table({"n": [[1, 2]]}), path)
    assert read_file(path).to_pylist() == [{"n": 1}]
    assert list(tmp_path.iterdir()) == [path]
