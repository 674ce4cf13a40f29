"""What a step may return, what the next one gets, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from everloop.records.runs import RunState

if TYPE_CHECKING:
    from tests.pipelines.conftest import Project

TYPES = """
import datetime
import enum
from dataclasses import dataclass, field

class Kind(enum.StrEnum):
    A = "a"

@dataclass(frozen=True)
class Point:
    x: float
    y: float
    tags: dict[str, int] = field(default_factory=dict)

    def metrics(self) -> dict[str, float]:
        return {"x": self.x, "y": self.y}

class Pair(NamedTuple):
    first: pa.Table
    second: list[int]

class Plain:
    pass

def same(a, b) -> bool:
    if isinstance(a, np.ndarray):
        return type(b) is np.ndarray and a.dtype == b.dtype and a.shape == b.shape and bool((a == b).all())
    return type(a) is type(b) and bool(a == b)

TABLE = pa.table({"a": [1, 2], "b": pa.array(["x", None]).dictionary_encode(), "c": pa.array([1, 2], pa.duration("s"))})
"""

KEPT = [
    ("int", "7", "json"),
    ("float", "0.1", "json"),
    ("str", "'caf\\u00e9'", "json"),
    ("bool", "True", "json"),
    ("list[int]", "[1, 2]", "json"),
    ("tuple[int, ...]", "(1, 2)", "json"),
    ("dict[str, float]", "{'a': 1.5}", "json"),
    ("Point", "Point(1.0, 2.0, {'n': 3})", "json"),
    ("list[Point]", "[Point(1.0, 2.0)]", "json"),
    ("Kind", "Kind.A", "json"),
    ("Literal['a', 'b']", "'a'", "json"),
    ("int | None", "None", "json"),
    ("Model | None", "None", "json"),
    ("datetime.datetime", "datetime.datetime(2013, 1, 1, tzinfo=datetime.timezone.utc)", "json"),
    ("bytes", "b'\\x00\\xff'", "bytes"),
    ("pa.Table", "TABLE", "parquet"),
    ("np.ndarray", "np.arange(6.0).reshape(2, 3)", "npy"),
    ("np.ndarray", "np.array(['x', 'yz'])", "npy"),
]


@pytest.mark.parametrize(("hint", "value", "format"), KEPT)
def test_the_next_step_gets_what_was_returned(project: Project, hint: str, value: str, format: str) -> None:
    """In a fresh run, and in one that takes the result from an earlier run: type and value are the same."""
    source = f"""{TYPES}
@step
def make() -> {hint}:
    return {value}

@step(cache=False)
def check(given: {hint}) -> None:
    assert same({value}, given), given

@pipeline
def main() -> None:
    check(make())
"""
    project.write(source)
    first, second = project.run(), project.run()
    assert (first.error, second.error) == (None, None)
    assert project.steps(second)["make"].cached_from == first.id
    (ref,) = project.steps(first)["make"].outputs
    assert (ref.name, ref.format) == ("output", format)


REFUSED = [
    ("int", "'x'", "output 'output' is a str; its type hint says int"),
    ("pa.Table", "None", "output 'output' is a NoneType; its type hint says Table"),
    ("None", "3", "it returned a int; its type hint says None"),
    ("list[int]", "(n for n in range(3))", "is a generator, which can be read once only"),
    ("float", "float('nan')", "no format which is safe to load gives back as it was"),
    ("dict[str, float]", "{'a': float('inf')}", "no format which is safe to load gives back as it was"),
    ("dict", "{1: 'a'}", "no format which is safe to load gives back as it was"),
    ("dict[str, Any]", "{'a': (1, 2)}", "no format which is safe to load gives back as it was"),
    ("dict[str, Any]", "{'a': np.arange(3)}", "is a dict that no format"),
    ("object", "Point(1.0, 2.0)", "is a project.Point that no format"),
    ("Plain", "Plain()", "is a project.Plain that no format"),
    ("np.ndarray", "np.array([Plain()])", "is a numpy.ndarray that no format"),
    ("np.ndarray", "np.ma.array([1, 2], mask=[True, False])", "MaskedArray that no format"),
    ("list[int]", "['a']", "is a list that no format"),
    ("Literal['a']", "'b'", "is a str that no format"),
    ("Pair", "3", "it returned a int; its type hint says Pair with first, second"),
    ("Pair", "(TABLE, [1], 3)", "it returned a tuple; its type hint says Pair"),
    ("Pair", "Pair(3, [1])", "output 'first' is a int; its type hint says Table"),
    (
        "pa.Table",
        "pa.table({'a': pa.array([1.5], pa.float16()), 'b': [pa.MonthDayNano([1, 1, 1])]})",
        "Parquet cannot hold",
    ),
]


@pytest.mark.parametrize(("hint", "value", "told"), REFUSED)
def test_an_output_that_is_not_what_was_promised_or_cannot_be_kept_ends_the_run(
    project: Project, hint: str, value: str, told: str
) -> None:
    """The step fails with the reason, nothing is kept under its name, and the run says the same."""
    project.write(
        f"{TYPES}\n@step\ndef make() -> {hint}:\n    return {value}\n\n@pipeline\ndef main() -> None:\n    make()\n"
    )
    run = project.run()
    assert run.state is RunState.FAIL
    assert run.error is not None and told in run.error
    step = project.steps(run)["make"]
    assert (step.state, step.error, step.outputs) == (RunState.FAIL, run.error, ())


def test_numbers_of_numpy_are_numbers(project: Project) -> None:
    """A mean that numpy computed is a float, alone and inside a record; the next step gets plain Python."""
    project.write(f"""{TYPES}
