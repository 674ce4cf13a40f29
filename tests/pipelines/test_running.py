"""A run from its request to its end: pinned, retried, failed, stopped by hand, registered, and truthfully written down."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from everloop.errors import Conflict
from everloop.metadata.runs import list_runs
from everloop.pipelines.worker import MOST_DEATHS
from everloop.records.runs import Run, RunState, StepRun
from everloop.registry.aliases import find_alias, list_alias_moves
from everloop.registry.versions import list_versions
from everloop.storage import ledger
from everloop.storage.schema import runs

if TYPE_CHECKING:
    from tests.pipelines.conftest import Project

THREE = """
@step
def first() -> int:
    called("first")
    return 1

@step
def second(n: int) -> int:
    called("second")
    return n + 1

@step
def third(n: int) -> None:
    called("third")

@pipeline
def main() -> None:
    third(second(first()))
"""

TRAINING = """
@dataclass(frozen=True)
class Found:
    passes: bool
    told: str

late = RegisteredModel("late", gate=Check("gate", lambda found: (found.passes, found.told)))

@step
def train(rows: pa.Table, seed: int) -> Model:
    called("train")
    from everloop import constant
    labelled = rows.append_column("late", pa.array([int((n + seed) % 3 == 0) for n in range(rows.num_rows)], pa.int64()))
    return constant(labelled.slice(seed), label="late", inputs=["x"])

@step
def judge(candidate: Model, champion: Model | None, passes: bool) -> Found:
    called("judge")
    told = "no champion" if champion is None else f"champion says {champion.predict(pa.table({'x': [1.0]}))[0]:.3f}"
    return Found(passes, told)

@pipeline
def main(seed: int = 0, passes: bool = True) -> None:
    candidate = train(rows.rows, seed)
    register(late, candidate, judge(candidate, late.champion, passes))
"""


def states(project: Project, run: Run) -> dict[str, str]:
    """State of each step of a run."""
    return {name: step.state.value for name, step in project.steps(run).items()}


def test_a_run_tells_of_every_step(project: Project) -> None:
    """Progress hears of each beginning and each end, in order; the rows say the same afterwards."""
    project.write(THREE)
    heard: list[tuple[str, str]] = []
    asked = project.ask()
    worker = project.worker(lambda run, step: heard.append((step.step, step.state.value)))
    run = worker.run_next()
    worker.close()
    assert run is not None and run.id == asked.id and run.state is RunState.COMPLETE
    assert heard == [
        (name, state) for name in ("first", "second", "third") for state in ("RUNNING", "COMPLETE")
    ]
    assert states(project, run) == dict.fromkeys(("first", "second", "third"), "COMPLETE")
    assert run.code is not None and run.environment is not None and run.seconds is not None
    assert [step.position for step in project.steps(run).values()] == [0, 1, 2]


def test_a_listener_that_fails_does_not_end_the_run(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    """A closed terminal is not the run's fault; neither is anything registered undone by it."""
    project.append(key="1")
    project.write(TRAINING)

    def broken(run: Run, step: StepRun) -> None:
        raise BrokenPipeError("nobody listens")

    project.ask()
    worker = project.worker(broken)
    run = worker.run_next()
    worker.close()
    assert run is not None and run.state is RunState.COMPLETE
    assert states(project, run) == dict.fromkeys(
        ("read_rows", "train", "judge", "gate", "register"), "COMPLETE"
    )
    assert "cannot be shown" in caplog.text


