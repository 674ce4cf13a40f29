"""What the engine does itself beside the user's steps: it reads, validates, asks the gate and registers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from everloop.errors import NotFound, Refused
from everloop.loop.firings import run_on_demand
from everloop.metadata.lineage import run_lineage
from everloop.metadata.runs import list_runs, request_run
from everloop.pipelines.lookup import load_artifact
from everloop.pipelines.pinning import check_data
from everloop.records.checks import CheckResult
from everloop.records.data import Finding
from everloop.records.runs import Run, RunState, StepRun
from everloop.registry.aliases import find_alias, move_alias, promote
from everloop.registry.versions import list_versions
from everloop.storage import ledger

if TYPE_CHECKING:
    from tests.pipelines.conftest import Project

SOURCE = """
from everloop import between

checked = Dataset("rows", keys="id", event_time=None, expect=[between("x", 0, TOP)])
gate = Check("good", lambda found: (found.score > 0.5, f"{found.score} against 0.5"))
late = RegisteredModel("late", gate=gate)

@dataclass(frozen=True)
class Found:
    score: float

    def metrics(self) -> dict[str, float]:
        return {"score": self.score}

@step
def train(rows: pa.Table, seed: int) -> Model:
    called("train")
    from everloop import constant
    labels = [int((n + seed) % 3 == 0) for n in range(rows.num_rows)]
    return constant(rows.append_column("late", pa.array(labels, pa.int64())).slice(seed), label="late", inputs=["x"])

@step
def evaluate(model: Model, score: float) -> Found:
    called("evaluate")
    return Found(score)

@pipeline
def main(seed: int = 0, score: float = 0.75) -> None:
    model = train(checked.rows, seed)
    register(late, model, evaluate(model, score))
"""

NAMES = ["read_rows", "validate_rows", "train", "evaluate", "gate", "register"]


@pytest.fixture
def trained(project: Project) -> Project:
    """A project with rows, whose promises they keep."""
    project.append(key="1")
    project.write(SOURCE.replace("TOP", "6"))
    return project


def load(project: Project, run: Run, step: str, name: str) -> object:
    """An artifact of a run as its value."""
    return load_artifact(project.workspace, project.pipeline(), project.steps(run)[step], name)


# ---- what is on the graph


def test_the_engines_own_nodes_are_rows_like_others(trained: Project) -> None:
    """In the graph, in what progress hears, and in the run's record: the same names in the same order."""
    heard: list[str] = []
    trained.ask()
    worker = trained.worker(lambda run, step: heard.append(f"{step.step} {step.state.value}"))
    run = worker.run_next()
    worker.close()
    assert run is not None and run.error is None
    assert [node.name for node in trained.pipeline().graph.nodes] == NAMES
    assert heard == [f"{name} {state}" for name in NAMES for state in ("RUNNING", "COMPLETE")]
    steps = trained.steps(run)
    assert [(name, step.position) for name, step in steps.items()] == [(n, p) for p, n in enumerate(NAMES)]
    assert {name: [ref.name for ref in step.outputs] for name, step in steps.items()} == {
        "read_rows": [],
        "validate_rows": ["findings"],
        "train": ["output"],
        "evaluate": ["output"],
        "gate": ["verdict"],
        "register": [],
    }
    assert steps["gate"].inputs[0].digest == steps["evaluate"].outputs[0].digest
    assert [ref.name for ref in steps["register"].inputs] == ["candidate", "verdict"]


def test_a_dataset_is_read_and_validated_once_before_its_first_use(project: Project) -> None:
    """By whichever step and however it comes; one that promises nothing, or is only named, is not validated."""
    project.write("""
from everloop import between

promised = [between("x", 0, 6)]
first, second, third = (Dataset(name, keys="id", event_time=None, expect=promised) for name in ("a", "b", "c"))
plain = Dataset("plain", keys="id", event_time=None)
named = FeatureView("named", source="c", join_key="id", event_time=None, columns=["x"])
whole = FeatureView("whole", source=second, join_key="id", event_time=None, columns=["x"])
features = FeatureService("features", [named, whole])

@step
def join(rows: pa.Table, history: History) -> pa.Table: ...

@step
def use(rows: pa.Table) -> None: ...

@step
def read_plain(n: int) -> None: ...

@pipeline
def main() -> None:
    read_plain(1)
    use(join(first.rows, features.history))
    use(plain.rows)
    use(second.rows)
    use(third.rows)
    join(first.rows, features.history)
""")
    graph = project.pipeline().graph
    assert [node.name for node in graph.nodes] == [
        "read_plain",
        "read_a",
        "validate_a",
        "read_b",
        "read_c",
        "validate_b",
        "join",
        "use",
        "read_plain_2",
        "use_2",
        "use_3",
        "validate_c",
        "use_4",
        "join_2",
    ]
    assert graph.datasets() == ("a", "b", "c", "plain")


