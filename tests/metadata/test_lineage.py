"""Lineage: from any one thing to what it was made from and to what was made from it."""

from dataclasses import replace

import pytest
from sqlalchemy import insert

from everloop.errors import Conflict, NotFound
from everloop.metadata.lineage import Lineage, lineage
from everloop.metadata.runs import end_run
from everloop.records.checks import CheckResult
from everloop.records.models import Datatype, Field, Signature
from everloop.records.runs import Run, RunState
from everloop.registry.aliases import move_alias
from everloop.registry.versions import register_version
from everloop.storage.schema import batches, predictions
from everloop.storage.workspace import Workspace
from tests.support.runs import artifact, pin, running, step

SIGNATURE = Signature(inputs=(Field(name="x", datatype=Datatype.FP64),), outputs=())
PASSED = CheckResult(name="gate", passed=True, because="better")


def batch(workspace: Workspace, version: int, key: str) -> None:
    """A batch that became a version of `flights`."""
    row = {
        "dataset": "flights",
        "key": key,
        "rows": 10,
        "verdict": "pass",
        "findings": [],
        "total_rows": 10 * version,
    }
    with workspace.database.write() as tx:
        tx.execute(insert(batches).values(**row, version=version, arrived_at=workspace.now()))


def predict(workspace: Workspace, id: str, version: int, *, arm: str = "stable") -> None:
    """A prediction of `late`."""
    row = {
        "id": id,
        "arm": arm,
        "request_id": id,
        "unit": id,
        "endpoint": "e",
        "model": "late",
        "version": version,
    }
    with workspace.database.log() as tx:
        tx.execute(
            insert(predictions).values(
                **row,
                share=100,
                time=workspace.now(),
                inputs=b"",
                outcome="answered",
                seconds=0.001,
                arrived_at=workspace.now(),
            )
        )


@pytest.fixture
def made(workspace: Workspace) -> list[Run]:
    """Two runs: the first makes late@1, which becomes champion; the second compares with it and makes late@2."""
    batch(workspace, 1, "2013-01")
    batch(workspace, 2, "2013-02")
    runs = []
    for version in (1, 2):
        run = running(workspace, str(version))
        run = pin(workspace, run, datasets={"flights": version}, models=version - 1 or None)
        rows, model = (
            artifact("rows", "ab"[version - 1], "parquet"),
            artifact("model", "cd"[version - 1], "model"),
        )
        step(workspace, run, "extract", place=0, outputs=(rows,))
        step(workspace, run, "train", place=1, inputs=(rows,), outputs=(model,))
        with workspace.database.write() as tx:
            register_version(
                tx,
                workspace,
                model="late",
                digest=model.digest,
                flavor="sklearn",
                signature=SIGNATURE,
                gate=PASSED,
                run_id=run.id,
                metrics={},
                facts={},
            )
            if version == 1:
                move_alias(tx, workspace, model="late", alias="champion", version=1, who="ann", why="first")
            end_run(tx, workspace, run, RunState.COMPLETE, seconds=1.0)
        runs.append(run)
    predict(workspace, "p1", 1)
    predict(workspace, "p2", 1)
    predict(workspace, "p2", 2, arm="shadow")
    return runs


def edges(workspace: Workspace, thing: str) -> tuple[str, list[str], list[str]]:
    """A thing's name, and the arrows into it and out of it as text."""
    with workspace.database.read() as tx:
        found: Lineage = lineage(tx, thing)
    arrows = [
        [f"{edge.source} > {edge.target} ({edge.how})" for edge in side]
        for side in (found.upstream, found.downstream)
    ]
    return found.thing, arrows[0], arrows[1]


def test_of_a_run(workspace: Workspace, made: list[Run]) -> None:
    """The versions it read, the artifacts its steps made, the version it registered."""
    me = f"run {made[1].id}"
    expected = (
        me,
        [f"dataset flights@2 > {me} (read)", f"model late@1 > {me} (champion)"],
        [
            f"{me} extract > artifact {'b' * 12} (rows (parquet))",
            f"{me} train > artifact {'d' * 12} (model (model))",
            f"{me} > model late@2 (registered)",
        ],
    )
    assert edges(workspace, made[1].id) == edges(workspace, made[1].id[-8:]) == expected


