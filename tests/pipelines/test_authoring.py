"""What a user may write, and how a mistake is told: with its file and line, before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from everloop.errors import InvalidInput, ProjectError
from everloop.pipelines.hints import fits
from everloop.pipelines.sources import Constant

if TYPE_CHECKING:
    from tests.pipelines.conftest import Project

STEPS = """
class Halves(NamedTuple):
    train: pa.Table
    test: pa.Table

@step
def load(rows: pa.Table) -> pa.Table:
    return rows

@step
def halve(rows: pa.Table) -> Halves:
    return Halves(rows.slice(0, 1), rows.slice(1))

@step
def count(rows: pa.Table) -> int:
    return rows.num_rows

@step
def train(rows: pa.Table) -> Model: ...

@step
def judge(model: Model | None) -> float: ...

@step
def say(text: str) -> None: ...

late = RegisteredModel("late")
view = FeatureView("v", source=rows, join_key="id", event_time=None, columns=["x"])
features = FeatureService("features", [view])
"""

STEP_MISTAKES = [
    ("def f(a) -> int: ...", "parameter 'a' has no type hint"),
    ("def f(a: int): ...", "it has no return type"),
    ("def f(*a: int) -> int: ...", "*a: int is no input with a name"),
    ("def f(**a: int) -> int: ...", "**a: int is no input with a name"),
    ("def f(a: int, /) -> int: ...", "a: int is no input with a name"),
    ("async def f(a: int) -> int: ...", "is async"),
    ("def f(a: int) -> int: yield a", "yields"),
]


@pytest.mark.parametrize(("definition", "told"), STEP_MISTAKES)
def test_a_step_that_cannot_work_is_refused_with_its_line(
    project: Project, definition: str, told: str
) -> None:
    """Missing hints, inputs without names and functions that nobody would wait for: told when the module is imported."""
    with pytest.raises(ProjectError) as error:
        project.write(f"@step\n{definition}\n")
    assert told in error.value.reason
    assert project.line_of("@step") in error.value.reason


def test_only_functions_are_steps(project: Project) -> None:
    """A class, a built-in or a negative number of retries is refused with the line that says so."""
    for text in ("step(len)", "step(retries=-1)"):
        with pytest.raises(ProjectError) as error:
            project.write(f"{text}\n")
        assert project.line_of(text) in error.value.reason


BODIES = [
    ("count(3)", "takes 'rows' as Table and is given int"),
    ("say(count(load(rows.rows)))", "takes 'text' as str and is given int"),
    ("say(7)", "takes 'text' as str and is given int"),
    ("count(late.champion)", "takes 'rows' as Table and is given"),
    ("say(rows.rows)", "takes 'text' as str and is given Table"),
    ("say(days)", "takes 'text' as str and is given int"),
    ("say()", "is called wrongly: missing a required argument: 'text'"),
    ("say('a', 'b')", "is called wrongly: too many positional arguments"),
    ("say(txet='a')", "is called wrongly"),
    ("say(text=f'{days} days')", "a pipeline cannot branch on param days"),
    ("if load(rows.rows): say('a')", "a pipeline cannot branch on the output of step load"),
    ("if count(load(rows.rows)) == 3: say('a')", "a pipeline cannot branch on the output of step count"),
    ("if days > 3: say('a')", "cannot be traced"),
    ("for part in load(rows.rows): say('a')", "is one value; only a NamedTuple can be taken apart"),
    ("halve(load(rows.rows)).nothing", "has no 'nothing'"),
    ("halve(load(rows.rows)).train.train", "has no 'train'"),
    ("a, b, c = halve(load(rows.rows))", "not enough values to unpack"),
    ("count([load(rows.rows)])", "which a run's record cannot hold"),
    ("say(float('nan'))", "which a run's record cannot hold"),
    ("say(HERE)", "which a run's record cannot hold"),
    ("judge(late)", "write late.champion or late.challenger"),
    ("judge(view)", "put it into a service"),
    ("count(rows)", "write rows.rows"),
    ("count(features)", "write features.history"),
    ("if rows.rows: say('a')", "a pipeline cannot branch on the rows of dataset rows"),
    ("if late.champion: say('a')", "a pipeline cannot branch on model late@champion"),
    ("say(f'{features.history}')", "a pipeline cannot branch on the history of feature service features"),
    ("say(features.history)", "takes 'text' as str and is given History"),
    ("count(rows.rows.slice(1))", "has no attribute 'slice'"),
    ("register(late, train(load(rows.rows)), say('a'))", "register takes as evaluation what a step of this"),
    ("register(late, train(load(rows.rows)), 0.5)", "register takes as evaluation what a step of this"),
    (
        "register(late, train(load(rows.rows)), late.champion)",
        "register takes as evaluation what a step of this",
    ),
    (
        "register(late, load(rows.rows), judge(train(load(rows.rows))))",
        "register takes as candidate the Model",
    ),
    ("register(late, late.champion, judge(None))", "register takes as candidate the Model"),
    ("register('late', train(load(rows.rows)), judge(None))", "register takes a RegisteredModel first"),
    (
        "m = train(load(rows.rows)); register(late, m, judge(m)); register(late, m, judge(m))",
        "called twice for model 'late'",
    ),
    ("1 / 0", "cannot be traced: division by zero"),
    ("nowhere(rows.rows)", "name 'nowhere' is not defined"),
    ("main()", "is called inside a pipeline: a cycle or a sub-pipeline"),
    ("other()", "is called inside a pipeline: a cycle or a sub-pipeline"),
]


@pytest.mark.parametrize(("body", "told"), BODIES)
def test_a_pipeline_that_cannot_work_is_refused_with_the_line_of_the_call(
    project: Project, body: str, told: str
) -> None:
    """Whatever is wrong, the message names the pipeline and the very line in it, and nothing has run."""
    project.write(
        f"{STEPS}\n@pipeline\ndef other() -> None:\n    main()\n\n"
        f"@pipeline\ndef main(days: int = 3) -> None:\n    {body}  # here\n"
    )
    with pytest.raises(ProjectError) as error:
        _ = project.pipeline().graph
    assert told in str(error.value)
    assert f"pipeline main ({project.line_of('# here')})" in error.value.reason


def test_a_pipeline_without_steps_is_refused(project: Project) -> None:
    """Nothing to do is a mistake, named with the pipeline's line."""
    project.write("@pipeline\ndef main() -> None:\n    pass\n")
    with pytest.raises(ProjectError, match="it calls no step"):
        _ = project.pipeline().graph


