"""`everloop.open()`: what a notebook gets back for each thing that a project declares."""

from pathlib import Path

import pytest

import everloop as ev
from everloop.errors import Conflict, InvalidInput, NotFound, ProjectError, Refused, RunFailed
from everloop.records.runs import RunState
from tests.app.conftest import change

TREES = '    """Gradient-boosted trees."""\n'


def test_a_run_gives_back_everything_that_came_of_it(trained: Path) -> None:
    """Its values by the step that made them, the evaluation that the gate was asked about, versions and numbers."""
    with ev.open(trained) as project:
        run = project.run("keep_fresh", {"trees": 30}, register=True, reason="a test")
        assert (run.run.state, run.run.reason, run.run.params["trees"]) == (RunState.COMPLETE, "a test", 30)
        assert [version.name for version in run.versions] == ["churn@2"]
        assert run.refused is None
        assert run.metrics["test_rows"] > 0
        assert isinstance(run.evaluation, ev.Evaluation)
        assert run.evaluation.metrics()["log_loss"] == run.metrics["log_loss"]
        model = run.artifacts["train.output"]
        rows = project.dataset("renewals").read()
        assert isinstance(model, ev.Model)
        assert (model.predict(rows) == project.load("churn@2").predict(rows)).all()
        assert "split.test" in run.artifacts
        assert len(run.artifacts) == len(list(run.artifacts))
        with pytest.raises(NotFound, match=r"made no 'train'") as error:
            run.artifacts["train"]
        assert "train.output" in error.value.next_step
        assert project.runs(limit=1)[0].id == run.run.id


def test_a_project_that_is_closed_does_nothing_more(trained: Path) -> None:
    """Its stores were given back, and nobody would give them back again; what was read from them stays."""
    with ev.open(trained) as project:
        run = project.run("keep_fresh")
    assert repr(project) == "<everloop project, closed>"
    assert isinstance(run.artifacts["train.output"], ev.Model)
    for ask in (
        project.status,
        project.runs,
        lambda: project.run("keep_fresh"),
        lambda: project.load("churn@1"),
    ):
        with pytest.raises(Conflict, match="closed"):
            ask()


def test_a_model_that_is_refused_is_an_answer(trained: Path) -> None:
    """The run is complete; the verdict says which check failed and why."""
    change(trained / "churn.py", 'beats("constant")', 'beats("constant", by=9.0)')
    with ev.open(trained) as project:
        run = project.run("keep_fresh", {"trees": 9}, register=True)
        assert run.refused is not None
        assert run.refused.failed()
        assert [(version.name, version.passed) for version in run.versions] == [("churn@2", False)]
        with pytest.raises(Refused, match="the gate refused it"):
            project.promote("churn@2", why="I am sure")


def test_a_run_that_fails_is_raised_with_its_reason(trained: Path) -> None:
    """And with the command that shows its record."""
    change(trained / "churn.py", TREES, '    raise ValueError("no trees")\n')
    with ev.open(trained) as project:
        with pytest.raises(RunFailed, match="ValueError: no trees") as error:
            project.run("keep_fresh")
        assert project.runs(limit=1)[0].state is RunState.FAIL
        assert error.value.next_step.startswith("everloop show ")


def test_datasets_and_models_are_there_by_their_names(trained: Path) -> None:
    """Rows of any version, the batches with their verdicts, the champion ready to predict."""
    with ev.open(trained) as project:
        renewals, churn = project.dataset("renewals"), project.model("churn")
        assert [renewals.read(version).num_rows for version in (0, 1, 2, None)] == [400, 800, 1200, 1200]
        assert [batch.verdict.value for batch in renewals.batches()] == ["pass", "pass", "retrain"]
        assert churn.champion is not None
        assert churn.challenger is None
        assert [version.name for version in churn.versions] == ["churn@1"]
        scores = churn.champion.predict(renewals.read(0))
        assert (scores == project.load("churn@champion").predict(renewals.read(0))).all()
        assert project.status().models == {"churn": {"champion": 1, "challenger": None}}
        assert project.lineage("churn@champion") == project.lineage("churn@1")
        assert [event.subject for event in project.events("model.registered")] == ["churn@1"]


