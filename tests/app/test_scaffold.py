"""What `everloop init` makes: a project that runs as it is."""

import json
import runpy
from pathlib import Path

import pytest

from everloop.errors import Conflict
from everloop.project.examples import copy_example
from everloop.project.loading import load_declarations
from tests.app.conftest import EXAMPLES, Answer, Everloop


def files(folder: Path) -> dict[str, bytes]:
    """Everything in a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_project_is_the_starter_and_a_list_for_git(everloop: Everloop, tmp_path: Path) -> None:
    """Every file of the starter is there, and what a run makes is not for git."""
    made = everloop("init", tmp_path / "my work" / "churn")
    folder = tmp_path / "my work" / "churn"
    assert (made.code, made.err) == (0, "")
    found = files(folder)
    assert found.pop(".gitignore").decode().split() == [".everloop/", "__pycache__/"]
    ignored = ("__pycache__", ".everloop")
    starter = files(EXAMPLES / "starter")
    assert found == {
        name: data for name, data in starter.items() if not any(part in name for part in ignored)
    }


def test_it_says_which_commands_come_next(everloop: Everloop, tmp_path: Path) -> None:
    """They can be copied as they stand, also when the folder's name has a space in it."""
    said = everloop("init", tmp_path / "my work")
    assert said.out.splitlines()[1:] == [
        f"  cd '{tmp_path / 'my work'}'",
        "  everloop run keep_fresh",
        "  everloop up",
    ]


def test_in_an_empty_folder_nothing_needs_to_be_entered(
    everloop: Everloop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`everloop init .` is fine where nothing is yet."""
    monkeypatch.chdir(tmp_path)
    said = everloop("init", ".")
    assert (said.code, "cd" in said.out.split()) == (0, False)


def test_a_program_learns_where_it_is(everloop: Everloop, tmp_path: Path) -> None:
    """`--json` names the folder, the module and the pipeline."""
    said = everloop("init", "--json", tmp_path / "churn")
    assert json.loads(said.out) == {
        "folder": str(tmp_path / "churn"),
        "module": "churn",
        "pipeline": "keep_fresh",
    }


@pytest.mark.parametrize("taken", ["file", "folder"])
def test_nothing_is_ever_overwritten(taken: str, everloop: Everloop, tmp_path: Path) -> None:
    """A file, or a folder with anything in it, is refused and left as it was."""
    place = tmp_path / "churn"
    inner = place if taken == "file" else place / "churn.py"
    inner.parent.mkdir(exist_ok=True)
    inner.write_text("mine")
    said = everloop("init", place)
    assert said.code == 1
    assert said.err.splitlines()[0].startswith(f"everloop: {place} is ")
    assert files(tmp_path) == {str(inner.relative_to(tmp_path)): b"mine"}


def test_an_example_that_was_run_where_it_lies_leaves_no_trace_in_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stores and caches beside an example are not copied."""
    source = tmp_path / "examples" / "starter"
    for name in (".everloop/everloop.db", "__pycache__/churn.pyc", ".mypy_cache/x", "churn.py"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).touch()
    monkeypatch.setattr("everloop.project.examples._examples", lambda: tmp_path / "examples")
    copy_example("starter", tmp_path / "copy")
    assert set(files(tmp_path / "copy")) == {"churn.py"}
    with pytest.raises(Conflict, match="not empty"):
        copy_example("starter", tmp_path / "copy")


def test_the_starter_declares_each_part_of_the_loop(starter: Path) -> None:
    """Data, pipeline, endpoint, both monitors, and four triggers besides the one by hand."""
    project = load_declarations(starter)
    assert [dataset.name for dataset in project.datasets] == ["renewals"]
    assert [pipeline.name for pipeline in project.pipelines] == ["keep_fresh"]
    assert [endpoint.model for endpoint in project.endpoints] == ["churn"]
    assert len(project.monitors) == 2
    assert {rule.kind for rule in project.triggers[0].rules} == {"schedule", "new_data", "decay", "drift"}


def test_its_data_is_what_its_script_makes(starter: Path) -> None:
    """The months in the repository come from `next_month.py`, byte for byte, and so will the next on any machine."""
    script = runpy.run_path(str(starter / "next_month.py"))
    again = starter / "again"
    again.mkdir()
    for number in range(3):
        script["write_month"](again, number)
    assert files(again) == files(EXAMPLES / "starter" / "data")
    script["main"]()
    assert (starter / "data" / "renewals-2025-04.csv").exists()


def test_the_first_run_ends_with_a_champion(first_run: tuple[Path, Answer]) -> None:
    """One command reads the files, trains, passes the gate and puts the first model behind the endpoint."""
    said = first_run[1]
    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    verdicts = [line.split(": ")[1].split(",")[0] for line in lines if ".csv, 400 rows" in line]
    assert verdicts == ["pass", "pass", "retrain"], "prices rise in the third month"
    assert "churn@1 passed its gate and is champion" in lines
    assert lines[-1].startswith("complete in ")
