"""The event ledger: every event once, in order, and none without the change that it tells of."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from everloop.records.events import Event, EventType
from everloop.storage import ledger
from everloop.storage.workspace import Workspace

KINDS = [EventType.RUN_STARTED, EventType.RUN_FAILED, EventType.DRIFT_DETECTED]


def write(workspace: Workspace, *events: Event) -> list[bool]:
    """Append events in one transaction."""
    with workspace.database.write() as tx:
        return [ledger.append(tx, event) for event in events]


def read(workspace: Workspace, **filters: object) -> list[Event]:
    """Read the ledger."""
    with workspace.database.read() as tx:
        return ledger.read(tx, **filters)  # type: ignore[arg-type]


def test_an_event_comes_back_as_it_was(workspace: Workspace) -> None:
    """With its attributes, its data, and its place."""
    event = workspace.event(
        EventType.DRIFT_DETECTED, "/monitors/m", "late", {"columns": ["temp"], "effect": 0.5}
    )
    assert write(workspace, event) == [True]
    (found,) = read(workspace)
    assert found == replace(event, seq=found.seq)
    assert (found.type, found.short_type, found.time) == (
        "io.everloop.drift.detected",
        "drift.detected",
        workspace.now(),
    )
    assert found.seq > 0


def test_the_end_of_the_ledger_is_known(workspace: Workspace) -> None:
    """It is the place of the newest event, behind which nothing is read; an empty ledger ends at 0."""
    with workspace.database.read() as tx:
        assert ledger.last_seq(tx) == 0
    write(workspace, *(workspace.event(EventType.DATA_ARRIVED, "/datasets/d", "d", {}) for _ in range(3)))
    with workspace.database.read() as tx:
        end = ledger.last_seq(tx)
    assert read(workspace)[-1].seq == end and read(workspace, after=end) == []


def test_source_and_id_are_unique_together(workspace: Workspace) -> None:
    """A repeat changes nothing, whatever else it says; the same id from elsewhere is another event."""
    first = workspace.event(EventType.RUN_STARTED, "/one", "s", {"n": 1}, id="x")
    repeat = workspace.event(EventType.RUN_FAILED, "/one", "s", {"n": 2}, id="x")
    other = workspace.event(EventType.RUN_STARTED, "/two", "s", {"n": 3}, id="x")
    assert write(workspace, first, repeat, other) == [True, False, True]
    assert write(workspace, first) == [False]
    assert [event.data["n"] for event in read(workspace)] == [1, 3]


def test_events_are_read_in_the_order_of_writing(workspace: Workspace) -> None:
    """Whatever their times say; `after` goes on where an earlier reading ended, and `limit` stops."""
    times = [workspace.now()] * 3
    events = [
        workspace.event(EventType.RUN_STARTED, "/s", "s", {"n": n}, time=time.replace(hour=20 - n))
        for n, time in enumerate(times)
    ]
    for event in events:
        write(workspace, event)
    found = read(workspace)
    assert [event.data["n"] for event in found] == [0, 1, 2]
    assert read(workspace, limit=2) == found[:2]
    assert read(workspace, after=found[0].seq) == found[1:]
    assert read(workspace, after=found[-1].seq) == []


def test_events_are_chosen_by_type_and_subject(workspace: Workspace) -> None:
    """Types may be named with or without their prefix."""
    for kind, subject in (
        (EventType.RUN_FAILED, "r"),
        (EventType.RUN_COMPLETED, "r"),
        (EventType.RUN_FAILED, "q"),
    ):
        write(workspace, workspace.event(kind, "/s", subject, {}))
    failed = read(workspace, types=["run.failed"])
    assert failed == read(workspace, types=["io.everloop.run.failed"])
    assert [event.subject for event in failed] == ["r", "q"]
    assert [event.short_type for event in read(workspace, subject="r")] == ["run.failed", "run.completed"]
    assert len(read(workspace, types=["run.failed", "run.completed"], subject="r")) == 2


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    happened=st.lists(st.sampled_from(KINDS), max_size=12),
    types=st.sets(st.sampled_from(KINDS)),
    after=st.integers(0, 12),
    limit=st.integers(1, 5),
)
def test_the_newest_are_the_last_of_all(
    workspace: Workspace, happened: list[EventType], types: set[EventType], after: int, limit: int
) -> None:
    """Of these types, behind a place; in order, without reading the others."""
    with workspace.database.read() as tx:
        begin = ledger.last_seq(tx)
    write(workspace, *(workspace.event(kind, "/s", "s", {}) for kind in happened))
    with workspace.database.read() as tx:
        every = ledger.read(tx, after=begin + after, types=types)
        assert ledger.read_newest(tx, limit, after=begin + after, types=types) == every[-limit:]
        assert ledger.last_seq(tx) == begin + len(happened)


def test_an_event_is_found_by_its_source_and_id(workspace: Workspace) -> None:
    """None before it has happened."""
    event = workspace.event(EventType.RUN_STARTED, "/one", "s", {"n": 1}, id="x")
    write(workspace, event)
    with workspace.database.read() as tx:
        found = ledger.find_event(tx, "/one", "x")
        assert found is not None and replace(found, seq=0) == event
        assert ledger.find_event(tx, "/two", "x") is None


def test_an_event_is_undone_with_its_change(workspace: Workspace) -> None:
    """A transaction that fails takes its events with it."""
    with pytest.raises(ZeroDivisionError), workspace.database.write() as tx:
        ledger.append(tx, workspace.event(EventType.RUN_STARTED, "/s", "s", {}, id="x"))
        raise ZeroDivisionError
    assert read(workspace) == []
    assert write(workspace, workspace.event(EventType.RUN_STARTED, "/s", "s", {}, id="x")) == [True]