def test_of_a_model(workspace: Workspace, made: list[Run]) -> None:
    """What its run read; the aliases it carried and why, the runs that it was compared in, how much it scored."""
    thing, up, down = edges(workspace, "late@1")
    assert thing == "model late@1"
    assert up == [
        f"dataset flights@1 > run {made[0].id} (read)",
        f"run {made[0].id} > model late@1 (registered)",
    ]
    assert down == [
        "model late@1 > alias champion (moved by ann: first)",
        f"model late@1 > run {made[1].id} (compared with its candidate)",
        "model late@1 > 2 predictions (scored)",
    ]


def test_of_an_alias(workspace: Workspace, made: list[Run]) -> None:
    """It is that of the version that the alias points at; one that points nowhere is not found."""
    with workspace.database.read() as tx:
        assert lineage(tx, "late@champion") == lineage(tx, "late@1")
        with pytest.raises(NotFound):
            lineage(tx, "late@challenger")


def test_of_a_dataset(workspace: Workspace, made: list[Run]) -> None:
    """The batches in it, and who read that version; its name alone is its newest version."""
    assert edges(workspace, "flights@1") == (
        "dataset flights@1",
        ["batch 2013-01 > dataset flights@1 (appended)"],
        [f"dataset flights@1 > run {made[0].id} (read)"],
    )
    newest = edges(workspace, "flights")
    assert newest == edges(workspace, "flights@2")
    assert newest[1] == [f"batch 2013-0{n} > dataset flights@2 (appended)" for n in (1, 2)]


def test_of_a_prediction(workspace: Workspace, made: list[Run]) -> None:
    """Every model that scored it, on which arm, and all that those were made from; each arrow once."""
    thing, up, down = edges(workspace, "p2")
    assert (thing, down) == ("prediction p2", [])
    assert len(up) == len(set(up))
    assert [arrow for arrow in up if "prediction" in arrow] == [
        "model late@2 > prediction p2 (shadow)",
        "model late@1 > prediction p2 (stable)",
    ]
    assert f"dataset flights@1 > run {made[0].id} (read)" in up
    assert f"dataset flights@2 > run {made[1].id} (read)" in up


def test_of_an_artifact(workspace: Workspace, made: list[Run]) -> None:
    """The step that made it, those that read it, and the version it became."""
    assert edges(workspace, "a" * 10) == (
        f"artifact {'a' * 12}",
        [f"run {made[0].id} extract > artifact {'a' * 12} (rows)"],
        [f"artifact {'a' * 12} > run {made[0].id} train (rows)"],
    )
    assert edges(workspace, "d" * 64)[2] == [f"artifact {'d' * 12} > model late@2 (registered)"]


def test_a_digest_that_could_be_two_things_is_told(workspace: Workspace) -> None:
    """Their edges are never mixed."""
    run = running(workspace)
    one = artifact("one", "a")
    step(workspace, run, "s", outputs=(one, replace(one, name="two", digest="a" * 10 + "b" * 54)))
    with workspace.database.read() as tx, pytest.raises(Conflict, match="2 artifacts match"):
        lineage(tx, "a" * 10)
    assert edges(workspace, "a" * 12)[0] == f"artifact {'a' * 12}"


@pytest.mark.parametrize(
    "thing", ["", "late@9", "flights@9", "weather", "nothing", "f" * 64, "x@1@2", "%", "____"]
)
def test_what_nobody_knows_is_not_found(workspace: Workspace, made: list[Run], thing: str) -> None:
    """And what could be asked is listed."""
    with workspace.database.read() as tx, pytest.raises(NotFound, match="name a run, model@version"):
        lineage(tx, thing)