def test_each_model_of_a_pipeline_has_its_own_gate(trained: Project) -> None:
    """A step that is called like a node of the engine, or a second node of its kind, gets a number."""
    trained.write(
        SOURCE.replace("TOP", "6")
        + """
other = RegisteredModel("other", gate=Check("bad", lambda found: (False, "never")))

@step
def gate(found: Found) -> Found:
    return found

@pipeline
def both() -> None:
    model = train(checked.rows, 0)
    found = gate(evaluate(model, 1.0))
    register(late, model, found)
    register(other, model, found)
"""
    )
    run = trained.run("both")
    assert (run.error, list(trained.steps(run))[3:]) == (
        None,
        ["evaluate", "gate", "gate_2", "register", "gate_3", "register_2"],
    )
    with trained.workspace.database.read() as tx:
        found = {version.model: version.gate for version in list_versions(tx)}
    assert {model: gate and (gate.name, gate.passed) for model, gate in found.items()} == {
        "late": ("good", True),
        "other": ("bad", False),
    }


def test_names_are_cut_to_what_a_row_can_hold(project: Project) -> None:
    """A dataset's name may be as long as a step's, and the engine's nodes have longer ones."""
    project.write(
        """
long = Dataset("a" * 100, keys="id", event_time=None)

@step
def use(rows: pa.Table) -> None: ...

@step
def %s(n: int) -> None: ...

@pipeline
def main() -> None:
    use(long.rows)
    %s(1)
    %s(2)
""".replace("%s", "b" * 120)
    )
    names = [node.name for node in project.pipeline().graph.nodes]
    assert names == [f"read_{'a' * 95}", "use", "b" * 100, f"{'b' * 98}_2"]


def test_the_history_of_a_service_is_joined_in_a_step(project: Project) -> None:
    """Over the versions that the run is pinned to."""
    project.append(key="1")
    project.write("""
view = FeatureView("v", source=rows, join_key="id", event_time=None, columns=["x"])
features = FeatureService("features", [view])

@step
def join(history: History) -> list[float]:
    import datetime
    asked = pa.table({"id": [3, 4], "at": [datetime.datetime(2013, 1, 1, tzinfo=datetime.timezone.utc)] * 2})
    return history.join(asked, at="at")["v_x"].to_pylist()

@pipeline
def main() -> None:
    join(features.history)
""")
    run = project.run()
    assert run.error is None
    assert load(project, run, "join", "output") == [3.0, 4.0]
    assert [pin.dataset for pin in run.datasets] == ["rows"]


# ---- reading and validating


def test_broken_promises_end_the_run_and_what_was_found_is_kept(project: Project) -> None:
    """Before any step has the rows: with the words of `require`, and the findings for whoever looks later."""
    project.append(key="1")
    project.write(SOURCE.replace("TOP", "3"))
    run = project.run()
    assert run.state is RunState.FAIL and project.calls() == []
    assert (run.error or "").startswith("the rows break what dataset rows promises: x: 16 of 40 rows")
    failed = project.steps(run)["validate_rows"]
    assert (failed.state, failed.error) == (RunState.FAIL, run.error)
    findings = load(project, run, "validate_rows", "findings")
    assert isinstance(findings, tuple)
    assert [(type(finding), finding.column) for finding in findings] == [(Finding, "x")]
    again = project.run()
    assert (again.error, project.steps(again)["validate_rows"].cached_from) == (run.error, None)