PARAMS = [
    ("a", "param 'a' must be hinted as bool, int, float or str"),
    ("a: list[int]", "param 'a' must be hinted as bool, int, float or str"),
    ("a: int = '3'", "the default of param 'a' is '3'; it must be of type int"),
    ("a: float = float('inf')", "the default of param 'a' is inf"),
    ("*a: int", "*a: int is no param with a name"),
    ("a: 'Nowhere'", "its type hints mean nothing"),
]


@pytest.mark.parametrize(("params", "told"), PARAMS)
def test_params_of_a_pipeline_are_plain_and_checked(project: Project, params: str, told: str) -> None:
    """A param has one of four types, and its default is of that type."""
    project.write(f"{STEPS}\n@pipeline\ndef main({params}) -> None:\n    say('a')\n")
    with pytest.raises(ProjectError) as error:
        _ = project.pipeline().graph
    assert told in error.value.reason
    assert project.line_of("@pipeline") in error.value.reason


def test_params_of_a_run_are_checked_before_it_is_asked_for(project: Project) -> None:
    """Unknown, missing and mistyped params are refused, and what a command line gives as text is read by its type."""
    project.write(
        f"{STEPS}\n@pipeline\ndef main(a: int, b: float = 1, c: bool = False, d: str = 'x') -> None:\n    say(d)\n"
    )
    main = project.pipeline()
    assert main.fill({"a": 3}) == {"a": 3, "b": 1.0, "c": False, "d": "x"}
    assert isinstance(main.fill({"a": 3})["b"], float)
    bad: list[dict[str, Any]] = [{}, {"a": "3"}, {"a": True}, {"a": 3, "b": float("nan")}, {"a": 3, "z": 1}]
    for given in bad:
        with pytest.raises(InvalidInput):
            main.fill(given)
    assert [main.read("a", "7"), main.read("b", "7"), main.read("c", "true"), main.read("d", "7")] == [
        7,
        7.0,
        True,
        "7",
    ]
    for name, text in (("a", "7.5"), ("c", "yes"), ("z", "1")):
        with pytest.raises(InvalidInput, match=name):
            main.read(name, text)


