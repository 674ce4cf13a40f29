"""What a user sees of everloop: every public name has an example, none of 0.1 is left, and importing it costs nothing."""

import ast
import io
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

import everloop as ev

GONE = ["count", "decay", "drift", "mean", "new_data", "newest", "schedule", "share", "total"]


@pytest.mark.parametrize("name", ev.__all__)
def test_every_public_name_has_an_example(name: str) -> None:
    """In its own docstring, where pytest runs it."""
    thing = getattr(ev, name)
    assert ">>>" in (thing.__doc__ or ""), f"{thing.__module__}.{name} has no example"


def test_the_names_are_in_order_and_all_that_completion_shows() -> None:
    """In a notebook, too, where what is imported on first use is not there yet."""
    assert ev.__all__ == sorted(set(ev.__all__))
    assert dir(ev) == ev.__all__


@pytest.mark.parametrize("name", GONE)
def test_a_name_of_the_first_version_is_gone(name: str) -> None:
    """One noun, one thing; nothing was published, so nothing is kept for its sake."""
    with pytest.raises(AttributeError, match=f"has no attribute '{name}'"):
        getattr(ev, name)


def test_importing_it_loads_no_large_library() -> None:
    """Every command reads a project's module, which imports everloop; what needs numpy is imported when it is named."""
    code = (
        "import sys, everloop; "
        "print(sorted({'alembic', 'duckdb', 'lightgbm', 'numpy', 'pyarrow', 'scipy', 'sklearn'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_its_version_is_that_of_the_package() -> None:
    """Read when it is asked for."""
    assert ev.__version__.count(".") == 2  # type: ignore[attr-defined]


EXAMPLES = Path(__file__).parent.parent / "examples"


def code_lines(source: str) -> int:
    """Lines that hold code: no blank one, no comment, no docstring."""
    silent = (
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    )
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    spans = (range(token.start[0], token.end[0] + 1) for token in tokens if token.type not in silent)
    lines = {line for span in spans for line in span}
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
            and ast.get_docstring(node) is not None
        ):
            told = node.body[0]
            assert told.end_lineno is not None
            lines -= set(range(told.lineno, told.end_lineno + 1))
    return len(lines)


@pytest.mark.parametrize(("example", "most"), [("starter/churn.py", 45), ("flights/flights.py", 150)])
def test_the_whole_loop_is_declared_in_few_lines(example: str, most: int) -> None:
    """A project is one file that can be read from top to bottom."""
    assert code_lines((EXAMPLES / example).read_text()) <= most


def test_lines_of_code_are_counted_as_people_count_them() -> None:
    """What stands in brackets over three lines is three lines."""
    source = (
        '"""What.\n\nWhy."""\n\n# so\ndef f(\n    x,  # this\n):\n    """How."""\n    return """a\n\nb"""\n'
    )
    assert code_lines(source) == 3 + 3