@step
def make() -> float:
    return np.mean([1.0, 2.0])

@step
def point(x: float) -> Point:
    assert type(x) is float
    return Point(np.float64(x), 0.0, {{"n": np.int64(3)}})

@step
def check(point: Point) -> None:
    assert type(point.tags["n"]) is int

@pipeline
def main() -> None:
    check(point(make()))
""")
    run = project.run()
    assert run.error is None
    assert project.steps(run)["point"].metrics == {"x": 1.5, "y": 0.0}


def test_a_named_tuple_is_several_outputs(project: Project) -> None:
    """It can be taken apart, read field by field, and passed on whole; each part is an artifact of its own."""
    project.write(f"""{TYPES}
@step
def make() -> Pair:
    return Pair(TABLE, [1, 2])

@step
def take(a: pa.Table, b: list[int], c: pa.Table, whole: Pair) -> None:
    assert a == c == whole.first == TABLE and b == whole.second == [1, 2] and type(whole) is Pair

@pipeline
def main() -> None:
    both = make()
    first, second = both
    take(first, second, both.first, both)
""")
    run = project.run()
    assert run.error is None
    steps = project.steps(run)
    assert [ref.name for ref in steps["make"].outputs] == ["first", "second"]
    assert [ref.name for ref in steps["take"].inputs] == ["a", "b", "c", "whole.first", "whole.second"]
    assert {ref.digest for ref in steps["take"].inputs} == {ref.digest for ref in steps["make"].outputs}


def test_a_step_that_changes_what_it_was_given_hurts_nobody(project: Project) -> None:
    """Arrays, lists, dicts and constants: each step gets its own, also when the same step is tried again."""
    project.write(f"""{TYPES}
@step
def array() -> np.ndarray:
    return np.zeros(3)

@step
def words() -> dict[str, list[int]]:
    return {{"a": [1]}}

@step(retries=1)
def spoil(array: np.ndarray, words: dict[str, list[int]], constant: list[int]) -> int:
    assert array.sum() == 0 and words == {{"a": [1]}} and constant == [7], (array, words, constant)
    array += 1
    words["a"].append(2)
    constant.append(8)
    called("spoil")
    if times("spoil") == 1:
        raise ValueError("once")
    return 1

@step
def check(array: np.ndarray, words: dict[str, list[int]], constant: list[int], after: int) -> None:
    assert array.sum() == 0 and words == {{"a": [1]}} and constant == [7]

SEVEN = [7]

@pipeline
def main() -> None:
    a, w = array(), words()
    check(a, w, SEVEN, spoil(a, w, SEVEN))
""")
    assert project.run().error is None
    assert project.calls() == ["spoil", "spoil"]
    assert project.run().error is None


def test_a_pickle_needs_the_operators_word_to_be_written_and_to_be_read(project: Project) -> None:
    """The pipeline is named in everloop.toml, never by what is loaded; taking the name out refuses what is there."""
    project.write(f"""{TYPES}
@step
def make() -> Plain:
    return Plain()

@step(cache=False)
def check(given: Plain) -> None:
    assert type(given) is Plain

@pipeline
def main() -> None:
    check(make())
""")
    assert "pickle = ['main']" in (project.run().error or "")
    trusting = project.trusting("main")
    run = trusting.run()
    assert run.error is None
    assert [ref.format for ref in project.steps(run)["make"].outputs] == ["pickle"]
    refused = project.run()
    assert "is a pickle, and [trust] in everloop.toml does not name 'main'" in (refused.error or "")


def test_two_runs_of_one_thing_have_one_digest(project: Project) -> None:
    """A table's bytes do not depend on how its rows were cut into pieces in memory."""
    project.append(key="1", count=500)
    project.write("""
@step
def whole(rows: pa.Table) -> pa.Table:
    return rows.combine_chunks()

@step
def pieces(rows: pa.Table) -> pa.Table:
    return pa.concat_tables([rows.slice(n, 7) for n in range(0, 500, 7)])

@pipeline
def main() -> None:
    whole(rows.rows)
    pieces(rows.rows)
""")
    steps = project.steps(project.run())
    assert steps["whole"].outputs == steps["pieces"].outputs
