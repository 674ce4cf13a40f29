"""Lineage: from any one thing to what it was made from and to what was made from it."""

from dataclasses import replace

import pyarrow as pa
import pytest
from sqlalchemy import event

from everloop.control.lineage import get_lineage
from everloop.data.datasets import append
from everloop.errors import Conflict, NotFound
from everloop.metadata.runs import end_run
from everloop.monitoring.inference_log import insert_predictions
from everloop.records.checks import CheckResult
from everloop.records.datasets import Dataset
from everloop.records.models import Datatype, Field, Signature
from everloop.records.runs import Run, RunState
from everloop.records.serving import Arm, Outcome, Prediction, Traffic, TrafficSplit
from everloop.registry.aliases import drop_alias, move_alias
from everloop.registry.versions import register_version
from everloop.rollout.endpoints import write_traffic
from everloop.storage.workspace import Workspace
from tests.support.runs import artifact, pin, running, step

SIGNATURE = Signature(inputs=(Field(name="x", datatype=Datatype.FP64),), outputs=())
PASSED = CheckResult(name="gate", passed=True, because="better")


def batch(workspace: Workspace, key: str) -> None:
    """A batch that becomes a version of `flights`."""
    append(workspace, Dataset("flights", keys=["id"], event_time=None), pa.table({"id": [key]}), key=key)


def predict(workspace: Workspace, id: str, version: int, *, arm: Arm = Arm.STABLE) -> None:
    """A prediction of `late`."""
    given = Prediction(
        id=id,
        request_id=id,
        unit=id,
        endpoint="e",
        model="late",
        version=version,
        arm=arm,
        share=100,
        time=workspace.now(),
        arrived_at=workspace.now(),
        inputs={},
        outputs=None,
        outcome=Outcome.ANSWERED,
        error=None,
        seconds=0.001,
    )
    with workspace.database.log() as tx:
        insert_predictions(tx, [given])


@pytest.fixture
def made(workspace: Workspace) -> list[Run]:
    """Two runs: the first makes late@1, which becomes champion; the second compares with it and makes late@2."""
    batch(workspace, "2013-01")
    batch(workspace, "2013-02")
    runs = []
    for version in (1, 2):
        run = running(workspace, str(version))
        run = pin(workspace, run, datasets={"flights": version - 1}, models=version - 1 or None)
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
    predict(workspace, "p2", 2, arm=Arm.SHADOW)
    return runs


def edges(workspace: Workspace, thing: str) -> tuple[str, list[str], list[str]]:
    """A thing's name, and the arrows into it and out of it as text."""
    found = get_lineage(workspace, thing)
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
        [f"dataset flights@1 > {me} (read)", f"model late@1 > {me} (champion)"],
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
        f"dataset flights@0 > run {made[0].id} (read)",
        f"run {made[0].id} > model late@1 (registered)",
    ]
    assert down == [
        "model late@1 > alias champion (moved by ann: first)",
        f"model late@1 > run {made[1].id} (compared with its candidate)",
        "model late@1 > 2 predictions (scored)",
    ]


def test_of_a_model_at_an_endpoint(workspace: Workspace, made: list[Run]) -> None:
    """Each place that it has had there is told once, however often the traffic is shifted, and that of the other is not."""
    with workspace.database.write() as tx:
        begun = Traffic(
            endpoint="e",
            model="late",
            generation=1,
            stable=1,
            canary=2,
            split=TrafficSplit(stable=80, canary=20),
            salt="",
        )
        write_traffic(tx, begun)
        write_traffic(tx, replace(begun, generation=2, split=TrafficSplit(stable=50, canary=50)))
        write_traffic(tx, replace(begun, generation=3, stable=2, canary=None, split=TrafficSplit(stable=100)))
    assert edges(workspace, "late@2")[2] == [
        "model late@2 > endpoint e (canary)",
        "model late@2 > endpoint e (stable)",
        "model late@2 > 1 predictions (scored)",
    ]


def test_what_came_of_a_thing_is_told_in_its_order(workspace: Workspace, made: list[Run]) -> None:
    """As it happened, whatever kind of thing it is; an alias that was taken away leads nowhere and is not among it."""
    other = pin(workspace, running(workspace, "3"), models=1)
    with workspace.database.write() as tx:
        move_alias(tx, workspace, model="late", alias="challenger", version=1, who="eve", why="again")
        drop_alias(tx, workspace, model="late", alias="challenger", who="eve", why="no")
    pinned = pin(workspace, running(workspace, "4", pipeline="other"), models=1)
    assert edges(workspace, "late@1")[2][1:] == [
        f"model late@1 > run {made[1].id} (compared with its candidate)",
        f"model late@1 > run {other.id} (compared with its candidate)",
        "model late@1 > alias challenger (moved by eve: again)",
        f"model late@1 > run {pinned.id} (compared with its candidate)",
        "model late@1 > 2 predictions (scored)",
    ]


def test_of_an_alias(workspace: Workspace, made: list[Run]) -> None:
    """It is that of the version that the alias points at; one that points nowhere is not found."""
    assert get_lineage(workspace, "late@champion") == get_lineage(workspace, "late@1")
    with pytest.raises(NotFound):
        get_lineage(workspace, "late@challenger")


def test_of_a_dataset(workspace: Workspace, made: list[Run]) -> None:
    """The batches in it, and who read that version; its name alone is its newest version."""
    assert edges(workspace, "flights@0") == (
        "dataset flights@0",
        ["batch 2013-01 > dataset flights@0 (appended)"],
        [f"dataset flights@0 > run {made[0].id} (read)"],
    )
    newest = edges(workspace, "flights")
    assert newest == edges(workspace, "flights@1")
    assert newest[1] == [f"batch 2013-0{n} > dataset flights@1 (appended)" for n in (1, 2)]


def test_of_a_prediction(workspace: Workspace, made: list[Run]) -> None:
    """Every model that scored it, on which arm, and all that those were made from; each arrow once."""
    thing, up, down = edges(workspace, "p2")
    assert (thing, down) == ("prediction p2", [])
    assert len(up) == len(set(up))
    assert [arrow for arrow in up if "prediction" in arrow] == [
        "model late@2 > prediction p2 (shadow)",
        "model late@1 > prediction p2 (stable)",
    ]
    assert f"dataset flights@0 > run {made[0].id} (read)" in up
    assert f"dataset flights@1 > run {made[1].id} (read)" in up


def test_a_prediction_is_found_without_reading_the_log(workspace: Workspace, made: list[Run]) -> None:
    """Its own rows are asked for, and the predictions of its models are not counted: there may be millions."""
    said: list[str] = []
    event.listen(workspace.database.engine, "before_cursor_execute", lambda *given: said.append(given[2]))
    get_lineage(workspace, "p2")
    asked = [statement for statement in said if "FROM predictions" in statement]
    assert len(asked) == 1
    assert "predictions.id = " in asked[0] and "count" not in asked[0]


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
    with pytest.raises(Conflict, match="2 artifacts match"):
        get_lineage(workspace, "a" * 10)
    assert edges(workspace, "a" * 12)[0] == f"artifact {'a' * 12}"


@pytest.mark.parametrize(
    "thing", ["", "late@9", "flights@9", "weather", "nothing", "f" * 64, "x@1@2", "%", "____"]
)
def test_what_nobody_knows_is_not_found(workspace: Workspace, made: list[Run], thing: str) -> None:
    """And what could be asked is listed."""
    with pytest.raises(NotFound, match="name a run, model@version"):
        get_lineage(workspace, thing)
