"""What does the steps may differ, die and be stopped: the run, its records and its artifacts are the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from everloop.errors import ProjectError
from everloop.pipelines.executors import EXECUTORS
from everloop.pipelines.executors.process import MOST_DEATHS
from everloop.pipelines.nodes import StepNode
from everloop.pipelines.pipeline import Pipeline
from everloop.pipelines.sources import Constant, Output, Source
from everloop.records.runs import Run, RunState, StepRun
from everloop.registry.versions import list_versions

if TYPE_CHECKING:
    from tests.pipelines.conftest import Project

WORKER = """
import sys
from pathlib import Path
from everloop.project.opening import open_project

with open_project(Path(sys.argv[1])) as project:
    worker = project.worker()
    try:
        worker.run_next()
    finally:
        worker.close()
"""


@contextmanager
def working(project: Project, *command: str) -> Iterator[subprocess.Popen[str]]:
    """A real worker that takes one run; whatever its steps print can be read from it."""
    command = (sys.executable, *(command or ("-c", WORKER, str(project.root))))
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=60)


def said(process: subprocess.Popen[str]) -> str:
    """The next line that a worker or one of its steps prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def gone(process: subprocess.Popen[str]) -> bool:
    """Wait for the end of the worker and of everything that it has started: until then one of them could still print."""
    assert process.stdout is not None
    return process.stdout.read() == "" and process.wait(timeout=60) is not None


@pytest.fixture(params=EXECUTORS)
def executor(request: pytest.FixtureRequest) -> str:
    """Each of the table."""
    return str(request.param)


HELD = """
import os, signal

@step
def begin() -> int:
    return 20

@step
def work(n: int) -> int:
    called("work")
    if times("work") == 1:
        try:
            print(os.getpid(), flush=True)
            signal.pause()
        finally:
            called("tidied")
    return n + 1

@pipeline
def main() -> None:
    work(begin())
"""


def test_whatever_does_a_step_is_killed_and_the_run_comes_to_its_end(project: Project, executor: str) -> None:
    """`kill -9` of the process that has the step in its hands; where that is the worker, the next one goes on."""
    project = project.using(executor)
    project.write(HELD)
    asked = project.ask()
    with working(project) as worker:
        os.kill(int(said(worker)), signal.SIGKILL)
        assert gone(worker)
    if project.look_up(asked).state is RunState.RUNNING:
        with working(project) as following:
            assert gone(following)
    run = project.look_up(asked)
    assert (run.state, run.error) == (RunState.COMPLETE, None)
    assert project.calls() == ["work", "work"]
    (made,) = project.steps(run)["work"].outputs
    assert made.digest == sha256(b"21").hexdigest()


def test_a_step_ends_with_its_worker(project: Project, executor: str) -> None:
    """Nothing goes on working for a worker that was killed."""
    project = project.using(executor)
    project.write(HELD)
    project.ask()
    with working(project) as worker:
        said(worker)
        worker.kill()
        assert gone(worker)


def test_ctrl_c_at_the_worker_cuts_a_step_short(project: Project, executor: str) -> None:
    """It does what it does in the end, and is ABORT on the record with its run; nothing goes on."""
    project = project.using(executor)
    project.write(HELD)
    asked = project.ask()
    with working(project) as worker:
        said(worker)
        worker.send_signal(signal.SIGINT)
        assert gone(worker)
    run = project.look_up(asked)
    assert (run.state, run.error) == (RunState.ABORT, "interrupted by hand")
    step = project.steps(run)["work"]
    assert (step.state, step.error) == (RunState.ABORT, "interrupted by hand")
    assert project.calls() == ["work", "tidied"]


def test_a_worker_that_is_asked_to_stop_leaves_the_step_to_the_next(project: Project, executor: str) -> None:
    """SIGTERM ends everything at once and nothing on the record, as a kill does; the next worker goes on."""
    project = project.using(executor)
    project.write(HELD)
    asked = project.ask()
    command = ("-m", "everloop", "worker", "--once", "--project", str(project.root))
    with working(project, *command) as worker:
        while not said(worker).isdecimal():
            assert worker.poll() is None
        worker.terminate()
        assert gone(worker)
    assert project.look_up(asked).state is RunState.RUNNING
    with working(project) as following:
        assert gone(following)
    assert project.look_up(asked).state is RunState.COMPLETE
    assert project.calls() == ["work", "tidied", "work"]


