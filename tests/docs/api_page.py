"""The API reference, made from the docstrings: `make api` writes docs/api.md, and a test holds it against the code."""

import inspect
import re
import sys
from pathlib import Path
from typing import Any

import everloop

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
_ROOMS = {
    "records": "What is declared of data",
    "data": "Data",
    "features": "Features",
    "models": "Models",
    "training": "Training",
    "evaluation": "Evaluation and gates",
    "registry": "Registry",
    "pipelines": "Pipelines",
    "rollout": "Endpoints and rollouts",
    "monitoring": "Monitors",
    "loop": "Triggers",
    "control": "A project, from Python",
}
_HEAD = """# API reference

Every public name, as `import everloop as ev` has it. This page is made from the docstrings by `make api`; each example
is run by the tests.
"""


def page() -> str:
    """The whole page."""
    found = {name: getattr(everloop, name) for name in everloop.__all__}
    parts = [_HEAD]
    for room, title in _ROOMS.items():
        names = [name for name, thing in found.items() if _room(thing) == room]
        if names:
            parts.append(f"## {title}\n")
            parts += [_entry(name, found.pop(name)) for name in sorted(names, key=str.lower)]
    assert not found, f"no heading for {', '.join(found)}"
    return "\n".join(parts)


def _room(thing: Any) -> str:
    return str(thing.__module__).split(".")[1]


def _entry(name: str, thing: Any) -> str:
    head = f"### `{name}`\n\n```text\n{_signature(name, thing)}\n```\n"
    return f"{head}\n{_prose(inspect.getdoc(thing) or '')}\n"


def _signature(name: str, thing: Any) -> str:
    """How it is called, one parameter a line where it would not fit."""
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):
        return f"ev.{name}"
    shown = re.sub(r"<factory>|<[^<>]*>", "…", str(signature))
    shown = re.sub(r"\b(?:everloop|collections\.abc|datetime|typing)(?:\.\w+)*\.(\w+)", r"\1", shown).replace(
        "'", ""
    )
    line = f"ev.{name}{shown}"
    if len(line) <= 100:
        return line
    parameters = [str(part) for part in signature.parameters.values()]
    return f"ev.{name}(\n    " + ",\n    ".join(_clean(part) for part in parameters) + ",\n)"


def _clean(parameter: str) -> str:
    shown = re.sub(r"<factory>|<[^<>]*>", "…", parameter)
    return re.sub(r"\b(?:everloop|collections\.abc|datetime|typing)(?:\.\w+)*\.(\w+)", r"\1", shown).replace(
        "'", ""
    )


def _prose(text: str) -> str:
    """A docstring as Markdown: paragraphs as they are, examples in fences."""
    lines, kept, inside = text.splitlines(), [], False
    for line in lines:
        begins = line.startswith(">>>") and not inside
        ends = inside and not line.strip()
        if begins:
            kept.append("```python")
        if ends:
            kept.append("```")
        inside = (inside or begins) and not ends
        kept.append(line)
    return "\n".join([*kept, "```"] if inside else kept)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")
