"""What goes into a row comes out of it, on each database."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select
from sqlalchemy.exc import StatementError

from everloop.records.events import EventType
from everloop.storage import ledger
from everloop.storage.schema import artifacts, environments, params, runs
from everloop.storage.workspace import Workspace

ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TIMES = st.datetimes(datetime(1000, 1, 1), datetime(9998, 12, 31), timezones=ZONES)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def kept_times(workspace: Workspace, times: list[datetime]) -> list[datetime]:
    """Write times, and read them back in the database's own order."""
    rows = [{"digest": str(i), "format": "f", "size": 1, "created_at": time} for i, time in enumerate(times)]
    with workspace.database.write() as tx:
        tx.execute(delete(artifacts))
        tx.execute(insert(artifacts), rows)
    with workspace.database.read() as tx:
        return list(tx.execute(select(artifacts.c.created_at).order_by(artifacts.c.created_at)).scalars())


@quick
@given(times=st.lists(TIMES, min_size=1, max_size=6))
def test_times_come_back_exact_in_utc_and_in_order(workspace: Workspace, times: list[datetime]) -> None:
    """To the microsecond, whatever their zone was; the database sorts them as Python does."""
    found = kept_times(workspace, times)
    assert found == sorted(times)
    assert all(time.tzinfo == UTC for time in found)


@quick
@given(times=st.lists(TIMES, min_size=2, max_size=6))
def test_times_compare_in_the_database_as_they_do_outside(
    workspace: Workspace, times: list[datetime]
) -> None:
    """A query for what is newer finds exactly that."""
    kept_times(workspace, times)
    with workspace.database.read() as tx:
        newer = select(artifacts.c.created_at).where(artifacts.c.created_at > times[0])
        assert sorted(tx.execute(newer).scalars()) == sorted(time for time in times if time > times[0])


def test_a_time_without_a_zone_is_refused(workspace: Workspace) -> None:
    """Nobody guesses which hour was meant."""
    with pytest.raises(StatementError, match="no time zone"):
        kept_times(workspace, [datetime(2013, 1, 1)])


@quick
@given(value=JSON)
def test_json_comes_back_as_it_was(workspace: Workspace, value: Any) -> None:
    """Also null, which is told from a missing row, and text in any script."""
    with workspace.database.write() as tx:
        tx.execute(delete(params))
        tx.execute(delete(runs))
        tx.execute(
            insert(runs).values(
                id="r",
                pipeline="p",
                key="k",
                state="START",
                trigger="t",
                reason="",
                who="w",
                requested_at=workspace.now(),
                resumed=0,
            )
        )
        tx.execute(insert(params).values(run_id="r", name="p", value=value))
    with workspace.database.read() as tx:
        found = tx.execute(select(params.c.value)).scalar_one()
    assert found == value
    assert type(found) is type(value)


def test_a_key_of_any_allowed_length_fits(workspace: Workspace) -> None:
    """PostgreSQL enforces the lengths that SQLite ignores, so the widest composed keys must fit."""
    longest = "p" * 100 + "/" + "t" * 100 + "/" + "k" * 395
    with workspace.database.write() as tx:
        tx.execute(
            insert(runs).values(
                id="r",
                pipeline="p",
                key=longest,
                state="START",
                trigger="t",
                reason="",
                who="w",
                requested_at=workspace.now(),
                resumed=0,
            )
        )
        event = workspace.event(
            EventType.DATA_QUARANTINED, "/datasets/" + "d" * 100, "d" * 100, {}, id="q" * 595
        )
        assert ledger.append(tx, event)
        tx.execute(insert(environments).values(digest="d", python="", platform="", libraries={"ü": "\u2028"}))
    with workspace.database.read() as tx:
        assert tx.execute(select(runs.c.key)).scalar_one() == longest
        assert tx.execute(select(environments.c.libraries)).scalar_one() == {"ü": "\u2028"}