FAILING = """
import threading

@dataclass(frozen=True)
class Odds:
    n: int = 1

    def metrics(self) -> dict[str, float]:
        return {"none": float("nan"), "all": float("inf"), "tenth": 0.1}

class Odd(Exception):
    def __init__(self, n: int, lock: object) -> None:
        super().__init__(f"{n} is odd")
        self.lock = lock

    def __reduce__(self):
        raise TypeError("this cannot be pickled")

@step(retries=1)
def fail() -> int:
    called("fail")
    raise Odd(3, threading.Lock())

@step
def leave() -> int:
    raise SystemExit(4)

@step
def die() -> int:
    import os, signal
    called("die")
    os.kill(os.getpid(), signal.SIGKILL)

@step
def edit() -> int:
    import os, signal
    called("edit")
    (HERE / "other.py").write_text("X = 1")
    os.kill(os.getpid(), signal.SIGKILL)

@step
def measure() -> Odds:
    return Odds()

@step
def given(big: int, text: str, many: tuple[int, ...]) -> str:
    return repr((big, text, many))

@pipeline
def failing() -> None:
    fail()

@pipeline
def leaving() -> None:
    leave()

@pipeline
def dying() -> None:
    die()

@pipeline
def editing() -> None:
    edit()

@pipeline
def measuring() -> None:
    measure()

@pipeline
def giving(big: int = 2**70, text: str = "caf\\u00e9") -> None:
    given(big, text, (1, 2))
"""


def test_an_exception_that_cannot_be_pickled_is_told_as_it_is(project: Project, executor: str) -> None:
    """After as many tries as the step asked for."""
    project = project.using(executor)
    project.write(FAILING)
    run = project.run("failing")
    assert (run.state, run.error) == (RunState.FAIL, "Odd: 3 is odd")
    assert project.steps(run)["fail"].error == run.error
    assert project.calls() == ["fail", "fail"]
    left = project.run("leaving")
    assert left.error is not None and left.error.startswith("the step asked its process to exit with 4.")


def test_what_is_given_and_what_is_measured_is_the_same_to_the_bit(project: Project, executor: str) -> None:
    """Also what JSON cannot hold, or not every reader of it."""
    project = project.using(executor)
    project.write(FAILING)
    metrics = project.steps(project.run("measuring"))["measure"].metrics
    assert {name: repr(value) for name, value in metrics.items()} == {
        "none": "nan",
        "all": "inf",
        "tenth": "0.1",
    }
    (made,) = project.steps(project.run("giving"))["given"].outputs
    expected = msgspec.json.encode(repr((2**70, "caf\u00e9", (1, 2))))
    assert made.digest == sha256(expected).hexdigest()


def test_a_step_that_always_dies_fails_and_its_worker_lives(project: Project) -> None:
    """It is tried a few times, and then the record says what has ended its process."""
    project = project.using("process")
    project.write(FAILING)
    run = project.run("dying")
    assert run.error is not None and run.error.startswith(
        "the step's process was killed by SIGKILL, 3 times."
    )
    assert project.calls() == ["die"] * MOST_DEATHS


def test_a_fresh_interpreter_never_does_other_code_than_the_run_began_with(project: Project) -> None:
    """A file that is changed while a run goes on is noticed by the process that would be the first to have it."""
    project = project.using("process")
    project.write(FAILING)
    run = project.run("editing")
    assert run.error is not None and run.error.startswith(
        "the project's code has changed since this run began."
    )
    assert project.calls() == ["edit"]


def test_a_pipeline_that_only_this_process_knows_is_refused(project: Project, executor: str) -> None:
    """One that was made in a notebook runs in process; another interpreter says that it cannot find it, and what to do."""
    project = project.using(executor)
    module = project.write(HELD)
    made = Pipeline(_named("made", lambda: module.begin()))
    module.__dict__["made"] = made
    run = project.run("made")
    if executor == "in_process":
        assert run.state is RunState.COMPLETE
    else:
        assert run.error is not None
        assert run.error.startswith(
            "a fresh interpreter finds no such step begin in a pipeline made of module project"
        )


def test_a_pipeline_that_is_another_one_elsewhere_is_refused(project: Project) -> None:
    """What a step is given must not depend on the process that traces the pipeline."""
    project = project.using("process")
    project.write(
        """
import os

@step
def say(n: int) -> int:
    return n

@pipeline
def main() -> None:
    say(os.getpid())
"""
    )
    run = project.run()
    assert run.error is not None and run.error.startswith("a fresh interpreter finds no such step say")


