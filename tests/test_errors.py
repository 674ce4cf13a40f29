"""What every error of ours says: a reason that is a sentence, and what to do next, so that it can be copied."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import everloop
from everloop import errors
from everloop.errors import EverloopError
from everloop.serving import errors as serving_errors

SOURCES = Path(everloop.__file__).parent
KINDS = {
    name
    for room in (errors, serving_errors)
    for name, kind in vars(room).items()
    if isinstance(kind, type) and issubclass(kind, EverloopError)
}
COMMAND = re.compile(r"(everloop [a-z]+|pip install)\b[^`]*\Z")
"""A command that is not between backticks, and goes on to the end."""


def raised() -> Iterator[tuple[str, ast.Call]]:
    """Every place that makes an error of ours, with where it is."""
    for path in sorted(SOURCES.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS:
                yield f"{path.relative_to(SOURCES)}:{node.lineno}", node


def texts(node: ast.expr | None) -> list[str]:
    """The texts that an expression may come to, with … for each value in them; none where it cannot be seen here."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.JoinedStr):
        return ["".join(texts(part)[0] if isinstance(part, ast.Constant) else "…" for part in node.values)]
    if isinstance(node, ast.IfExp):
        return [*texts(node.body), *texts(node.orelse)]
    return []


def next_step(call: ast.Call) -> ast.expr | None:
    """What a call gives as the next step."""
    return next((keyword.value for keyword in call.keywords if keyword.arg == "next_step"), None)


def test_the_places_are_found() -> None:
    """All rooms raise something; a test that finds nothing would hold nothing."""
    assert len(list(raised())) > 300
    assert len(KINDS) > 12


def test_every_error_says_what_to_do_next() -> None:
    """Somebody who reads the reason is not left alone with it."""
    without = [where for where, call in raised() if next_step(call) is None]
    assert without == [], "give each a next_step"
    empty = [where for where, call in raised() if "" in texts(next_step(call))]
    assert empty == [], "say something"


def test_every_reason_is_a_sentence() -> None:
    """It ends with a full stop, or with what somebody else has said."""
    wrong = [
        f"{where}: {text}"
        for where, call in raised()
        for text in texts(call.args[0] if call.args else None)
        if not text.endswith((".", "…", "?"))
    ]
    assert wrong == []


def test_a_command_can_be_copied() -> None:
    """A next step that ends with a command ends with its last letter; in the middle of a sentence it stands in backticks."""
    wrong = [
        f"{where}: {text}"
        for where, call in raised()
        for text in texts(next_step(call))
        if COMMAND.search(text) and text.endswith((".", ";", ","))
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "copied"),
    [
        ("everloop runs.", False),
        ("`everloop runs` lists them.", True),
        ("everloop run keep_fresh", True),
        ("start it anew: everloop run x.", False),
        ("pip install 'everloop[demo]'", True),
    ],
)
def test_the_rule_for_commands_is_this(text: str, copied: bool) -> None:
    """What the test above takes for a command with something glued to it."""
    assert (COMMAND.search(text) is not None and text.endswith((".", ";", ","))) != copied
