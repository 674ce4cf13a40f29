"""When a step's earlier result is taken, and when it is not: never a stale hit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from everloop.records.runs import Run, RunState

if TYPE_CHECKING:
    from tests.pipelines.conftest import Project

SOURCE = """
@step
def load(rows: pa.Table) -> pa.Table:
    called("load")
    return rows

@step
def scaled(rows: pa.Table, by: float) -> float:
    called("scaled")
    return by * rows["x"].to_pylist()[-1]

@step
def told(value: float) -> str:
    called("told")
    return f"{value}"

@pipeline
def main(by: float = 2.0) -> None:
    told(scaled(load(rows.rows), by))
"""


def cached(project: Project, run: Run) -> list[str]:
    """The user's steps of a run whose function was not called."""
    assert run.error is None
    return [name for name, step in project.steps(run).items() if step.cached_from and name != "read_rows"]


def test_the_same_inputs_give_the_same_results_without_calling_anything(project: Project) -> None:
    """The second run takes everything from the first, says from which, and has the very same artifacts and metrics."""
    project.append(key="1")
    project.write(SOURCE)
    first = project.run()
    calls = project.calls()
    second = project.run()
    assert project.calls() == calls == ["load", "scaled", "told"]
    rows = project.steps(second)
    assert {step.cached_from for step in rows.values()} == {first.id}
    assert {step.state for step in rows.values()} == {RunState.COMPLETE}
    assert {name: step.outputs for name, step in rows.items()} == {
        name: step.outputs for name, step in project.steps(first).items()
    }
    third = project.run()
    assert {step.cached_from for step in project.steps(third).values()} == {first.id}


def test_a_changed_param_runs_what_depends_on_it(project: Project) -> None:
    """What does not depend on the param is still taken; and coming back to the old value takes all of it again."""
    project.append(key="1")
    project.write(SOURCE)
    project.run()
    assert cached(project, project.run(by=3.0)) == ["load"]
    assert cached(project, project.run(by=2.0)) == ["load", "scaled", "told"]


def test_a_result_that_comes_out_the_same_stops_the_change(project: Project) -> None:
    """The key holds what was read and not where it came from, so equal outputs are equal inputs."""
    project.append(key="1")
    project.write(SOURCE.replace("by *", "0 *"))
    project.run()
    assert cached(project, project.run(by=3.0)) == ["load", "told"]


def test_new_data_runs_everything_that_reads_it(project: Project) -> None:
    """A new version of the dataset is another input."""
    project.append(key="1")
    project.write(SOURCE)
    project.run()
    project.append(key="2", start=100)
    assert cached(project, project.run()) == []


EDITS = [
    ("the step itself", "project.py", SOURCE.replace('called("load")', 'called("load"); 1')),
    ("a comment", "project.py", SOURCE + "\n# nothing\n"),
    ("a helper", "other.py", "def helper():\n    return 2\n"),
    ("a helper in a folder", "deep/down/other.py", "X = 2\n"),
]


@pytest.mark.parametrize(("what", "file", "text"), EDITS, ids=[what for what, _, _ in EDITS])
def test_any_edit_in_any_source_of_the_project_takes_nothing_from_before(
    project: Project, what: str, file: str, text: str
) -> None:
    """Whoever wonders whether a helper three calls away is covered need not: all of the project's code is."""
    project.append(key="1")
    (project.root / "deep" / "down").mkdir(parents=True)
    (project.root / "other.py").write_text("def helper():\n    return 1\n")
    (project.root / "deep/down/other.py").write_text("X = 1\n")
    project.write(SOURCE)
    project.run()
    if file == "project.py":
        project.write(text)
    else:
        (project.root / file).write_text(text)
        project.load()
    assert cached(project, project.run()) == []
    assert cached(project, project.run()) == ["load", "scaled", "told"]


def test_a_step_that_asks_not_to_be_cached_is_called_in_every_run(project: Project) -> None:
    """And what depends on it is taken as long as its result is the same."""
    project.append(key="1")
    project.write(SOURCE.replace("@step\ndef scaled", "@step(cache=False)\ndef scaled"))
    project.run()
    assert cached(project, project.run()) == ["load", "told"]
    assert project.calls() == ["load", "scaled", "told", "scaled"]