def test_an_executor_that_there_is_not_is_refused(project: Project) -> None:
    """With the names that there are."""
    with pytest.raises(ProjectError, match="'ray'; there are in_process, process"):
        project.using("ray").worker()


def _named(name: str, function: Callable[[], None]) -> Callable[[], None]:
    function.__name__ = name
    return function


MEETING = """
late = RegisteredModel("late", gate=Check("gate", lambda score: (True, "a test")))

@dataclass(frozen=True)
class Score:
    n: float

    def metrics(self) -> dict[str, float]:
        return {"n": self.n}

def wait_if_told() -> None:
    if (HERE / "gate").exists():
        (HERE / "gate").read_text()

@step
def train(rows: pa.Table) -> Model:
    from everloop import constant
    return constant(rows.append_column("late", pa.array([n % 2 for n in range(rows.num_rows)])), label="late", inputs=["x"])

@step
def slow() -> Score:
    wait_if_told()
    return Score(1.0)

@step
def quick() -> Score:
    return Score(2.0)

@step
def slow_fails() -> Score:
    wait_if_told()
    raise ValueError("the first in the graph")

@step
def quick_fails() -> Score:
    raise ValueError("the first in time")

@step
def after(score: Score) -> Score:
    called("after")
    return score

@pipeline
def measured() -> None:
    model = train(rows.rows)
    slow()
    register(late, model, quick())

@pipeline
def failed() -> None:
    after(slow_fails())
    quick_fails()
    after(slow())
"""


def test_the_last_in_the_graph_is_the_last_also_when_it_came_first(project: Project, executor: str) -> None:
    """Of two metrics of one name a version has that of the later step, whichever was measured first."""
    run = _run_meeting(project.using(executor), executor, "measured", opens="quick")
    assert (run.state, run.error) == (RunState.COMPLETE, None)
    with project.workspace.database.read() as tx:
        (version,) = list_versions(tx)
    assert version.metrics == {"n": 2.0}


def test_the_first_in_the_graph_that_fails_is_why_a_run_failed(project: Project, executor: str) -> None:
    """Also when a later one failed before it; nothing is left open, and what needs either is not done."""
    run = _run_meeting(project.using(executor), executor, "failed", opens="quick_fails")
    assert run.error == "ValueError: the first in the graph"
    steps = project.steps(run)
    assert steps["slow_fails"].state is RunState.FAIL
    assert all(step.state.ended for step in steps.values())
    assert project.calls() == []


STUBBORN = """
import signal

@step
def fail() -> int:
    (HERE / "begun").read_text()
    raise ValueError("no")

@step
def stay() -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    (HERE / "begun").write_text("yes")
    signal.pause()
    return 1

@pipeline
def main() -> None:
    fail()
    stay()
"""


