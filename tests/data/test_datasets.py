"""A batch at the door of a dataset: judged, kept or kept out, exactly once, whatever happens to the process."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert

from everloop.data.datasets import (
    append,
    count_verdicts,
    find_latest,
    get_latest,
    get_pin,
    is_settled,
    list_accepted,
    list_batches,
    list_changes,
    list_dataset_names,
    list_settled,
    read_kept_out,
)
from everloop.errors import InvalidInput, NotFound
from everloop.records.data import Batch, DataVerdict
from everloop.records.datasets import Dataset, between, not_null, one_of
from everloop.storage import ledger
from everloop.storage.schema import batches as batch_rows
from everloop.storage.workspace import Workspace

if TYPE_CHECKING:
    from tests.data.conftest import Rows

WEATHER = Dataset(
    "weather",
    keys="id",
    event_time=None,
    expect=[between("temp", -30, 120), one_of("origin", "EWR", "JFK", "LGA"), not_null("id")],
)


def batches(workspace: Workspace) -> dict[str, Batch]:
    """Every batch that arrived, by its key."""
    with workspace.database.read() as tx:
        return {batch.key: batch for batch in list_batches(tx, "weather")}


def told(workspace: Workspace) -> list[str]:
    """Every event, by its kind."""
    with workspace.database.read() as tx:
        return [event.short_type for event in ledger.read(tx)]


def test_a_sound_batch_becomes_the_next_version(workspace: Workspace, weather: Rows) -> None:
    """Numbers from 0, with the rows in the order in which they came, and an event each."""
    first = append(workspace, WEATHER, weather(1), key="jan")
    second = append(workspace, WEATHER, weather(2), key="feb")
    assert (first.verdict, first.version, first.rows, first.total_rows) == (DataVerdict.PASS, 0, 400, 400)
    assert (second.verdict, second.version, second.rows, second.total_rows) == (DataVerdict.PASS, 1, 400, 800)
    assert workspace.tables.read("weather", 1).equals(
        pa.concat_tables([weather(1), weather(2)]).combine_chunks()
    )
    assert workspace.tables.read("weather", 0).equals(weather(1))
    assert told(workspace) == ["data.arrived", "data.arrived"]
    with workspace.database.read() as tx:
        assert (get_latest(tx, "weather").version, get_latest(tx, "weather").rows) == (1, 800)
        assert list_dataset_names(tx) == ["weather"]
    assert batches(workspace) == {"jan": first, "feb": second}


def test_a_version_is_pinned_with_the_rows_that_it_had(workspace: Workspace, weather: Rows) -> None:
    """One that is not there is not found, and those that are there are named, whatever number was asked for."""
    for month, key in enumerate(("jan", "feb"), 1):
        append(workspace, WEATHER, weather(month), key=key)
    with workspace.database.read() as tx:
        assert [get_pin(tx, "weather", version).rows for version in (0, 1)] == [400, 800]
        for version in (-1, 2, 10**30):
            with pytest.raises(NotFound, match=rf"no version {version}\. Next: it has 0 to 1\."):
                get_pin(tx, "weather", version)
        with pytest.raises(NotFound, match="dataset nothing has no data yet"):
            get_pin(tx, "nothing", 0)


def test_skewed_columns_stop_the_batch(workspace: Workspace, weather: Rows) -> None:
    """A column missing, added or of another type: kept out, with the rows kept aside and readable."""
    append(workspace, WEATHER, weather(1), key="jan")
    good = weather(2)
    for key, rows in (
        ("missing", good.drop_columns(["gust"])),
        ("added", good.append_column("more", good["temp"])),
        ("mistyped", good.set_column(2, "temp", good["temp"].cast(pa.int64(), safe=False))),
    ):
        batch = append(workspace, WEATHER, rows, key=key)
        assert (batch.verdict, batch.version) == (DataVerdict.STOP, None), key
        assert read_kept_out(workspace, batch).equals(rows)
    assert told(workspace) == ["data.arrived", "data.stopped", "data.stopped", "data.stopped"]
    assert append(workspace, WEATHER, good, key="feb").version == 1


def test_values_that_cannot_be_true_are_quarantined(workspace: Workspace, weather: Rows) -> None:
    """A wrong unit, a burst of nulls and broken promises; the finding says which column and why."""
    append(workspace, WEATHER, weather(1), key="jan")
    append(workspace, WEATHER, weather(2), key="feb")
    cold = append(workspace, WEATHER, weather(3, celsius=True), key="mar")
    assert cold.verdict is DataVerdict.QUARANTINE and "Celsius" in cold.findings[0].message
    assert read_kept_out(workspace, cold).equals(weather(3, celsius=True))
    rows = weather(3)
    empty = append(workspace, WEATHER, rows.set_column(2, "temp", pa.nulls(400, pa.float64())), key="empty")
    assert empty.verdict is DataVerdict.QUARANTINE
    strange = append(workspace, WEATHER, rows.set_column(1, "origin", pa.array(["XXX"] * 400)), key="strange")
    assert strange.verdict is DataVerdict.QUARANTINE
    assert told(workspace)[2:] == ["data.quarantined"] * 3
    assert append(workspace, WEATHER, weather(3), key="mar, corrected").version == 2


def test_values_that_moved_plausibly_are_taken_and_told_of(workspace: Workspace, weather: Rows) -> None:
    """The batch is a version like others, and `data.changed` says that the model may not fit it any more."""
    for month in range(1, 4):
        append(workspace, WEATHER, weather(month), key=f"{month}")
    warm = append(workspace, WEATHER, weather(4, warmer=9.0), key="4")
    assert (warm.verdict, warm.version) == (DataVerdict.RETRAIN, 3)
    assert told(workspace)[-2:] == ["data.arrived", "data.changed"]


def test_the_same_key_twice_is_the_same_batch(workspace: Workspace, weather: Rows) -> None:
    """Sent again, with the same rows or others, it changes nothing and gets the first answer; so does one kept out."""
    first = append(workspace, WEATHER, weather(1), key="jan")
    out = append(workspace, WEATHER, weather(2).drop_columns(["gust"]), key="feb")
    before = told(workspace)
    later = replace(workspace, now=lambda: datetime(2013, 5, 1, tzinfo=UTC))
    assert append(later, WEATHER, weather(1), key="jan") == first
    assert append(later, WEATHER, weather(9, rows=5), key="jan") == first
    assert append(later, WEATHER, weather(2), key="feb") == out
    assert told(workspace) == before and batches(workspace) == {"jan": first, "feb": out}


def test_the_order_of_columns_is_free(workspace: Workspace, weather: Rows) -> None:
    """The dataset keeps the order of its first batch."""
    append(workspace, WEATHER, weather(1), key="jan")
    append(workspace, WEATHER, weather(2).select(["temp", "gust", "id", "origin"]), key="feb")
    assert workspace.tables.read("weather", 1).slice(400).equals(weather(2))


def test_a_column_that_is_nothing_but_nulls_gets_the_type_that_it_has(
    workspace: Workspace, weather: Rows
) -> None:
    """Such a column has no type of its own, which is no skew; in a first batch nobody can know it, so it is refused."""
    sparse = [weather(n).set_column(3, "gust", pa.array([None] * 390 + [1.0] * 10)) for n in (1, 2)]
    untyped = weather(3).set_column(3, "gust", pa.nulls(400))
    with pytest.raises(InvalidInput, match="gust of weather holds nothing but nulls"):
        append(workspace, WEATHER, untyped, key="first")
    assert batches(workspace) == {}
    for key, rows in zip(("jan", "feb", "mar"), (*sparse, untyped), strict=True):
        assert append(workspace, WEATHER, rows, key=key).version is not None, key
    assert workspace.tables.read("weather", 2).slice(800)["gust"].null_count == 400


def test_encodings_of_one_type_are_one_type(workspace: Workspace, weather: Rows) -> None:
    """A dictionary, a large string or a finer clock tick is no skew, and the dataset keeps the type of its first batch."""
    dataset = Dataset("weather", keys="id", event_time="at")
    hours = [datetime(2013, 1, 1) + timedelta(hours=n) for n in range(1200)]
    first = weather(1).append_column("at", pa.array(hours[:400], pa.timestamp("ms")))
    second = weather(2).set_column(1, "origin", weather(2)["origin"].dictionary_encode())
    second = second.append_column("at", pa.array(hours[400:800], pa.timestamp("ns")))
    third = weather(3).set_column(1, "origin", weather(3)["origin"].cast(pa.large_string()))
    third = third.append_column("at", pa.array(hours[800:], pa.timestamp("s")))
    for key, rows in (("1", first), ("2", second), ("3", third)):
        assert append(workspace, dataset, rows, key=key).version is not None, key
    kept = workspace.tables.read("weather", 2)
    assert kept["origin"].to_pylist() == first["origin"].to_pylist() * 3
    assert kept["at"].to_pylist() == hours


def test_what_no_table_can_hold_leaves_no_trace(workspace: Workspace, weather: Rows) -> None:
    """Refused with the column's name; the same key may be used for the corrected rows."""
    bad = weather(1).append_column("took", pa.array(range(400), pa.duration("s")))
    with pytest.raises(InvalidInput, match="took"):
        append(workspace, WEATHER, bad, key="jan")
    assert batches(workspace) == {} and told(workspace) == []
    assert append(workspace, WEATHER, weather(1), key="jan").version == 0