def test_a_step_is_tried_again_as_often_as_it_asked(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    """Errors are tried again and logged, refusals are answers, and the last error is the one on the record."""
    source = """
from everloop.errors import Refused

@step(retries=2)
def flaky(fail: int) -> int:
    called("flaky")
    if times("flaky") <= fail:
        raise ConnectionError(f"try {times('flaky')}")
    return 1

@step(retries=2)
def refuses() -> int:
    called("refuses")
    raise Refused("no.")

@pipeline
def main(fail: int = 2) -> None:
    flaky(fail)

@pipeline
def refused() -> None:
    refuses()
"""
    project.write(source)
    assert project.run().error is None
    assert "try 1" in caplog.text and "try 2" in caplog.text
    run = project.run(fail=99)
    assert (run.state, run.error) == (RunState.FAIL, "ConnectionError: try 6")
    assert (project.run("refused").error, project.calls().count("refuses")) == ("no.", 1)


def test_a_failing_step_ends_the_run_with_its_reason(project: Project) -> None:
    """The step and the run are FAIL with the same words, what came before stays COMPLETE, what comes after is not there."""
    project.write(THREE.replace('called("second")', 'raise KeyError("nope")'))
    run = project.run()
    assert (run.state, run.error) == (RunState.FAIL, "KeyError: 'nope'")
    assert states(project, run) == {"first": "COMPLETE", "second": "FAIL"}
    failed = project.steps(run)["second"]
    assert failed.error == run.error and failed.ended_at is not None and failed.seconds is not None
    assert [ref.name for ref in failed.inputs] == ["n"]


def test_a_step_that_leaves_the_process_is_a_failing_step(project: Project) -> None:
    """sys.exit in a library must not take the worker with it, and the next worker after it."""
    project.write(THREE.replace('called("second")', "raise SystemExit(3)"))
    run = project.run()
    assert (run.state, run.error) == (
        RunState.FAIL,
        "the step asked its process to exit with 3. Next: let the step return, or raise an error that says what went wrong.",
    )


def test_ctrl_c_ends_the_run_as_aborted(project: Project) -> None:
    """The run and the step that was interrupted say so, and the interrupt goes on to whoever waits for it."""
    project.write(THREE.replace('called("second")', "raise KeyboardInterrupt"))
    asked = project.ask()
    worker = project.worker()
    with pytest.raises(KeyboardInterrupt):
        worker.run_next()
    worker.close()
    run = project.look_up(asked)
    assert (run.state, run.error) == (RunState.ABORT, "interrupted by hand")
    assert states(project, run) == {"first": "COMPLETE", "second": "ABORT"}


def test_a_run_without_data_says_which_dataset_is_missing(project: Project) -> None:
    """Nothing has been called by then."""
    project.write(TRAINING)
    run = project.run()
    assert run.state is RunState.FAIL and "dataset rows has no data yet" in (run.error or "")
    assert project.calls() == [] and project.steps(run) == {}


def test_a_run_reads_the_versions_that_were_newest_when_it_began(project: Project) -> None:
    """A batch that arrives while it runs is the next run's."""
    project.append(key="1")
    module = project.write("""
@step
def arrive() -> int:
    more()
    return 1

@step
def count(n: int, rows: pa.Table) -> int:
    return rows.num_rows

@pipeline
def main() -> None:
    count(arrive(), rows.rows)
""")
    vars(module)["more"] = lambda: project.append(key="2", start=100)
    run = project.run()
    assert [(pin.dataset, pin.version, pin.rows) for pin in run.datasets] == [("rows", 0, 40)]
    (ref,) = project.steps(run)["count"].outputs
    assert project.workspace.blobs.get(ref.digest) == b"40"
    assert [pin.rows for pin in project.run().datasets] == [80]


def test_the_champion_is_none_until_there_is_one_and_then_the_pinned_version(project: Project) -> None:
    """The first run sees None; a later one sees the version that was champion when it began."""
    project.append(key="1")
    project.write(TRAINING)
    first = project.run()
    with project.workspace.database.write() as tx:
        from everloop.registry.aliases import move_alias

        move_alias(tx, project.workspace, model="late", alias="champion", version=1, who="me", why="a test")
    second = project.run(seed=1)
    with project.workspace.database.read() as tx:
        gates = [version.gate.because for version in list_versions(tx) if version.gate is not None]
    assert gates == ["no champion", "champion says 0.350"]
    assert [(pin.alias, pin.version) for pin in first.models + second.models] == [
        ("champion", None),
        ("champion", 1),
    ]


def test_a_registered_version_knows_its_run_and_carries_the_alias_it_earned(project: Project) -> None:
    """One version per run; what passed is challenger, what was refused is kept, numbered, and carries nothing."""
    project.append(key="1")
    project.write(TRAINING)
    runs_ = [project.run(), project.run(seed=1, passes=False), project.run(seed=2)]
    with project.workspace.database.read() as tx:
        versions = list_versions(tx)
        moves = [(move.alias, move.version) for move in list_alias_moves(tx, "late")]
        challenger = find_alias(tx, "late", "challenger")
        told = [event.subject for event in ledger.read(tx, types=["model.registered"])]
    assert [(v.name, v.passed, v.run_id) for v in versions] == [
        ("late@1", True, runs_[0].id),
        ("late@2", False, runs_[1].id),
        ("late@3", True, runs_[2].id),
    ]
    assert (challenger, moves, told) == (
        3,
        [("challenger", 1), ("challenger", 3)],
        ["late@1", "late@2", "late@3"],
    )
    assert versions[2].facts["datasets"] == {"rows": 0} and versions[2].facts["trigger"] == "on_demand"


def test_a_run_that_makes_the_newest_model_again_makes_no_new_version(project: Project) -> None:
    """Equal bytes with an equal verdict are the version that is there."""
    project.append(key="1")
    project.write(TRAINING)
    assert [project.run().state, project.run().state] == [RunState.COMPLETE, RunState.COMPLETE]
    with project.workspace.database.read() as tx:
        assert [version.version for version in list_versions(tx)] == [1]


def test_two_workers_never_run_one_pipeline_at_once(project: Project) -> None:
    """The second finds nothing to do while the first is in the middle, and does not take the run for an orphan."""
    module = project.write("""
@step
def meanwhile() -> int:
    look()
    return 1

@pipeline
def main() -> None:
    meanwhile()
""")
    found: list[Run | None] = []
    other = project.worker()
    vars(module)["look"] = lambda: found.append(other.run_next())
    first, _second = project.ask(), project.ask()
    worker = project.worker()
    run = worker.run_next()
    assert run is not None and (run.id, run.state) == (first.id, RunState.COMPLETE)
    assert found == [None]
    other.close()
    worker.close()


def test_a_worker_whose_project_was_edited_takes_no_run(project: Project) -> None:
    """It would run the old code and write it down as the new; it says so, and the run waits for a fresh process."""
    project.write(THREE)
    worker = project.worker()
    asked = project.ask()
    (project.root / "helper.py").write_text("X = 1\n")
    with pytest.raises(Conflict, match="has changed since this process loaded it"):
        worker.run_next()
    worker.close()
    assert project.look_up(asked).state is RunState.START
    fresh = project.worker()
    run = fresh.run_next()
    fresh.close()
    assert run is not None and run.state is RunState.COMPLETE


def test_a_run_of_a_pipeline_that_is_gone_fails_with_the_reason(project: Project) -> None:
    """It is not left waiting for ever."""
    project.write(THREE)
    asked = project.ask()
    project.write(THREE.replace("def main", "def renamed"))
    worker = project.worker()
    run = worker.run_next()
    worker.close()
    assert run is not None and (run.id, run.state) == (asked.id, RunState.FAIL)
    assert run.error is not None and "no pipeline 'main' any more" in run.error


def test_a_run_that_waited_while_the_params_changed_fails_with_the_reason(project: Project) -> None:
    """Nobody guesses what the one who asked would have said."""
    project.write(THREE)
    project.ask()
    project.write(THREE.replace("def main()", "def main(days: int = 3)"))
    worker = project.worker()
    run = worker.run_next()
    worker.close()
    assert run is not None and run.state is RunState.FAIL
    assert "asked for with params (none), and the pipeline has days now" in (run.error or "")


def test_a_run_that_kills_every_worker_is_given_up(project: Project) -> None:
    """Running out of memory in the same step again and again must end some time, with a reason."""
    project.write(THREE)
    asked = project.ask()
    with project.workspace.database.write() as tx:
        dead = {"state": "RUNNING", "worker": "dead", "resumed": MOST_DEATHS, "epoch": MOST_DEATHS + 1}
        tx.execute(update(runs).where(runs.c.id == asked.id).values(**dead))
    worker = project.worker()
    run = worker.run_next()
    worker.close()
    assert run is not None and run.state is RunState.FAIL
    assert "workers have died over this run" in (run.error or "")
    assert project.calls() == []


def test_the_same_request_twice_is_one_run(project: Project) -> None:
    """The key decides."""
    project.write(THREE)
    assert project.ask(key="k").id == project.ask(key="k").id
    with project.workspace.database.read() as tx:
        assert len(list_runs(tx)) == 1