def test_what_would_not_have_begun_is_cut_short(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step after the one that failed is stopped, by force where it does not listen, and the record says why."""
    monkeypatch.setattr("everloop.pipelines.executors.process.PATIENCE", 0.0)
    project = project.using("process")
    project.write(STUBBORN)
    os.mkfifo(project.root / "begun")  # the first waits at it for the second
    run = project.run()
    assert (run.state, run.error) == (RunState.FAIL, "ValueError: no")
    stay = project.steps(run)["stay"]
    assert (stay.state, stay.error) == (RunState.ABORT, "cut short, because step fail failed")


def _run_meeting(project: Project, executor: str, name: str, *, opens: str) -> Run:
    """Run it; where steps run side by side, the slow one waits until it is written down that the quick one has ended."""
    project.append(key="1")
    project.write(MEETING)
    gate = project.root / "gate"
    if executor != "in_process":
        os.mkfifo(gate)

    def open_gate(_run: Run, step: StepRun) -> None:
        if step.step == opens and step.state.ended and gate.exists():
            gate.write_text("open")

    asked = project.ask(name)
    worker = project.worker(progress=open_gate)
    try:
        ended = worker.run_next(only=asked.id)
    finally:
        worker.close()
    assert ended is not None
    return ended


GRAPHS = 50
RANDOM = """
import random
from everloop import not_null

many = Dataset("rows", keys="id", event_time=None, expect=[not_null("x")])

@dataclass(frozen=True)
class Seen:
    total: int
    of: str

    def metrics(self) -> dict[str, float]:
        return {"total": self.total / 7, self.of: float(self.total)}

class Made(NamedTuple):
    seen: Seen
    table: pa.Table
    array: np.ndarray

def made(total: int, of: str) -> Made:
    values = np.random.default_rng(total).normal(size=total % 50)
    return Made(Seen(total, of), pa.table({"v": values, "n": np.arange(total % 50)}), values)

@step
def begin(rows: pa.Table, seed: int) -> Made:
    return made(rows.num_rows * seed, "begin")

@step
def join(left: Made, right: Made, by: int) -> Made:
    return made((left.seen.total * by + right.seen.total) % 10_007, "join")

@step
def look(array: np.ndarray, table: pa.Table) -> float:
    return float(array.sum()) + table.num_rows

@step(cache=False)
def forget(seen: Seen) -> None:
    called("forget")

def drawn(seed: int):
    draw = random.Random(seed)
    moves = [draw.choice(["begin", "join", "join", "look", "forget"]) for _ in range(draw.randint(1, 5))]
    def trace() -> None:
        draw = random.Random(seed)
        known = [begin(many.rows, seed + 1)]
        for move in moves:
            left, right = draw.choice(known), draw.choice(known)
            if move == "begin":
                known.append(begin(many.rows, draw.randint(1, 99)))
            elif move == "join":
                known.append(join(left, right, draw.randint(1, 9)))
            elif move == "look":
                look(left.array, right.table)
            else:
                forget(left.seen)
    trace.__name__ = f"graph_{seed}"
    return pipeline(trace)

graphs = [drawn(seed) for seed in range(50)]
globals().update({graph.name: graph for graph in graphs})
"""


def test_fifty_random_graphs_are_the_same_with_every_executor(
    tmp_path: Path, open_project: Callable[[Path], Project], project: Project
) -> None:
    """Every digest, metric and cache key: with each executor, and the digests and metrics as if steps were just called."""
    found = {name: _walked(tmp_path / name, name, open_project) for name in EXECUTORS}
    first, *others = found.values()
    assert len(first) == GRAPHS
    assert all(other == first for other in others)


def _walked(root: Path, executor: str, open_project: Callable[[Path], Project]) -> list[object]:
    """What is on the records of all graphs, each held against the reference."""
    root.mkdir()
    opened = open_project(root)
    project = opened.using(executor)
    project.append(key="1")
    module = project.write(RANDOM)
    rows = project.workspace.tables.read("rows", 0)
    worker = project.worker()
    try:
        found: list[object] = []
        for graph in module.graphs:
            run = worker.run_next(only=project.ask(graph.name).id)
            assert run is not None and run.error is None
            steps = project.steps(run)
            made = {(name, ref.name): ref.digest for name, step in steps.items() for ref in step.outputs}
            metrics = {name: dict(step.metrics) for name, step in steps.items()}
            digests, measured = _called(graph, rows)
            assert {key: value for key, value in made.items() if key in digests} == digests
            assert {name: metrics[name] for name in measured} == measured
            found.append(
                (made, metrics, [(step.step, step.cache_key, step.inputs) for step in steps.values()])
            )
        return found
    finally:
        worker.close()
        opened.workspace.close()


def _called(
    graph: Pipeline, rows: pa.Table
) -> tuple[dict[tuple[str, str], str], dict[str, dict[str, float]]]:
    """Digests and metrics of a graph whose steps are called one after the other, as anybody would."""
    values: dict[tuple[str, str], Any] = {}
    metrics: dict[str, dict[str, float]] = {}
    for node in graph.graph.nodes:
        if isinstance(node, StepNode):
            result = node.step.function(
                **{n: _given(source, values, rows) for n, source in node.inputs.items()}
            )
            parts: Mapping[str, Any] = dict(
                zip(node.outputs, result if isinstance(result, tuple) else [result], strict=False)
            )
            values |= {(node.name, name): part for name, part in parts.items()}
            seen = [part.metrics() for part in parts.values() if hasattr(part, "metrics")]
            metrics[node.name] = {name: value for each in seen for name, value in each.items()}
    return {key: _digest(value) for key, value in values.items()}, metrics


def _given(source: Source, values: Mapping[tuple[str, str], Any], rows: pa.Table) -> Any:
    if isinstance(source, Output):
        parts = [values[part.node, part.field] for part in source.parts()]
        return source.hint(*parts) if source.whole else parts[0]
    return source.value if isinstance(source, Constant) else rows


def _digest(value: Any) -> str:
    import numpy as np

    file = BytesIO()
    if isinstance(value, pa.Table):
        pq.write_table(value, file)
    elif isinstance(value, np.ndarray):
        np.save(file, value)
    else:
        file.write(msgspec.json.encode(value, order="sorted"))
    return sha256(file.getvalue()).hexdigest()
