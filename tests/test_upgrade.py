"""A workspace of 0.1, with a rollout under way, is opened by this version and carried on where it was.

`support/workspace-0.1.tar.gz` was made by 0.1 itself: its starter, on a clock that stands at noon of 1 May 2025. Two
versions were trained; the second answers 20 percent; 60 requests were asked and 40 of them labelled.
"""

import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Boolean, DateTime, MetaData, Table, insert, select

from everloop.control.lineage import get_lineage
from everloop.models.saving import load_model
from everloop.monitoring.inference_log import read_log
from everloop.monitoring.labels import labelled
from everloop.records.lineage import Edge
from everloop.records.models import CHAMPION, Task
from everloop.records.serving import Arm, Outcome, Rollout, RolloutState, Traffic
from everloop.registry.aliases import find_alias
from everloop.registry.versions import list_versions
from everloop.rollout.canary import Canary
from everloop.rollout.controller import reconcile
from everloop.rollout.endpoint import Endpoint
from everloop.rollout.endpoints import find_traffic, list_rollouts
from everloop.settings import Settings, Storage
from everloop.storage.database import Database
from everloop.storage.edges import add_edges
from everloop.storage.migrate import migrate
from everloop.storage.schema import edges
from everloop.storage.workspace import Workspace, open_workspace
from tests.support.postgres import Postgres
from tests.support.traffic import ask, label

OLD = Path(__file__).parent / "support" / "workspace-0.1.tar.gz"
NOON = datetime(2025, 5, 1, 12, tzinfo=UTC)
ENDPOINT = Endpoint("churn", model="churn", rollout=Canary(steps=[20, 50]))
"""As the starter of 0.1 declares it."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a project of 0.1."""
    with tarfile.open(OLD) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


@pytest.fixture
def upgraded(folder: Path) -> Iterator[Workspace]:
    """The workspace as this version opens it, an hour later."""
    opened = open_workspace(Settings(root=folder, module="churn"))
    yield replace(opened, now=lambda: NOON + timedelta(hours=1))
    opened.close()


@pytest.fixture
def postgres_of_0_1(folder: Path, postgres: Postgres) -> Iterator[Settings]:
    """The same rows in a PostgreSQL database with the tables of 0.1."""
    with postgres.empty() as address:
        place = Settings(root=folder, module="churn", storage=Storage(database=address))
        database = Database(address, folder=place.folder)
        migrate(database, folder=place.folder, now=NOON, revisions=["0001"])
        with database.write() as tx:
            known = MetaData()
            known.reflect(tx)
            for table in known.sorted_tables:
                names = [column.name for column in table.columns]
                quoted = ", ".join(f'"{name}"' for name in names)
                rows = old_rows(folder, f"SELECT {quoted} FROM {table.name}")
                if rows and table.name != "alembic_version":
                    tx.execute(
                        insert(table), [_typed(table, dict(zip(names, row, strict=True))) for row in rows]
                    )
        database.close()
        yield place


def _typed(table: Table, row: dict[str, object]) -> dict[str, object]:
    """A row of SQLite in the types of PostgreSQL."""
    for column in table.columns:
        value = row[column.name]
        if isinstance(column.type, DateTime) and isinstance(value, str):
            row[column.name] = datetime.fromisoformat(value)
        if isinstance(column.type, Boolean) and value is not None:
            row[column.name] = bool(value)
    return row


def old_rows(folder: Path, query: str) -> list[tuple[Any, ...]]:
    """What 0.1 has written, before anybody else opens it."""
    with closing(sqlite3.connect(folder / ".everloop" / "everloop.db")) as database:
        return database.execute(query).fetchall()