@pytest.mark.parametrize(
    ("ask", "reason", "next_step"),
    [
        (lambda project: project.load("churn@9"), "no version 9", "everloop models"),
        (lambda project: project.load("churn@challenger"), "no challenger", "everloop models churn"),
        (lambda project: project.load("chrun@1"), "no registered model 'chrun'", "churn"),
        (lambda project: project.load("churn"), "not model@version", "late@3"),
        (lambda project: project.model("chrun"), "no registered model 'chrun'", "churn"),
        (lambda project: project.dataset("renewal"), "no dataset 'renewal'", "renewals"),
        (lambda project: project.dataset("renewals").read(7), "no version 7", "0 to 2"),
        (lambda project: project.run("keep"), "no pipeline 'keep'", "keep_fresh"),
        (lambda project: project.run("keep_fresh", data={"x": 1}), "does not read dataset 'x'", "renewals"),
        (lambda project: project.run("keep_fresh", data={"renewals": "0"}), "'0' of dataset", "it has 0 to"),
        (
            lambda project: project.run("keep_fresh", data={"renewals": 0.5}),
            "is no whole number",
            "it has 0 to",
        ),
        (lambda project: project.dataset("renewals").read("0"), "'0' of dataset", "it has 0 to"),
        (lambda project: project.dataset("renewals").read(True), "True of dataset", "it has 0 to"),
        (lambda project: project.promote("churn@1", why=" "), "without a reason", "why="),
        (
            lambda project: project.rollback("churn", why="x"),
            "had no other champion",
            "everloop models churn",
        ),
    ],
)
def test_what_is_not_there_is_one_sentence_and_a_next_step(
    ask: object, reason: str, next_step: str, trained: Path
) -> None:
    """The same as on the command line."""
    with ev.open(trained) as project, pytest.raises((NotFound, InvalidInput), match=reason) as error:
        ask(project)  # type: ignore[operator]
    assert next_step in error.value.next_step


def test_the_champion_moves_by_hand_and_back(trained: Path) -> None:
    """With a reason; the alias of the challenger is taken from it."""
    with ev.open(trained) as project:
        project.run("keep_fresh", {"trees": 30}, register=True)
        moved = project.promote("churn@challenger", why="a test")
        assert moved is not None
        assert (moved.version, moved.previous, moved.why) == (2, 1, "a test")
        assert project.promote("churn@2", why="a test") is None
        assert project.model("churn").challenger is None
        back = project.rollback("churn", why="it was one")
        assert back is not None
        assert back.version == 1


def test_a_model_that_nobody_has_made_yet_has_no_champion(starter: Path) -> None:
    """It is declared, so asking for it is no mistake."""
    with ev.open(starter) as project:
        churn = project.model("churn")
        assert (churn.champion, churn.challenger, churn.versions) == (None, None, ())
        with pytest.raises(NotFound, match="no data yet"):
            project.dataset("renewals").read()


def test_code_that_was_changed_is_read_anew_when_the_project_is_opened_again(trained: Path) -> None:
    """A notebook goes on; with the project that was open before, nothing is run that the files do not say."""
    with ev.open(trained) as project:
        change(trained / "churn.py", "trees: int = 60", "trees: int = 6")
        with pytest.raises(Conflict, match="code has changed") as error:
            project.run("keep_fresh")
        assert "open the project again" in error.value.next_step
    with ev.open(trained) as project:
        assert project.run("keep_fresh").run.params["trees"] == 6


def test_without_a_project_the_way_to_one_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`new=True` makes one here, and is no harm in a cell that is run again."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notebook.ipynb").touch()
    with pytest.raises(ProjectError) as error:
        ev.open()
    assert "ev.open(new=True)" in error.value.next_step
    with pytest.raises(ProjectError) as error:
        ev.open("other")
    assert "ev.open('other', new=True)" in error.value.next_step
    with pytest.raises(ProjectError, match="is a file"):
        ev.open("notebook.ipynb", new=True)
    with ev.open(new=True) as project:
        assert (project.runs(), project.events()) == ([], [])
    settings = (tmp_path / "everloop.toml").read_text()
    with ev.open(new=True), ev.open() as project:
        assert project.workspace.settings.root == tmp_path
    assert (tmp_path / "everloop.toml").read_text() == settings


@pytest.mark.parametrize(
    ("folder", "module"),
    [
        ("churn model", "churn_model"),
        ("renewing", "renewing"),
        ("2024-flights", "flights"),
        ("json", "json_project"),
        ("class", "class_project"),
        ("ä", "project"),
    ],
)
def test_a_new_project_has_a_module_that_python_can_find(
    folder: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named like its folder, as far as that is a name that nobody has; also where a notebook lies in the folder above."""
    monkeypatch.syspath_prepend(tmp_path)
    ev.open(tmp_path / folder, new=True).close()
    assert (tmp_path / folder / f"{module}.py").exists()
    (tmp_path / folder / f"{module}.py").write_text("x = 1\n")
    (tmp_path / folder / "everloop.toml").unlink()
    ev.open(tmp_path / folder, new=True).close()
    assert (tmp_path / folder / f"{module}.py").read_text() == "x = 1\n", (
        "a module that is there is left alone"
    )


def test_an_experiment_registers_nothing_unless_it_is_asked_to(trained: Path) -> None:
    """Params or data of one's own make one; its answers are there all the same."""
    with ev.open(trained) as project:
        tried = project.run("keep_fresh", {"trees": 30})
        older = project.run("keep_fresh", data={"renewals": 1})
        assert (tried.versions, older.versions) == ((), ())
        assert (tried.report.register, older.report.register) == (False, False)
        assert isinstance(tried.evaluation, ev.Evaluation)
        assert [(pin.dataset, pin.version) for pin in older.run.datasets] == [("renewals", 1)]
        asked = project.run("keep_fresh", {"trees": 30}, register=True)
        assert [version.name for version in asked.versions] == ["churn@2"]
        with pytest.raises(NotFound, match="no version 9"):
            project.run("keep_fresh", data={"renewals": 9})