def test_small_unsigned_numbers_keep_their_values(workspace: Workspace) -> None:
    """Delta has no unsigned numbers; 200 seats must not become -56, nor make the next batch look mistyped."""
    seats = Dataset("seats", keys="id", event_time=None)
    for n in range(2):
        rows = pa.table(
            {"id": pa.array([2 * n, 2 * n + 1], pa.uint16()), "seats": pa.array([2, 200], pa.uint8())}
        )
        assert append(workspace, seats, rows, key=f"{n}").version == n
    assert workspace.tables.read("seats", 1)["seats"].to_pylist() == [2, 200, 2, 200]


def test_a_batch_needs_rows_and_a_key(workspace: Workspace, weather: Rows) -> None:
    """An empty one says nothing, and one without a name could not be told from the next."""
    for key, rows in (("", weather(1)), ("k" * 151, weather(1)), ("jan", weather(1).slice(0, 0))):
        with pytest.raises(InvalidInput):
            append(workspace, WEATHER, rows, key=key)
    with pytest.raises(NotFound, match="everloop append weather"), workspace.database.read() as tx:
        get_latest(tx, "weather")
    with workspace.database.read() as tx:
        assert find_latest(tx, "weather") is None


def test_an_accepted_batch_has_nothing_kept_aside(workspace: Workspace, weather: Rows) -> None:
    """Its rows are in the dataset."""
    with pytest.raises(NotFound, match="was not kept out"):
        read_kept_out(workspace, append(workspace, WEATHER, weather(1), key="jan"))