def test_no_prediction_and_no_label_is_lost_or_changed(folder: Path) -> None:
    """Each row has what it had, its answer under the name of the model's output, in the order of arrival."""
    before = old_rows(
        folder, "SELECT id, arm, unit, version, share, output, status FROM predictions ORDER BY id, arm"
    )
    truth = dict(old_rows(folder, "SELECT prediction_id, value FROM labels"))
    workspace = open_workspace(Settings(root=folder, module="churn"))
    with workspace.database.read() as tx:
        after, joined = read_log(tx), labelled(tx, endpoint="churn")
    workspace.close()
    assert [(p.id, p.arm, p.unit, p.version, p.share, p.output, 200) for p in after] == before
    assert {(tuple(p.outputs or ()), p.outcome, p.arrived_at - p.time) for p in after} == {
        (("left",), Outcome.ANSWERED, timedelta(0))
    }
    assert [p.seq for p in after] == list(range(1, len(before) + 1))
    assert {row.prediction.id: row.label for row in joined if row.label is not None} == truth
    assert list((folder / ".everloop").glob("everloop-0001-*.db")), "it was backed up first"


def test_its_models_answer_as_they_did(upgraded: Workspace) -> None:
    """A version of 0.1 is loaded, knows its task, and gives each logged request the score that the log has."""
    with upgraded.database.read() as tx:
        versions, logged = list_versions(tx, "churn"), read_log(tx)
    assert [version.version for version in versions] == [1, 2]
    for version in versions:
        model = load_model(upgraded.blobs, version.digest, trust=upgraded.settings.trust)
        assert (model.task, model.label, model.features) == (Task.BINARY, None, None)
        mine = [prediction for prediction in logged if prediction.version == version.version]
        columns = {name: [p.inputs[name] for p in mine] for name in mine[0].inputs}
        assert model.infer(columns)["left"].tolist() == [p.output for p in mine]


def test_its_rollout_goes_on_to_its_end(upgraded: Workspace) -> None:
    """What was seen before counts: with as many requests as are still missing, the canary steps up and is promoted."""
    assert not reconcile(upgraded, ENDPOINT)  # 40 labelled requests are too few
    (running,) = [r for r in _rollouts(upgraded) if r.state is RolloutState.RUNNING]
    assert (running.stable, running.canary, running.step) == (1, 2, 0)
    _ask_and_label(upgraded, 110, "a")
    assert reconcile(upgraded, ENDPOINT)
    assert _traffic(upgraded).split.canary == 50
    _ask_and_label(upgraded, 800, "b")
    while reconcile(upgraded, ENDPOINT):
        pass
    (*_, ended) = _rollouts(upgraded)
    assert ended.state is RolloutState.PROMOTED
    with upgraded.database.read() as tx:
        assert find_alias(tx, "churn", CHAMPION) == 2


def test_the_same_on_postgresql(postgres_of_0_1: Settings, folder: Path) -> None:
    """The rows of 0.1 are rewritten there, too, and kept whole."""
    old = old_rows(folder, "SELECT id, arm, output FROM predictions ORDER BY id, arm")
    workspace = open_workspace(postgres_of_0_1)
    with workspace.database.read() as tx:
        logged, joined = read_log(tx), labelled(tx, endpoint="churn")
    workspace.close()
    assert [(p.id, p.arm, p.output) for p in logged] == old
    assert sum(row.label is not None and row.prediction.arm is not Arm.SHADOW for row in joined) == 40


EDGES_OF_0_1 = """
SELECT 'batch ' || key, 'dataset ' || dataset || '@' || version, 'appended' FROM batches WHERE version IS NOT NULL
UNION ALL SELECT 'dataset ' || dataset || '@' || version, 'run ' || run_id, 'read' FROM run_datasets
UNION ALL SELECT 'model ' || model || '@' || version, 'run ' || run_id, alias FROM run_models WHERE version IS NOT NULL
UNION ALL SELECT 'run ' || run_id || ' ' || step, 'artifact ' || digest, name || ' (' || format || ')'
          FROM step_artifacts WHERE direction = 'output'
UNION ALL SELECT 'artifact ' || digest, 'run ' || run_id || ' ' || step, name FROM step_artifacts
          WHERE direction = 'input'
UNION ALL SELECT 'run ' || run_id, 'model ' || model || '@' || version, 'registered' FROM model_versions
UNION ALL SELECT 'artifact ' || digest, 'model ' || model || '@' || version, 'registered' FROM model_versions
UNION ALL SELECT 'model ' || model || '@' || version, 'alias ' || alias, 'moved by ' || who || ': ' || why
          FROM alias_history WHERE version IS NOT NULL
"""
AT_ITS_ENDPOINT = {
    ("model churn@1", "endpoint churn", "stable"),
    ("model churn@2", "endpoint churn", "canary"),
}


