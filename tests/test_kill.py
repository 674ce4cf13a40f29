"""Fifty processes are killed in the middle of a cycle, and the one that comes after each makes it whole."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select, text

from everloop.data.datasets import list_batches
from everloop.loop.decisions import Decision
from everloop.loop.firings import list_firings
from everloop.metadata.runs import list_runs
from everloop.metadata.steps import list_steps
from everloop.models.saving import load_model
from everloop.records.models import CHALLENGER, CHAMPION
from everloop.records.runs import RunState
from everloop.records.serving import RolloutState
from everloop.registry.aliases import find_alias, list_alias_moves
from everloop.registry.versions import list_versions
from everloop.rollout.endpoints import find_traffic, list_rollouts
from everloop.storage import ledger
from everloop.storage.schema import artifacts
from everloop.storage.workspace import Workspace, open_workspace
from tests.support import cycle

KILLS = 50
DEATHS_OF_ONE = 5
"""A workspace is made to survive so many in a row, so that the second process is killed while it mends."""


class Nursery:
    """A warm process that forks a fresh one for every life."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.support.cycle"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def live(self, root: Path, *, kill_after: float | None = None) -> tuple[int, float]:
        """One life; returns its exit code, negative for a signal, and how long it was."""
        assert self._process.stdin is not None and self._process.stdout is not None
        print(root, file=self._process.stdin, flush=True)
        child = int(self._process.stdout.readline())
        began = time.perf_counter()
        timer = threading.Timer(kill_after or 60.0, os.kill, (child, signal.SIGKILL))
        timer.start()
        code = int(self._process.stdout.readline())
        timer.cancel()
        return code, time.perf_counter() - began

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=60)


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    """A nursery for one test."""
    made = Nursery()
    yield made
    made.close()


def test_fifty_kills_leave_one_of_everything(nursery: Nursery, tmp_path: Path) -> None:
    """Killed anywhere and begun again: one version per run, one run per reason, one promotion, nothing torn."""
    whole, seconds = nursery.live(_project(tmp_path / "undisturbed"))
    assert whole == 0
    expected = _story(tmp_path / "undisturbed")
    assert (expected["champions"], expected["promoted"]) == ([1, 2], 2), "the cycle itself is whole"
    draw, number = random.Random(7), 0
    deaths: list[int] = []
    while len(deaths) < KILLS:
        number += 1
        root = _project(tmp_path / f"killed-{number}")
        died, whole_life = _die_often(nursery, root, draw, seconds)
        deaths += died
        seconds = whole_life or seconds  # the machine may have become faster or slower since the first life
        code, _ = nursery.live(root)
        assert code == 0, (
            f"after deaths at {died} of workspace {number} the next process did not come through"
        )
        assert _story(root) == expected, f"after deaths at {died} of workspace {number}"
        shutil.rmtree(root)
    print(f"{len(deaths)} deaths in {number} workspaces, after so many events: {sorted(deaths)}")
    assert number < KILLS, "most victims must die in the middle, or nothing was shown"
    assert len(set(deaths)) > 10, "and they must die all over it"


def _die_often(
    nursery: Nursery, root: Path, draw: random.Random, seconds: float
) -> tuple[list[int], float | None]:
    """Kill one life after the other, at any moment of the `seconds` that a whole one takes.

    Returns how far the workspace had come at each death, and how long the first life was if it came through.
    """
    deaths: list[int] = []
    while len(deaths) < DEATHS_OF_ONE:
        code, lived = nursery.live(root, kill_after=draw.uniform(0.02, 1.0) * seconds)
        if code == 0:
            return deaths, None if deaths else lived
        assert code == -signal.SIGKILL, f"it ended by itself with code {code}"
        deaths.append(_events(root))
    return deaths, None


def _events(root: Path) -> int:
    """How many events there are, read from a copy: opening a database mends it, and that is the next life's part."""
    copy = root / "copy"
    shutil.copytree(
        root / ".everloop", copy, ignore=lambda _folder, names: [n for n in names if "everloop.db" not in n]
    )
    try:
        with closing(sqlite3.connect(copy / "everloop.db")) as database:
            return int(database.execute("SELECT count(*) FROM events").fetchone()[0])
    except sqlite3.OperationalError:  # it died before there was a table
        return 0
    finally:
        shutil.rmtree(copy)


def _project(root: Path) -> Path:
    root.mkdir()
    shutil.copy(Path(cycle.__file__), root / "cycle.py")
    return root


def _story(root: Path) -> dict[str, object]:
    """Everything that must be the same however often the process died; what must never be is asserted here."""
    with _opened(root) as workspace, workspace.database.read() as tx:
        runs = list_runs(tx)
        assert {run.state for run in runs} == {RunState.COMPLETE}
        started = [f.run_id for f in list_firings(tx) if f.decision is Decision.STARTED]
        assert sorted(started, key=str) == sorted(run.id for run in runs), (
            "a reason makes one run, and no run comes from nothing"
        )
        versions = list_versions(tx)
        assert sorted(v.run_id for v in versions) == sorted(run.id for run in runs), "a run makes one version"
        moves = [move for move in list_alias_moves(tx, "bought") if move.alias == CHAMPION]
        assert [move.epoch for move in moves] == list(range(1, len(moves) + 1)), "the history has no gap"
        assert [m.previous for m in moves] == [None, *(m.version for m in moves[:-1])], "and no fork"
        traffic = find_traffic(tx, "bought")
        assert traffic is not None
        seen = ledger.read(tx)
        assert len({(event.source, event.id) for event in seen}) == len(seen)
        for digest in tx.execute(select(artifacts.c.digest)).scalars():
            workspace.blobs.get(digest)  # there, and unchanged
        for version in versions:
            load_model(workspace.blobs, version.digest, trust=workspace.settings.trust)
        assert tx.execute(text("PRAGMA integrity_check")).scalar_one() == "ok"
        newest = max(batch.version or 0 for batch in list_batches(tx, "visits"))
        return {
            "told": Counter(event.short_type for event in seen if event.short_type != "run.resumed"),
            "rows": workspace.tables.read("visits", newest)["id"].to_pylist(),
            "batches": [(b.key, b.version, b.verdict, b.total_rows) for b in list_batches(tx, "visits")],
            "steps": sorted((s.step, s.state) for run in runs for s in list_steps(tx, run.id)),
            "versions": [(v.version, v.digest, v.passed) for v in versions],
            "champions": [move.version for move in moves],
            "challenger": find_alias(tx, "bought", CHALLENGER),
            "rollouts": [(r.canary, r.state) for r in list_rollouts(tx)],
            "promoted": sum(r.state is RolloutState.PROMOTED for r in list_rollouts(tx)),
            "traffic": (traffic.stable, traffic.canary, traffic.split.canary),
        }


@contextmanager
def _opened(root: Path) -> Iterator[Workspace]:
    workspace = open_workspace(cycle.settings(root))
    try:
        yield workspace
    finally:
        workspace.close()
