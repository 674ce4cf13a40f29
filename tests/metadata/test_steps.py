"""Steps: a row before it runs, its outputs with its end, and a cache that is asked by key."""

from dataclasses import replace

from sqlalchemy import func, select

from everloop.metadata.steps import begin_step, find_completed, find_step, list_steps
from everloop.records.runs import RunState, StepRun
from everloop.storage import ledger
from everloop.storage.schema import artifacts, step_artifacts
from everloop.storage.workspace import Workspace
from tests.support.runs import artifact, claim, running, step
from tests.support.workspaces import HandClock


def listed(workspace: Workspace, run_id: str) -> list[StepRun]:
    """The steps of a run."""
    with workspace.database.read() as tx:
        return list_steps(tx, run_id)


def completed(workspace: Workspace, key: str, *, besides: str = "") -> StepRun | None:
    """What the cache has for a key, from any run but one."""
    with workspace.database.read() as tx:
        return find_completed(tx, key, besides=besides)


def test_a_step_comes_back_as_it_ended(workspace: Workspace) -> None:
    """With what it read, made and measured, in order; one event tells of its end."""
    run = running(workspace)
    made = step(
        workspace,
        run,
        "train",
        inputs=(artifact("rows", "a", "parquet"), artifact("params", "b")),
        outputs=(artifact("model", "c", "model"), artifact("scores", "d", "npy")),
        metrics={"rows": 10.0, "auc": 0.7},
    )
    assert listed(workspace, run.id) == [made]
    with workspace.database.read() as tx:
        assert find_step(tx, run.id, "train") == made
        assert find_step(tx, run.id, "other") is None
        (event,) = ledger.read(tx, types=["step.completed"])
    assert (event.subject, event.data) == (run.id, {"step": "train", "cached_from": None, "error": None})


def test_steps_are_listed_in_their_order(workspace: Workspace) -> None:
    """By their place, not by when they ran; those of other runs are not among them."""
    run, other = running(workspace), running(workspace, "2", pipeline="other")
    for place, name in ((2, "c"), (0, "a"), (1, "b")):
        step(workspace, run, name, place=place)
        step(workspace, other, name, place=9 - place)
    assert [row.step for row in listed(workspace, run.id)] == ["a", "b", "c"]
    assert [row.step for row in listed(workspace, other.id)] == ["c", "b", "a"]
    assert listed(workspace, "nobody") == []


def test_an_unfinished_try_is_replaced(workspace: Workspace) -> None:
    """Nothing of the try that a worker died in remains: no artifacts, no metrics, no second row."""
    run = running(workspace)
    step(
        workspace,
        run,
        "s",
        outputs=(artifact("old", "a"),),
        metrics={"old": 1.0},
        state=RunState.FAIL,
        error="died",
    )
    again = claim(workspace, "new", alive=lambda worker: False)
    assert again is not None
    made = step(workspace, again, "s", outputs=(artifact("new", "b"),), metrics={"new": 2.0})
    assert listed(workspace, run.id) == [made]


def test_a_begun_step_is_seen_before_it_ends(workspace: Workspace) -> None:
    """A look from outside shows where a run is."""
    run = running(workspace)
    row = StepRun(
        run_id=run.id, step="s", position=0, state=RunState.RUNNING, cache_key="k", started_at=workspace.now()
    )
    with workspace.database.write() as tx:
        begin_step(tx, run, row)
    assert listed(workspace, run.id) == [row]
    assert completed(workspace, "k") is None


def test_the_cache_finds_the_newest_completed_step(workspace: Workspace, clock: HandClock) -> None:
    """By its key alone; what failed is no result; of two within one moment the later run's, every time."""
    runs = [running(workspace, str(n), pipeline=f"p{n}") for n in range(4)]
    assert completed(workspace, "key") is None
    step(workspace, runs[0], "s", cache_key="key", state=RunState.FAIL, error="no")
    assert completed(workspace, "key") is None
    oldest = step(workspace, runs[1], "s", cache_key="key", outputs=(artifact("x", "a"),))
    assert completed(workspace, "key") == oldest
    clock.move(seconds=1)
    newest = [step(workspace, run, "s", cache_key="key", outputs=(artifact("x", "b"),)) for run in runs[2:]]
    assert completed(workspace, "key") == max(newest, key=lambda found: found.run_id)
    assert completed(workspace, "other") is None


def test_an_artifact_is_one_row_however_many_steps_use_it(workspace: Workspace) -> None:
    """Its links are many: to the step that made it and to those that read it."""
    run = running(workspace)
    table = artifact("rows", "a", "parquet")
    step(workspace, run, "make", outputs=(table,))
    for place, name in enumerate(("one", "two"), start=1):
        step(
            workspace,
            run,
            name,
            place=place,
            inputs=(replace(table, name=f"given_{name}"),),
            outputs=(table,),
        )
    with workspace.database.read() as tx:
        assert tx.execute(select(func.count()).select_from(artifacts)).scalar_one() == 1
        assert tx.execute(select(func.count()).select_from(step_artifacts)).scalar_one() == 5


def test_a_failed_step_says_why(workspace: Workspace) -> None:
    """In its row and in its event, whatever its text holds."""
    run = running(workspace)
    step(workspace, run, "s", state=RunState.FAIL, error="no \0 data")
    (row,) = listed(workspace, run.id)
    with workspace.database.read() as tx:
        (event,) = ledger.read(tx, types=["step.failed"])
    assert row.error == event.data["error"] == "no ? data"
