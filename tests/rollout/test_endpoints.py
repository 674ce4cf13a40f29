"""What servers say of themselves: a row for each and each endpoint, and only those of the living count."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from everloop.records.serving import ServerReport
from everloop.rollout.endpoints import (
    list_reports,
    observed_generation,
    register_server,
    reported_generations,
    save_report,
)
from everloop.storage.presence import Presence
from everloop.storage.workspace import Workspace
from tests.support.processes import heard, kill, start

SERVER = """
from everloop.records.serving import ServerReport
from everloop.rollout.endpoints import register_server, save_report
from everloop.storage.presence import Presence
workspace = open_workspace(place)
presence = Presence(workspace.database, workspace.folder)
presence.enter(arguments[0])
with workspace.database.write() as tx:
    register_server(tx, arguments[0], ["late"], alive=presence.present, now=workspace.now())
print("ready", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def alive(workspace: Workspace) -> Iterator[Callable[[str], bool]]:
    """Who is alive, for somebody who looks."""
    presence = Presence(workspace.database, workspace.folder)
    yield presence.present
    presence.close()


def told(workspace: Workspace, alive: Callable[[str], bool]) -> list[tuple[str, int]]:
    """What the living servers of an endpoint have put into effect."""
    with workspace.database.read() as tx:
        return [(r.server, r.generation) for r in list_reports(tx, "late", alive=alive)]


def test_the_dead_do_not_count_and_are_forgotten_by_the_next_that_starts(
    workspace: Workspace, alive: Callable[[str], bool]
) -> None:
    """A server that is killed counts from that moment no more; its row goes when another one begins, and no living one's."""
    presence = Presence(workspace.database, workspace.folder)
    presence.enter("a")
    with workspace.database.write() as tx:
        register_server(tx, "a", ["late", "early"], alive=alive, now=workspace.now())
        save_report(tx, ServerReport(server="a", endpoint="late", generation=7, reported_at=workspace.now()))
    victim = start(workspace.settings, SERVER, "b")
    assert heard(victim) == "ready"
    assert told(workspace, alive) == [("a", 7), ("b", 0)]
    kill(victim)
    assert told(workspace, alive) == [("a", 7)]
    with workspace.database.read() as tx:
        assert reported_generations(tx, "b") == {"late": 0}
    presence.enter("c")
    with workspace.database.write() as tx:
        register_server(tx, "c", ["late"], alive=alive, now=workspace.now())
        assert reported_generations(tx, "b") == {}
        assert reported_generations(tx, "a") == {"late": 7, "early": 0}
    assert told(workspace, alive) == [("a", 7), ("c", 0)]
    presence.close()


def test_a_generation_counts_when_it_is_in_effect_everywhere(workspace: Workspace) -> None:
    """Two servers are as far as the slower one, none is nowhere, and a report replaces the one before it."""
    report = ServerReport(server="a", endpoint="late", generation=4, reported_at=workspace.now())
    with workspace.database.write() as tx:
        for generation in (3, 4):
            save_report(tx, replace(report, generation=generation))
        save_report(tx, replace(report, server="b", generation=2))
        everybody = list_reports(tx, "late", alive=lambda _name: True)
    assert [(r.server, r.generation) for r in everybody] == [("a", 4), ("b", 2)]
    assert observed_generation(everybody) == 2
    assert observed_generation([]) == 0
    assert everybody[0] == report
