"""A worker is killed in the middle of a run: the next one goes on from the last finished step."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from everloop.metadata.runs import list_runs
from everloop.records.runs import Run, RunState
from everloop.registry.versions import list_versions
from everloop.storage import ledger
from everloop.storage.schema import environments, runs

if TYPE_CHECKING:
    from tests.pipelines.conftest import Project

SOURCE = """
import time

late = RegisteredModel("late", gate=Check("gate", lambda score: (score > 0, "a test")))

@step(cache=False)
def draw() -> int:
    called("draw")
    return time.time_ns()

@step
def load(rows: pa.Table, seed: int) -> pa.Table:
    called("load")
    return rows.append_column("late", pa.array([int((n + seed) % 3 == 0) for n in range(rows.num_rows)], pa.int64()))

@step
def train(rows: pa.Table) -> Model:
    called("train")
    if times("train") == 1:
        time.sleep(600)
    from everloop import constant
    return constant(rows, label="late", inputs=["x"])

@step
def judge(model: Model) -> float:
    called("judge")
    return 0.5

@pipeline
def main() -> None:
    model = train(load(rows.rows, draw()))
    register(late, model, judge(model))
"""

WORKER = """
    import sys
    from pathlib import Path
    from everloop.pipelines.worker import Worker
    from everloop.settings import Settings
    from everloop.storage.workspace import open_workspace

    root = Path(sys.argv[1])
    sys.path.insert(0, str(root))
    import project
    workspace = open_workspace(Settings(root=root, module="project"))
    Worker(workspace, {"main": project.main}, progress=lambda run, step: None).run_next()
"""


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory, open_project: Callable[[Path], Project]) -> Path:
    """A project's folder as it was when a real worker process had been killed inside the step `train`."""
    project = open_project(tmp_path_factory.mktemp("victim"))
    project.append(key="1")
    project.write(SOURCE)
    project.ask(key="the run")
    command = [sys.executable, "-c", textwrap.dedent(WORKER), str(project.root)]
    with subprocess.Popen(command) as process:
        while "train" not in project.calls():
            assert process.poll() is None, "the worker ended before it was killed"
            time.sleep(0.005)
        process.kill()
    project.workspace.close()
    return project.root


@pytest.fixture
def killed(project: Project, victim: Path, open_project: Callable[[Path], Project]) -> Iterator[Project]:
    """A copy of it, for one test."""
    project.workspace.close()
    shutil.copytree(victim, project.root, dirs_exist_ok=True)
    opened = open_project(project.root)
    opened.load()
    yield opened
    opened.workspace.close()


def the_run(project: Project) -> Run:
    """The only run."""
    with project.workspace.database.read() as tx:
        (run,) = list_runs(tx)
    return run


def take(project: Project) -> Run:
    """What the next worker makes of it."""
    worker = project.worker()
    run = worker.run_next()
    worker.close()
    assert run is not None
    return run


def test_the_next_worker_goes_on_from_the_last_finished_step(killed: Project) -> None:
    """At once, without waiting for a clock; each finished step was called once, also one that is never cached."""
    asked = the_run(killed)
    assert asked.state is RunState.RUNNING
    drawn = killed.steps(asked)["draw"]
    run = take(killed)
    assert (run.id, run.state, run.resumed, run.error) == (asked.id, RunState.COMPLETE, 1, None)
    assert killed.calls() == ["draw", "load", "train", "train", "judge"]
    rows = killed.steps(run)
    assert rows["draw"] == drawn
    assert {name: row.cached_from for name, row in rows.items()} == dict.fromkeys(rows, None)
    with killed.workspace.database.read() as tx:
        assert [version.run_id for version in list_versions(tx)] == [run.id]
        told = [
            event.short_type
            for event in ledger.read(tx, types=["run.started", "run.resumed", "run.completed"])
        ]
        finished = [event.data["step"] for event in ledger.read(tx, types=["step.completed"])]
    assert told == ["run.started", "run.resumed", "run.completed"]
    assert finished == ["draw", "read_rows", "load", "train", "judge", "gate", "register"]


def test_changed_code_is_not_mixed_into_a_run(killed: Project) -> None:
    """The run ends with the reason and the next step, and the step that was open is not left open."""
    asked = the_run(killed)
    killed.write(SOURCE + "# changed\n")
    run = take(killed)
    assert (run.id, run.state) == (asked.id, RunState.FAIL)
    assert run.error is not None
    assert "the project's code has changed since this run began" in run.error
    assert "everloop run main" in run.error
    open_step = killed.steps(run)["train"]
    assert (open_step.state, open_step.error) == (RunState.ABORT, "its worker died")
    assert killed.calls() == ["draw", "load", "train"]


def test_changed_libraries_are_not_mixed_into_a_run(killed: Project) -> None:
    """Results of two environments under one record would be of neither."""
    asked = the_run(killed)
    with killed.workspace.database.write() as tx:
        other = {"digest": "0" * 64, "python": "3.9", "platform": "elsewhere", "libraries": {}}
        tx.execute(environments.insert().values(**other))
        tx.execute(update(runs).where(runs.c.id == asked.id).values(environment="0" * 64))
    run = take(killed)
    assert run.state is RunState.FAIL
    assert "an installed library has changed since this run began" in (run.error or "")


def test_a_run_that_was_taken_over_is_let_go_of(project: Project) -> None:
    """A worker that finds another one's name on its run writes nothing more."""
    module = project.write("""
@step
def lose() -> int:
    take_over()
    return 1

@pipeline
def main() -> None:
    lose()
""")
    asked = project.ask()

    def take_over() -> None:
        with project.workspace.database.write() as tx:
            tx.execute(update(runs).where(runs.c.id == asked.id).values(epoch=7))

    vars(module)["take_over"] = take_over
    worker = project.worker()
    with pytest.raises(Exception, match="was taken over"):
        worker.run_next()
    worker.close()
    assert project.steps(asked)["lose"].state is RunState.RUNNING
    assert project.look_up(asked).state is RunState.RUNNING


def test_a_worker_that_is_stopped_in_a_step_leaves_it_open(project: Project) -> None:
    """Nothing has failed: no event says so, and the next worker does the step anew."""
    project.write("""
class Stopped(BaseException):
    pass

@step
def train() -> int:
    called("train")
    if times("train") == 1:
        raise Stopped
    return 1

@pipeline
def main() -> None:
    train()
""")
    asked = project.ask()
    worker = project.worker()
    with pytest.raises(BaseException, match=r"^$") as stopped:
        worker.run_next()
    worker.close()
    assert type(stopped.value).__name__ == "Stopped"
    assert project.steps(asked)["train"].state is RunState.RUNNING
    run = take(project)
    assert (run.id, run.state, run.resumed) == (asked.id, RunState.COMPLETE, 1)
    with project.workspace.database.read() as tx:
        assert ledger.read(tx, types=["step.failed"]) == []