def test_rows_are_read_and_looked_at_once_per_version(trained: Project) -> None:
    """Another run takes both from the first; new rows are read and looked at anew, and so are old rows by new promises."""

    def taken(run: Run) -> dict[str, bool]:
        assert run.error is None
        steps = trained.steps(run)
        return {name: steps[name].cached_from is not None for name in NAMES[:3]}

    assert taken(trained.run()) == dict.fromkeys(NAMES[:3], False)
    assert taken(trained.run(seed=1)) == {"read_rows": True, "validate_rows": True, "train": False}
    trained.append(key="2", start=100)
    assert taken(trained.run()) == dict.fromkeys(NAMES[:3], False)
    trained.write(SOURCE.replace("TOP", "7"))
    assert taken(trained.run()) == {"read_rows": True, "validate_rows": False, "train": False}


# ---- the gate


GATES = [
    ("lambda found: (found.score > 0.5, 'good')", True, "good"),
    ("lambda found: (found.score < 0.5, 'bad')", False, "bad"),
    ("lambda found: found.nothing", False, "cannot be evaluated: AttributeError"),
    ("lambda found: None", False, "cannot be evaluated: TypeError"),
    ("lambda found: (np.array([True, True]), 'two')", False, "cannot be evaluated: ValueError"),
    ("lambda found: exit(3)", False, "it asked its process to exit with 3"),
    ("lambda found: (np.bool_(True), np.float64(0.5))", True, "0.5"),
    ("lambda found: CheckResult(name='good', passed=True, because='own')", True, "own"),
    ("lambda found: CheckResult(name='good', passed='no', because='')", False, "needs passed=True or False"),
    (
        "lambda found: CheckResult(name='good', passed=True, because=None)",
        False,
        "needs passed=True or False",
    ),
]


@pytest.mark.parametrize(("gate", "passed", "because"), GATES)
def test_the_gate_of_the_model_decides_and_what_cannot_be_judged_has_failed(
    trained: Project, gate: str, passed: bool, because: str
) -> None:
    """Its answer is the version's, and an artifact; the run itself is complete, for a refusal is an answer."""
    trained.write(SOURCE.replace("TOP", "6").replace("gate=gate", f'gate=Check("good", {gate})'))
    run = trained.run()
    assert run.error is None
    verdict = load(trained, run, "gate", "verdict")
    assert isinstance(verdict, CheckResult)
    assert (verdict.name, verdict.passed) == ("good", passed) and because in verdict.because
    with trained.workspace.database.read() as tx:
        (version,) = list_versions(tx)
        assert find_alias(tx, "late", "challenger") == (1 if passed else None)
    assert version.gate == verdict and version.metrics == {"score": 0.75}


def test_the_gate_may_be_asked_of_anything_that_a_step_returns(project: Project) -> None:
    """Also of all fields of a NamedTuple at once, and it is asked in every run."""
    project.append(key="1")
    project.write("""
class Both(NamedTuple):
    model: Model
    score: float

def ask(both: Both) -> tuple[bool, str]:
    called("gate")
    return type(both) is Both and both.score == 0.5, "both"

late = RegisteredModel("late", gate=Check("both", ask))

@step
def train(rows: pa.Table) -> Both:
    from everloop import constant
    labels = pa.array([n % 2 for n in range(rows.num_rows)], pa.int64())
    return Both(constant(rows.append_column("late", labels), label="late", inputs=["x"]), 0.5)

@pipeline
def main() -> None:
    both = train(rows.rows)
    register(late, both.model, both)
""")
    run = project.run()
    assert run.error is None
    assert [ref.name for ref in project.steps(run)["gate"].inputs] == ["evaluation.model", "evaluation.score"]
    assert load(project, run, "gate", "evaluation.score") == 0.5
    second = project.run()
    assert project.steps(second)["train"].cached_from == run.id
    assert project.steps(second)["gate"].cached_from is None and project.calls() == ["gate", "gate"]
    with project.workspace.database.read() as tx:
        assert [(version.version, version.passed) for version in list_versions(tx)] == [(1, True)]