VICTIM = """
    import os, signal, sys
    from pathlib import Path
    import pyarrow.parquet as pq
    from everloop.data.datasets import append
    from everloop.records.datasets import Dataset
    from everloop.settings import Settings
    from everloop.storage.tables import Tables
    from everloop.storage.workspace import open_workspace

    root, point = Path(sys.argv[1]), sys.argv[2]
    whole = Tables.append

    def dying(self, *args, **kwargs):
        if point == "after":
            whole(self, *args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    Tables.append = dying
    workspace = open_workspace(Settings(root=root, module="project"))
    append(workspace, Dataset("weather", keys="id", event_time=None), pq.read_table(root / "batch.parquet"), key="jan")
"""


def die_while_appending(workspace: Workspace, rows: pa.Table, point: str) -> None:
    """Let a real process append a batch and die before or after the table has its rows."""
    import pyarrow.parquet as pq

    pq.write_table(rows, workspace.settings.root / "batch.parquet")
    command = [sys.executable, "-c", textwrap.dedent(VICTIM), str(workspace.settings.root), point]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    left = batches(workspace)["jan"]
    assert not is_settled(left) and left.version is None
    with workspace.database.read() as tx:
        assert find_latest(tx, "weather") is None


def test_a_sender_that_died_after_the_rows_were_in_the_table_is_finished_by_the_next(
    workspace: Workspace, weather: Rows
) -> None:
    """Whatever batch comes next finishes the open one first: both are there once, in order, with all their events."""
    die_while_appending(workspace, weather(1), "after")
    second = append(workspace, WEATHER, weather(2), key="feb")
    found = batches(workspace)
    assert {key: (b.version, b.total_rows) for key, b in found.items()} == {"jan": (0, 400), "feb": (1, 800)}
    assert second.total_rows == 800
    assert workspace.tables.read("weather", 1)["id"].to_pylist() == [
        *range(10_000, 10_400),
        *range(20_000, 20_400),
    ]
    assert append(workspace, WEATHER, weather(1), key="jan").version == 0
    assert told(workspace) == ["data.arrived", "data.arrived"]
    assert (
        append(workspace, WEATHER, weather(3).drop_columns(["gust"]), key="mar").verdict is DataVerdict.STOP
    )