def test_functions_of_one_name_do_not_take_each_others_results(project: Project) -> None:
    """Neither two functions that a factory made, nor two of one name in one file, nor of two modules."""
    project.write("""
def maker(by: int):
    @step
    def times(n: int) -> int:
        return n * by
    return times

twice, thrice = maker(2), maker(3)

@step
def plus(n: int) -> int:
    return n + 1

first = plus

@step
def plus(n: int) -> int:
    return n + 2

@step
def told(a: int, b: int, c: int, d: int) -> str:
    return f"{a} {b} {c} {d}"

@pipeline
def main() -> None:
    told(twice(10), thrice(10), first(10), plus(10))
""")
    run = project.run()
    (ref,) = project.steps(run)["told"].outputs
    assert project.workspace.blobs.get(ref.digest) == b'"20 30 11 12"'
    assert len(cached(project, project.run())) == 5


def test_what_a_function_closes_over_is_part_of_it_or_it_is_not_cached(project: Project) -> None:
    """A decorator under @step is followed; an object that nobody can name turns caching off for that step alone."""
    project.write("""
import functools

def loudly(function):
    @functools.wraps(function)
    def around(*args, **kwargs):
        return function(*args, **kwargs)
    return around

def with_state(state):
    @step
    def stateful(n: int) -> int:
        state.append(n)
        return len(state)
    return stateful

@step
@loudly
def wrapped(n: int) -> int:
    return n

counting = with_state([])

@pipeline
def main() -> None:
    counting(wrapped(1))
""")
    first, second = project.run(), project.run()
    assert cached(project, first) == []
    assert cached(project, second) == ["wrapped"]
    assert project.steps(first)["stateful"].outputs != project.steps(second)["stateful"].outputs


def test_a_name_that_holds_nothing_yet_turns_caching_off(project: Project) -> None:
    """The step runs, as it does outside of a pipeline, as long as it does not need the name."""
    project.write("""
def made():
    @step
    def careful(n: int) -> int:
        return n if n else missing
    if False:
        missing = 0
    return careful

careful = made()

@pipeline
def main() -> None:
    careful(1)
""")
    assert [project.run().state for _ in range(2)] == [RunState.COMPLETE] * 2
    assert cached(project, project.run()) == []


def test_a_function_that_no_digest_covers_is_not_cached(project: Project) -> None:
    """One that was typed into a notebook, say, can change without any file of the project changing."""
    module = project.write("@pipeline\ndef main() -> None:\n    typed(1)\n")
    code = "@step\ndef typed(n: int) -> int:\n    called('typed')\n    return n\n"
    exec(compile(code, "<cell 3>", "exec", dont_inherit=True), vars(module))  # noqa: S102 - as a notebook does
    project.run()
    project.run()
    assert project.calls() == ["typed", "typed"]


def test_code_in_a_hidden_folder_is_not_covered_either(project: Project) -> None:
    """No digest looks there."""
    (project.root / ".hidden").mkdir()
    project.write(
        "@step\ndef hidden() -> int:\n    called('hidden')\n    return 1\n", file=".hidden/other.py"
    )
    project.write("from other import hidden\n\n@pipeline\ndef main() -> None:\n    hidden()\n")
    project.run()
    project.run()
    assert (project.root / ".hidden" / "calls.log").read_text().split() == ["hidden", "hidden"]


def test_a_result_that_is_lost_or_damaged_is_made_anew(project: Project) -> None:
    """A row that says it is there is not enough: the bytes are read and checked before they are relied on."""
    project.append(key="1")
    project.write(SOURCE)
    first = project.run()
    (ref,) = project.steps(first)["scaled"].outputs
    path = project.workspace.blobs.folder / ref.digest[:2] / ref.digest
    path.unlink()
    assert cached(project, project.run()) == ["load", "told"]
    path.chmod(0o644)
    path.write_bytes(b"damaged")
    assert cached(project, project.run()) == ["load", "told"]
    assert cached(project, project.run()) == ["load", "scaled", "told"]


def test_a_failed_step_is_no_result(project: Project) -> None:
    """What failed is tried again by the next run."""
    project.append(key="1")
    project.write(SOURCE.replace('called("scaled")', 'called("scaled"); assert times("scaled") > 1'))
    assert project.run().state is RunState.FAIL
    assert cached(project, project.run()) == ["load"]


def test_two_equal_calls_in_one_pipeline_are_two_steps(project: Project) -> None:
    """Neither is taken from the other, which would depend on the one that is done first; both are taken from another run."""
    project.write("""
@step
def one() -> int:
    return 1

@step
def add(n: int) -> int:
    called("add")
    return n + 1

@step
def both(left: int, right: int) -> int:
    return left + right

@pipeline
def main() -> None:
    n = one()
    both(add(n), add(n))
""")
    first = project.run()
    assert (first.error, project.calls()) == (None, ["add", "add"])
    second = project.run()
    assert cached(project, second) == ["one", "add", "add_2", "both"]