def test_a_champion_that_a_pipeline_forgets_is_one_that_was_not_evaluated(project: Project) -> None:
    """A gate that asks to be no worse than the champion says no when there is one and nobody compared with it."""
    project.append(key="1")
    project.write("""
from everloop import Evaluation, compare, constant, not_worse

late = RegisteredModel("late", gate=not_worse(margin=0.01))

@step
def train(rows: pa.Table, seed: int) -> Model:
    labels = [int((n + seed) % 3 == 0) for n in range(rows.num_rows)]
    return constant(rows.append_column("late", pa.array(labels, pa.int64())).slice(seed), label="late", inputs=["x"])

@step
def evaluate(candidate: Model) -> Evaluation:
    return compare([0.2, 0.7, 0.4, 0.9], [0, 1, 1, 1])

@step
def see(candidate: Model, champion: Model | None) -> Evaluation:
    return compare([0.2, 0.7, 0.4, 0.9], [0, 1, 1, 1])

@pipeline
def main(seed: int = 0) -> None:
    candidate = train(rows.rows, seed)
    register(late, candidate, evaluate(candidate))

@pipeline
def sees(seed: int = 0) -> None:
    candidate = train(rows.rows, seed)
    register(late, candidate, see(candidate, late.champion))
""")
    project.run()
    with project.workspace.database.write() as tx:
        assert [version.passed for version in list_versions(tx)] == [True]
        promote(tx, project.workspace, model="late", version=1, who="me", why="a test")
    for number, name in enumerate(("main", "sees"), start=1):
        assert project.run(name, seed=number).error is None
    with project.workspace.database.read() as tx:
        _, *later = (version.gate for version in list_versions(tx))
    assert [gate.passed for gate in later if gate is not None] == [False, False]
    assert all("the pipeline did not evaluate late@1" in gate.because for gate in later if gate is not None)


def test_a_model_without_a_gate_never_carries_an_alias(
    trained: Project, caplog: pytest.LogCaptureFixture
) -> None:
    """Its versions are there and numbered, it is said when they are registered, and no hand goes round it."""
    trained.write(SOURCE.replace("TOP", "6").replace(", gate=gate)", ")"))
    run = trained.run()
    assert run.error is None and "gate" not in trained.steps(run)
    assert [ref.name for ref in trained.steps(run)["register"].inputs] == ["candidate", "evaluation"]
    assert "model late has no gate" in caplog.text
    with trained.workspace.database.write() as tx:
        (version,) = list_versions(tx)
        assert (version.gate, find_alias(tx, "late", "challenger")) == (None, None)
        with pytest.raises(Refused, match="no gate has looked at it"):
            move_alias(
                tx, trained.workspace, model="late", alias="challenger", version=1, who="me", why="a test"
            )


# ---- what a run is asked for


def ask(project: Project, *, register: bool = True, data: dict[str, int] | None = None) -> Run:
    """Take a run that was asked for in this way to its end."""
    with project.workspace.database.write() as tx:
        asked = run_on_demand(
            tx,
            project.workspace,
            pipeline="main",
            params=project.pipeline().fill({}),
            who="me",
            reason="a test",
            key=project.workspace.new_id(),
            register=register,
            data=data,
        )
    worker = project.worker()
    run = worker.run_next(only=asked.id)
    worker.close()
    assert run is not None
    return run


def test_an_experiment_does_everything_but_register(trained: Project) -> None:
    """The gate is asked all the same; the node that registers is not there, and a run that registers takes all the rest."""
    run = ask(trained, register=False)
    assert (run.error, run.register, list(trained.steps(run))) == (None, False, NAMES[:-1])
    assert load(trained, run, "gate", "verdict") == CheckResult(
        name="good", passed=True, because="0.75 against 0.5"
    )
    with trained.workspace.database.read() as tx:
        assert list_versions(tx) == [] and ledger.read(tx, types=["model.registered"]) == []
    second = ask(trained)
    assert (second.error, list(trained.steps(second))) == (None, NAMES)
    with trained.workspace.database.read() as tx:
        assert [version.run_id for version in list_versions(tx)] == [second.id]
    assert trained.calls() == ["train", "evaluate"]


