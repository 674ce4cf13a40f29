"""Every way in which a project may be wrong is said in one sentence that names the place, with a next step."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from everloop.errors import EverloopError, NotFound, ProjectError
from everloop.project.loading import load_declarations
from tests.app.conftest import Everloop, change

Break = Callable[[Path], None]


def in_code(before: str, after: str) -> Break:
    """A change of churn.py."""
    return lambda root: change(root / "churn.py", before, after)


def in_settings(before: str, after: str) -> Break:
    """A change of everloop.toml."""
    return lambda root: change(root / "everloop.toml", before, after)


def without_module(root: Path) -> None:
    """The file is gone."""
    (root / "churn.py").unlink()


def folder_instead(root: Path) -> None:
    """A folder has the module's name, and Python would take it for a package."""
    (root / "churn.py").unlink()
    (root / "churn").mkdir()


def raising(error: str) -> Break:
    """The module fails while it is imported."""
    return in_code("# ---- data", f"{error}\n# ---- data")


FIRST = 'renewals = ev.Dataset(\n    "renewals"'
REGISTER = "    ev.register(churn, candidate, evaluate(candidate, churn.champion, train_rows, test_rows))"
TRAIN = "train_rows, test_rows = split(renewals.rows, test_days)"

WRONG: dict[str, tuple[Break, str, str]] = {
    "syntax": (in_code("from datetime import timedelta", "def x(:"), r"churn\.py:\d+: SyntaxError", ""),
    "a name that is not there": (
        in_code("gate=ev.beats", "gate=beets"),
        r"churn\.py:\d+: NameError.*beets",
        "",
    ),
    "a name that everloop does not have": (
        in_code("ev.between(", "ev.betwen("),
        r"churn\.py:\d+: AttributeError.*betwen",
        "",
    ),
    "an import that is not there": (
        in_code("import LGBMClassifier", "import LGBMClasifier"),
        r"churn\.py:\d+: .*LGBMClasifier",
        "",
    ),
    "a library that is not there": (
        in_code("from lightgbm", "from lightgbn"),
        r"churn\.py:\d+: No module named 'lightgbn'",
        "pip install lightgbn",
    ),
    "an error while it is imported": (raising("1 / 0"), r"churn\.py:\d+: ZeroDivisionError", ""),
    "a program instead of a module": (
        raising("raise SystemExit(0)"),
        r"churn\.py:\d+: the module ends the program",
        "__main__",
    ),
    "no module": (without_module, r"no churn\.py in .*churn", "everloop.toml"),
    "a folder for a module": (folder_instead, r"no churn\.py in .*churn", "everloop.toml"),
    "a module that is Python's own": (
        in_settings('"churn"', '"json"'),
        r"json was found at .*not in",
        "name",
    ),
    "a module that is no name": (in_settings('"churn"', '"my churn"'), "module", ""),
    "no settings that can be read": (in_settings("[project]", "[project"), "not valid TOML", ""),
    "an unknown key": (in_settings("port =", "prot ="), r"\[serving\].*prot", ""),
    "an unknown section": (in_settings("[serving]", "[sreving]"), "sreving", ""),
    "a key of the wrong type": (
        in_settings("port = 8080", 'port = "8080"'),
        r"\[serving\] port is '8080'",
        "",
    ),
    "an executor that there is not": (
        in_settings("[serving]", '[worker]\nexecutor = "ray"\n\n[serving]'),
        r"\[worker\] executor is 'ray'; there are in_process, process",
        "one of them",
    ),
    "a step without hints": (
        in_code("def split(rows: pa.Table,", "def split(rows,"),
        r"step split \(.*churn\.py:\d+\).*'rows'",
        "rows: pa.Table",
    ),
    "a step without a return type": (
        in_code("test_days: int) -> ev.Split:", "test_days: int):"),
        r"step split \(.*churn\.py:\d+\).*return type",
        "->",
    ),
    "a step that is called wrongly": (
        in_code(TRAIN, TRAIN.replace(", test_days)", ")")),
        "split.*test_days",
        "",
    ),
    "a step that is not there": (
        in_code(TRAIN, TRAIN.replace("split(", "splitt(")),
        "keep_fresh.*splitt",
        "",
    ),
    "steps that do not fit": (
        in_code("train(train_rows, trees, seed)", "train(trees, trees, seed)"),
        "rows",
        "",
    ),
    "a cycle": (in_code(REGISTER, "    keep_fresh()"), "keep_fresh.*cycle", ""),
    "a dataset with no possible name": (
        in_code(FIRST, FIRST.replace('"renewals"', '"Renewals!"')),
        r"churn\.py:\d+: 'Renewals!'",
        "lower-case",
    ),
    "a dataset that nobody declares": (
        in_code(TRAIN, TRAIN.replace("renewals", 'ev.Dataset("renewal", keys="customer", event_time=None)')),
        "keep_fresh reads dataset 'renewal'",
        "did you mean 'renewals'",
    ),
    "two datasets of one name": (
        in_code(
            "# ---- features", 'again = ev.Dataset("renewals", keys="id", event_time=None)\n# ---- features'
        ),
        "two datasets named 'renewals'",
        "",
    ),
    "two models of one name": (
        in_code("# ---- features", 'again = ev.RegisteredModel("churn")\n# ---- features'),
        "two models named 'churn'",
        "another name",
    ),
    "a model that is registered under another gate": (
        in_code(REGISTER, REGISTER.replace("churn,", 'ev.RegisteredModel("churn"),', 1)),
        "keep_fresh registers model 'churn', and churn declares another model of that name",
        "declare one RegisteredModel",
    ),
    "an endpoint of a model that nobody makes": (
        in_code("ev.Endpoint(model=churn", 'ev.Endpoint("churn", model="chrun"'),
        "endpoint 'churn' serves model 'chrun'",
        "did you mean 'churn'",
    ),
    "a monitor of an endpoint that nobody declares": (
        in_code(
            'DriftMonitor("churn_inputs", endpoint',
            'DriftMonitor("churn_inputs", ev.Endpoint("c", model=churn)',
        ),
        "monitor 'churn_inputs' watches endpoint 'c'",
        "",
    ),
    "a trigger on a monitor that nobody declares": (
        in_code("ev.on_drift(inputs)", 'ev.on_drift(ev.DriftMonitor("other", endpoint))'),
        "drift other",
        "",
    ),
    "a schedule that is none": (
        in_code("0 6 1 * *", "0 6 1 *"),
        r"churn\.py:\d+: on_schedule",
        "five fields",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_said_with_its_place(wrong: str, starter: Path) -> None:
    """One sentence with the file, the line or the name; never a traceback."""
    breaks, reason, next_step = WRONG[wrong]
    breaks(starter)
    with pytest.raises(EverloopError) as error:
        load_declarations(starter)
    assert re.search(reason, error.value.reason), error.value.reason
    assert next_step in error.value.next_step
    assert "\n" not in error.value.reason


@pytest.mark.parametrize("wrong", ["syntax", "an unknown key", "a dataset that nobody declares"])
def test_a_person_reads_two_lines(wrong: str, starter: Path, everloop: Everloop) -> None:
    """The reason and the next step, on standard error, with a code above zero; nothing was made."""
    WRONG[wrong][0](starter)
    said = everloop("run", "keep_fresh", "-C", starter)
    first, second = said.err.splitlines()
    assert (said.code, said.out) == (1, "")
    assert first.startswith("everloop: ")
    assert len(second.removeprefix("next: ")) > 10
    assert not (starter / ".everloop").exists()


def test_a_project_is_found_from_any_folder_below_it(starter: Path) -> None:
    """As git does it."""
    below = starter / "notebooks" / "old"
    below.mkdir(parents=True)
    assert load_declarations(below).settings.root == starter


def test_outside_of_any_project_the_way_in_is_shown(tmp_path: Path) -> None:
    """Somebody in the wrong folder learns of `init`."""
    with pytest.raises(ProjectError) as error:
        load_declarations(tmp_path)
    assert "everloop init" in error.value.next_step


def test_a_second_project_of_the_same_name_is_not_taken_for_the_first(starter: Path, tmp_path: Path) -> None:
    """One process cannot hold two modules of one name, and says so instead of running the wrong one."""
    other = tmp_path / "other"
    other.mkdir()
    for name in ("churn.py", "everloop.toml"):
        (other / name).write_bytes((starter / name).read_bytes())
    load_declarations(starter)
    with pytest.raises(ProjectError, match="found at"):
        load_declarations(other)
    change(starter / "churn.py", "# ---- data", "# ---- the data")
    assert load_declarations(starter).settings.root == starter


def test_what_has_changed_is_imported_anew_with_everything_beside_it(small: Path) -> None:
    """A process that loads a project twice sees the files as they are, those that the module imports, too."""
    (small / "helper.py").write_text("ROWS = 1\n")
    change(small / "small.py", "import pyarrow as pa", "import pyarrow as pa\nfrom helper import ROWS")
    change(small / "small.py", "rows=1)", "rows=ROWS)")
    first = load_declarations(small)
    (small / "helper.py").write_text("ROWS = 10\n")
    again = load_declarations(small)
    assert [getattr(d.triggers[0].rules[0], "rows", None) for d in (first, again)] == [1, 10]
    assert load_declarations(small).pipelines[0] is again.pipelines[0], (
        "nothing is imported twice for nothing"
    )
    assert first.sources != again.sources


def test_any_part_may_be_left_out(starter: Path) -> None:
    """Without triggers, monitors and endpoint there is still a pipeline, and without it there is still data."""
    code = (starter / "churn.py").read_text()
    (starter / "churn.py").write_text(code.partition("# ---- the endpoint")[0])
    project = load_declarations(starter)
    assert (len(project.pipelines), project.endpoints, project.monitors, project.triggers) == (1, [], [], [])
    with pytest.raises(NotFound, match="no endpoint"):
        project.endpoints_to_serve(None)


def test_a_wrong_name_is_answered_with_the_right_ones(starter: Path) -> None:
    """Whoever mistypes a name sees which there are."""
    project = load_declarations(starter)
    for find in (project.pipeline, project.dataset, project.endpoint):
        with pytest.raises(NotFound) as error:
            find("nope")
        assert re.search("keep_fresh|renewals|churn", error.value.next_step)