def test_its_lineage_is_known(folder: Path) -> None:
    """Everything that 0.1 wrote down is an edge, however much that is, and who answers at the endpoint is one, too.

    Written again by this version it is the same edge.
    """
    _send_batches(folder, 2_500)
    expected = {*old_rows(folder, EDGES_OF_0_1), *AT_ITS_ENDPOINT}
    workspace = open_workspace(Settings(root=folder, module="churn"))
    made = get_lineage(workspace, "churn@2")
    with workspace.database.write() as tx:
        add_edges(tx, (Edge(source=source, target=target, how=how) for source, target, how in expected))
    assert _edges(workspace) == expected and len(expected) > 2_500
    workspace.close()
    (run,) = {edge.source for edge in made.upstream if edge.how == "registered"}
    assert [(edge.source, edge.target, edge.how) for edge in (*made.upstream, *made.downstream)] == [
        ("dataset renewals@3", run, "read"),
        ("model churn@1", run, "champion"),
        (run, "model churn@2", "registered"),
        ("model churn@2", "alias challenger", f"moved by ann@desk: {run} passed its gate"),
        ("model churn@2", "endpoint churn", "canary"),
        ("model churn@2", "60 predictions", "scored"),
    ]


def test_its_lineage_is_known_on_postgresql(postgres_of_0_1: Settings, folder: Path) -> None:
    """The same edges."""
    workspace = open_workspace(postgres_of_0_1)
    found = _edges(workspace)
    workspace.close()
    assert found == {*old_rows(folder, EDGES_OF_0_1), *AT_ITS_ENDPOINT}


def _send_batches(folder: Path, count: int) -> None:
    """So many more batches than 0.1 had, each a version."""
    with closing(sqlite3.connect(folder / ".everloop" / "everloop.db")) as database, database:
        (row,) = database.execute("SELECT * FROM batches WHERE version = 0").fetchall()
        names = [column[1] for column in database.execute("PRAGMA table_info(batches)")]
        one = dict(zip(names, row, strict=True))
        more = [tuple((one | {"key": f"b{n}", "version": 100 + n}).values()) for n in range(count)]
        database.executemany(f"INSERT INTO batches VALUES ({', '.join('?' * len(names))})", more)


def _edges(workspace: Workspace) -> set[tuple[str, str, str]]:
    with workspace.database.read() as tx:
        rows = tx.execute(select(edges.c.source, edges.c.target, edges.c.how)).all()
    assert len(rows) == len(set(rows))
    return {(source, target, how) for source, target, how in rows}


def _rollouts(workspace: Workspace) -> list[Rollout]:
    with workspace.database.read() as tx:
        return list_rollouts(tx, "churn")


def _traffic(workspace: Workspace) -> Traffic:
    with workspace.database.read() as tx:
        traffic = find_traffic(tx, "churn")
    assert traffic is not None
    return traffic


def _ask_and_label(workspace: Workspace, count: int, prefix: str) -> None:
    """So many requests to which both versions give good answers, and their labels."""
    names = [f"{prefix}{n}" for n in range(count)]
    ids = ask(workspace, _traffic(workspace), names, outputs={1: 0.2, 2: 0.1})
    label(workspace, dict.fromkeys(ids, 0.0))