def test_a_sender_that_died_before_the_rows_were_in_the_table_sends_again(
    workspace: Workspace, weather: Rows
) -> None:
    """The second try is judged anew, as it comes and against what is there now; the first has left nothing that counts."""
    die_while_appending(workspace, weather(1).drop_columns(["gust"]), "before")
    assert append(workspace, WEATHER, weather(2), key="feb").version == 0
    stopped = append(workspace, WEATHER, weather(1).drop_columns(["gust"]), key="jan")
    assert stopped.verdict is DataVerdict.STOP
    assert read_kept_out(workspace, stopped).num_rows == 400
    found = batches(workspace)
    assert {k: (b.version, b.verdict.value) for k, b in found.items()} == {
        "jan": (None, "stop"),
        "feb": (0, "pass"),
    }


ARRIVED = st.lists(
    st.tuples(
        st.sampled_from(["weather", "planes"]),
        st.sampled_from(["jan", "feb@1", "Jan", "j%n"]),
        st.sampled_from(list(DataVerdict)),
        st.booleans(),
    ),
    unique_by=lambda one: one[:2],
    max_size=8,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    arrived=ARRIVED, after=st.integers(-1, 8), keys=st.sets(st.sampled_from(["jan", "feb@1", "Jan", "mar"]))
)
def test_what_is_asked_of_some_batches_is_true_of_all(
    workspace: Workspace,
    arrived: list[tuple[str, str, DataVerdict, bool]],
    after: int,
    keys: set[str],
) -> None:
    """Each question that reads a few of them gets the answer that whoever reads every batch would give."""
    with workspace.database.write() as tx:
        tx.execute(delete(batch_rows))
        for number, (dataset, key, verdict, finished) in enumerate(arrived):
            version = number if finished and not verdict.keeps_out else None
            row = {"dataset": dataset, "key": key, "verdict": verdict.value, "version": version}
            time = workspace.now() + timedelta(seconds=number)
            tx.execute(insert(batch_rows).values(**row, arrived_at=time, rows=1, findings=[]))
        every = list_batches(tx, "weather")
        assert list_changes(tx, "weather", after=after) == [
            batch
            for batch in every
            if batch.version is not None and batch.version > after and batch.verdict is DataVerdict.RETRAIN
        ]
        settled = {batch.key: batch.version for batch in every if is_settled(batch) and batch.key in keys}
        assert list_settled(tx, "weather", sorted(keys)) == settled
        for beginning in ("jan", "j%", "feb@"):
            begun = [b.key for b in every if b.version is not None and b.key.startswith(beginning)]
            assert sorted(list_accepted(tx, "weather", beginning)) == sorted(begun)
        counted = Counter(batch.verdict.value for batch in every)
        assert list(count_verdicts(tx, "weather").items()) == list(counted.items())