def test_a_step_that_is_called_outside_a_pipeline_just_runs(project: Project) -> None:
    """In a notebook, a test or another step it is the function that was written, and a step may call a step."""
    module = project.write("""
@step
def double(n: int) -> int:
    return 2 * n

@step
def quadruple(n: int) -> int:
    return double(double(n))
""")
    assert module.quadruple(10) == 40
    assert module.double.__name__ == "double"


def test_a_pipeline_and_register_do_nothing_outside(project: Project) -> None:
    """Both say where they were called and what to do instead."""
    module = project.write(f"{STEPS}\n@pipeline\ndef main() -> None:\n    say('a')\n")
    with pytest.raises(ProjectError, match=r"test_authoring.py:\d+.*everloop run main"):
        module.main()
    for text in ("register(late, None, None)", "main()"):
        with pytest.raises(ProjectError) as error:
            project.write(f"{STEPS}\n@pipeline\ndef main() -> None:\n    say('a')\n\n{text}  # here\n")
        assert project.line_of("# here") in error.value.reason


def test_hints_may_be_named_before_they_are_written(project: Project) -> None:
    """Names in quotes are looked up when the graph is traced; one that never comes is refused with the step's line."""
    project.write("""
@step
def first() -> "Later":
    return Later(1, 2)

@step
def second(n: int) -> "Never":
    return n

class Later(NamedTuple):
    a: int
    b: int

@pipeline
def main() -> None:
    first()

@pipeline
def broken() -> None:
    second(first().a)
""")
    assert [part.field for node in project.pipeline().graph.nodes for part in node.parts().values()] == []
    with pytest.raises(ProjectError, match="its type hints mean nothing") as error:
        _ = project.pipeline("broken").graph
    assert "second" in error.value.reason


def test_every_call_of_a_step_has_a_name_of_its_own(project: Project) -> None:
    """The second call of `say` is say_2, unless a step of that name is there already."""
    project.write(f"""{STEPS}
@step
def say_2(text: str) -> None: ...

@pipeline
def main() -> None:
    say_2("a")
    say("b")
    say("c")
    say("d")
""")
    assert [node.name for node in project.pipeline().graph.nodes] == ["say_2", "say", "say_3", "say_4"]


def test_fields_of_a_named_tuple_may_have_any_name(project: Project) -> None:
    """Also the names that the trace itself uses for its own things."""
    project.write("""
class Parts(NamedTuple):
    node: int
    field: int
    hint: int
    output: int

class Single(NamedTuple):
    output: int

@step
def make() -> Parts:
    return Parts(1, 2, 3, 4)

@step
def single() -> Single:
    return Single(5)

@step
def add(a: int, b: int, c: int, d: int, e: int) -> int:
    return a * 10000 + b * 1000 + c * 100 + d * 10 + e

@pipeline
def main() -> None:
    parts = make()
    add(parts.node, parts.field, parts.hint, parts.output, single().output)
""")
    run = project.run()
    assert run.error is None
    assert [ref.name for ref in project.steps(run)["make"].outputs] == ["node", "field", "hint", "output"]
    assert [ref.name for ref in project.steps(run)["single"].outputs] == ["output"]


def test_constants_and_defaults_are_inputs_like_others(project: Project) -> None:
    """What is written in the pipeline, and what a step takes by default, is on the graph."""
    project.write("""
@step
def take(a: list[int], b: str = "b", c: float | None = None) -> int:
    return len(a)

@pipeline
def main() -> None:
    take([1, 2])
""")
    (node,) = project.pipeline().graph.nodes
    assert node.inputs == {"a": Constant([1, 2]), "b": Constant("b"), "c": Constant(None)}


def test_hints_that_only_a_type_checker_reads_are_let_through() -> None:
    """Literal, Annotated, NewType, type variables and protocols do not stand in the way of a value that fits."""
    from typing import Annotated, Literal, NewType, Protocol, TypeVar

    class Sized(Protocol):
        def __len__(self) -> int: ...

    Id = NewType("Id", int)
    T = TypeVar("T")
    fitting: list[tuple[Any, Any]] = [
        (str, Literal["a", "b"]),
        (int, Annotated[float, "metres"]),
        (int, Id),
        (str, T),
        (dict, Sized),
        (list[int], list[str]),  # what a container holds is not looked into
        (int | None, float | None),
    ]
    others: list[tuple[Any, Any]] = [(str, Literal[1, 2]), (float, int), (int | None, int), (str, list[str])]
    assert [pair for pair in fitting if not fits(*pair)] == []
    assert [pair for pair in others if fits(*pair)] == []