def test_a_run_reads_the_older_version_that_it_was_asked_to_read(trained: Project) -> None:
    """And its record, its lineage and its model's facts say so."""
    trained.append(key="2", start=100)
    run = ask(trained, data={"rows": 0})
    assert run.error is None
    assert [(pin.dataset, pin.version, pin.rows) for pin in run.datasets] == [("rows", 0, 40)]
    with trained.workspace.database.read() as tx:
        (version,) = list_versions(tx)
        (arrow, *_) = run_lineage(tx, run.id).upstream
    assert version.facts["datasets"] == {"rows": 0}
    assert (arrow.source, arrow.how) == ("dataset rows@0", "read")
    assert [pin.version for pin in ask(trained).datasets] == [1]


def test_data_that_a_run_cannot_read_is_refused_before_anybody_waits(trained: Project) -> None:
    """A dataset that the pipeline does not read, and a version that is not there; a run that was asked for anyway fails."""
    asked: list[tuple[dict[str, int], str]] = [
        ({"other": 0}, "pipeline main does not read dataset 'other'. Next: it reads rows."),
        ({"rows": 3}, "dataset rows has no version 3. Next: it has 0 to 0."),
    ]
    for data, told in asked:
        with trained.workspace.database.read() as tx, pytest.raises(NotFound) as error:
            check_data(tx, trained.pipeline(), data)
        assert str(error.value) == told
    with trained.workspace.database.write() as tx:
        request_run(
            tx,
            trained.workspace,
            pipeline="main",
            key="k",
            trigger="on_demand",
            reason="a test",
            who="me",
            values=trained.pipeline().fill({}),
            data={"rows": 3},
        )
    worker = trained.worker()
    run = worker.run_next()
    worker.close()
    assert run is not None and (run.state, run.error) == (RunState.FAIL, asked[1][1])


def test_any_artifact_of_a_run_is_there_as_the_value_that_it_was(trained: Project) -> None:
    """In the type of its hint; as plain values where only the pipeline's name is known, or the step is gone from it."""
    run = trained.run()
    found = load(trained, run, "evaluate", "output")
    assert type(found).__name__ == "Found" and found == load(trained, run, "gate", "evaluation")
    assert type(load(trained, run, "train", "output")).__name__ == "Model"
    step = trained.steps(run)["evaluate"]
    assert load_artifact(trained.workspace, "main", step, "output") == {"score": 0.75}
    with pytest.raises(NotFound, match=r"has no artifact 'model_'\. Next: it has model, output\."):
        load_artifact(trained.workspace, "main", step, "model_")
    trained.write(SOURCE.replace("TOP", "6").replace("evaluate(", "assess("))
    assert load_artifact(trained.workspace, trained.pipeline(), step, "output") == {"score": 0.75}


# ---- a worker dies


class Killed(BaseException):
    """What no code of ours catches: everything is left as it is at this moment."""


@pytest.mark.parametrize("state", ["RUNNING", "COMPLETE"])
@pytest.mark.parametrize("name", NAMES)
def test_a_worker_may_die_over_any_node(trained: Project, name: str, state: str) -> None:
    """At its begin or right after its end: the next worker goes on from there, nothing is done twice that was finished."""

    def die(run: Run, step: StepRun) -> None:
        if (step.step, step.state.value) == (name, state):
            raise Killed

    trained.ask(key="the run")
    worker = trained.worker(die)
    with pytest.raises(Killed):
        worker.run_next()
    worker.close()
    done = NAMES[: NAMES.index(name) + (state == "COMPLETE")]
    with trained.workspace.database.read() as tx:
        (left,) = list_runs(tx)
    before = {n: step for n, step in trained.steps(left).items() if n in done}
    assert left.state is RunState.RUNNING and list(before) == done
    following = trained.worker()
    run = following.run_next()
    following.close()
    assert run is not None and (run.id, run.state, run.error) == (left.id, RunState.COMPLETE, None)
    after = trained.steps(run)
    assert list(after) == NAMES and {n: after[n] for n in done} == before
    assert trained.calls() == ["train", "evaluate"]
    with trained.workspace.database.read() as tx:
        assert [(version.run_id, version.passed) for version in list_versions(tx)] == [(run.id, True)]
        assert find_alias(tx, "late", "challenger") == 1
        ended = [event.data["step"] for event in ledger.read(tx, types=["step.completed"])]
    assert ended == NAMES
