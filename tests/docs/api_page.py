"""The API reference, made from the docstrings: `make api` writes docs/api.md, and a test holds it against the code.

Examples are shown as a user would write them, with `ev.` before every public name. What an example needs besides the
imports at the top of the page stands in its first lines, so each can be copied alone.
"""

import ast
import builtins
import doctest
import inspect
import json
import re
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import timedelta
from enum import Enum
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import everloop
from everloop import errors
from everloop.control import opened

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
HEADINGS: Mapping[str, tuple[str, ...]] = {
    "Data": ("Dataset", "between", "not_null", "one_of", "unique", "require", "split_by_time", "Split"),
    "Features": ("FeatureView", "Aggregate", "FeatureService", "History", "historical_features"),
    "Pipelines": ("step", "pipeline", "Pipeline", "register"),
    "Models": (
        "RegisteredModel",
        "fit",
        "Model",
        "Signature",
        "Field",
        "Datatype",
        "Task",
        "infer_signature",
        "matrix",
        "categorical_places",
        "constant",
        "logistic",
    ),
    "Evaluation": ("evaluate", "compare", "Evaluation", "Metric", "Estimate"),
    "Gates": ("beats", "not_worse", "holds_on_slices", "at_least", "at_most", "Check", "CheckResult"),
    "Endpoints and rollouts": ("Endpoint", "Canary", "AllAtOnce", "error_rate", "quality"),
    "Monitors": ("PerformanceMonitor", "DriftMonitor"),
    "Triggers": ("Triggers", "Budget", "on_schedule", "on_new_data", "on_decay", "on_drift"),
    "A project, from Python": ("open", "errors"),
}
"""In the order of the loop; every public name stands under one of them."""
RETURNED: Mapping[str, tuple[type, ...]] = {
    "open": (opened.OpenProject, opened.RunResult, opened.RunArtifacts, opened.OpenDataset, opened.OpenModel),
    "errors": (errors.EverloopError, *errors.EverloopError.__subclasses__()),
}
"""What a public name gives back or holds, for which there is no public name."""
TOP = """\
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

import everloop as ev
"""
_AT_THE_TOP = frozenset({"UTC", "datetime", "timedelta", "np", "pa", "ev"})
_FROM_DATETIME = {"UTC", "datetime", "timedelta"}
_HEAD = f"""# API reference

Every public name, as `import everloop as ev` has it. This page is made from the docstrings by `make api`. Its examples
are run twice: where they stand in the code, and here, after these lines.

```python
{TOP}```
"""
_WIDTH = 100
_PREFIXES = re.compile(r"\b(?:everloop|collections|datetime|typing)(?:\.\w+)*\.(?=\w)")
_ABBREVIATED = {"pyarrow.lib.Table": "pa.Table", "numpy.ndarray": "np.ndarray", "NoneType": "None"}


def page() -> str:
    """The whole page."""
    placed = [name for names in HEADINGS.values() for name in names]
    assert sorted(placed) == sorted(everloop.__all__), (
        f"HEADINGS and everloop.__all__ differ in {set(placed) ^ set(everloop.__all__)}"
    )
    parts = [_HEAD, *_contents(), ""]
    for title, names in HEADINGS.items():
        parts.append(f"## {title}\n")
        for name in names:
            parts += [_entry(f"ev.{name}", getattr(everloop, name))]
            parts += [_entry(kind.__name__, kind, called=False) for kind in RETURNED.get(name, ())]
    return "\n".join(parts).rstrip() + "\n"


def _contents() -> Iterator[str]:
    taken: Counter[str] = Counter()
    for title, names in HEADINGS.items():
        links = " · ".join(f"[`{name}`](#{_anchor(name, taken)})" for name in names)
        yield f"- **{title}**: {links}"


def _anchor(name: str, taken: Counter[str]) -> str:
    """The address that GitHub gives its heading; `pipeline` and `Pipeline` would have the same."""
    anchor = f"ev{name.lower()}"
    taken[anchor] += 1
    return anchor if taken[anchor] == 1 else f"{anchor}-{taken[anchor] - 1}"


def _entry(name: str, thing: Any, *, called: bool = True) -> str:
    lines = [f"### `{name}`\n"]
    if (
        called
        and not isinstance(thing, ModuleType)
        and not (isinstance(thing, type) and issubclass(thing, Enum))
    ):
        lines.append(f"```text\n{_call(name, thing)}\n```\n")
    lines.append(_prose(thing) + "\n")
    if isinstance(thing, type) and (members := list(_members(thing))):
        lines.append("\n".join(members) + "\n")
    return "\n".join(lines)


# ---- how a thing is called


def _call(name: str, thing: Any) -> str:
    """How it is called, one parameter a line where they would not fit into one."""
    signature = inspect.signature(thing)
    parameters = list(_parameters(thing, signature))
    back = "" if isinstance(thing, type) else _answer(signature)
    line = f"{name}({', '.join(parameters)}){back}"
    if len(line) <= _WIDTH:
        return line
    return f"{name}(\n" + "".join(f"    {part},\n" for part in parameters) + f"){back}"


def _answer(signature: inspect.Signature) -> str:
    if signature.return_annotation is signature.empty:
        return ""
    return f" -> {_type(signature.return_annotation)}"


def _parameters(thing: Any, signature: inspect.Signature) -> Iterator[str]:
    starred = False
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            starred = True
            yield "*"
        starred = starred or parameter.kind is parameter.VAR_POSITIONAL
        shown = str(parameter.replace(annotation=parameter.empty, default=parameter.empty))
        typed = parameter.annotation is not parameter.empty
        if typed:
            shown += f": {_type(parameter.annotation)}"
        default = _default(thing, parameter)
        yield shown if default is None else f"{shown}{' = ' if typed else '='}{default}"


def _type(annotation: object) -> str:
    """A type in the words of the code, without the rooms that it comes from."""
    shown = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    for long, short in _ABBREVIATED.items():
        shown = shown.replace(long, short)
    return _PREFIXES.sub("", shown).replace("'", '"')


def _default(thing: Any, parameter: inspect.Parameter) -> str | None:
    if parameter.default is parameter.empty:
        return None
    if is_dataclass(thing):
        field = next((field for field in fields(thing) if field.name == parameter.name), None)
        if field is not None and field.default_factory is not MISSING:
            return repr(field.default_factory()) if field.default_factory in (dict, list) else "…"
    return _value(parameter.default)


def _value(value: object) -> str:
    if isinstance(value, str) and not isinstance(value, Enum):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, timedelta):
        unit = next(
            unit for unit in ("days", "hours", "minutes", "seconds") if not value % timedelta(**{unit: 1})
        )
        return f"timedelta({unit}={value // timedelta(**{unit: 1})})"
    if isinstance(value, tuple):
        return f"({', '.join(map(_value, value))}{',' * (len(value) == 1)})"
    if is_dataclass(value) and not isinstance(value, type):
        parts = [
            f"{field.name}={_value(getattr(value, field.name))}" for field in fields(value) if field.repr
        ]
        return f"{type(value).__name__}({', '.join(parts)})"
    shown = repr(value)
    return "…" if shown.startswith("<") else shown


# ---- what a thing has


def _members(thing: type) -> Iterator[str]:
    """Its fields, properties and methods that say something of themselves, in the order of the code."""
    source = ast.parse(textwrap.dedent(inspect.getsource(thing))).body[0]
    assert isinstance(source, ast.ClassDef)
    for node, after in zip(source.body, [*source.body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name, said, call = node.target.id, _string(after), ""
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            name, said = node.name, ast.get_docstring(node) or ""
            call = "" if _is_property(node) else _method(thing, name)
        else:
            continue
        if said and not name.startswith("_"):
            yield f"- `{name}{call}`: {_first_paragraph(said)}"


def _string(node: ast.stmt | None) -> str:
    value = node.value if isinstance(node, ast.Expr) else None
    return (
        inspect.cleandoc(value.value)
        if isinstance(value, ast.Constant) and isinstance(value.value, str)
        else ""
    )


def _is_property(node: ast.FunctionDef) -> bool:
    return any("property" in ast.unparse(decorator) for decorator in node.decorator_list)


def _method(thing: type, name: str) -> str:
    """Names and defaults alone: what a page has room for."""
    signature = inspect.signature(inspect.getattr_static(thing, name).__get__(None, thing))
    parameters = [part for part in signature.parameters.values() if part.name not in ("self", "cls")]
    bare = signature.replace(
        parameters=[part.replace(annotation=part.empty) for part in parameters],
        return_annotation=signature.empty,
    )
    return f"({', '.join(_parameters(thing, bare))})"


def _first_paragraph(text: str) -> str:
    return " ".join(text.split("\n\n")[0].split())


# ---- what a docstring says


def _prose(thing: Any) -> str:
    """A docstring as Markdown: paragraphs as they are, examples in fences."""
    doc = inspect.getdoc(thing) or ""
    namespace = vars(thing if isinstance(thing, ModuleType) else sys.modules[thing.__module__])
    own: set[str] = set()
    parts: list[str] = []
    for found in _pieces(doc):
        if isinstance(found, str):
            parts.append(found)
        else:
            own |= {name for example in found for name in _bound(ast.parse(example.source))}
            parts.append(f"```python\n{_shown(found, own, namespace)}```")
    return "\n\n".join(parts)


def _pieces(doc: str) -> Iterator[str | list[doctest.Example]]:
    """Prose, and examples that follow each other without prose between them."""
    examples: list[doctest.Example] = []
    for piece in doctest.DocTestParser().parse(doc):
        if isinstance(piece, doctest.Example):
            examples.append(piece)
        elif piece.strip():
            if examples:
                yield examples
                examples = []
            yield piece.strip()
    if examples:
        yield examples


def _shown(examples: list[doctest.Example], own: set[str], namespace: Mapping[str, Any]) -> str:
    """Examples as a user writes them; `own` are the names that they have given a meaning so far."""
    trees = [ast.parse(example.source) for example in examples]
    shown: list[str] = []
    for line in sorted({line for tree in trees for line in _needed(tree, own, namespace)}):
        shown.append(f">>> {line}\n")
    for example, tree in zip(examples, trees, strict=True):
        source = _with_prefix(example.source, tree, own)
        if source is not None:
            first, *rest = source.splitlines()
            shown += [f">>> {first}\n", *(f"... {line}".rstrip() + "\n" for line in rest), example.want]
    return "".join(shown)


def _bound(tree: ast.Module) -> Iterator[str]:
    """Names that an example gives a meaning of its own; those that it imports from us are the public ones."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.ExceptHandler) and node.name:
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Import | ast.ImportFrom) and not _is_there_already(node):
            yield from (alias.asname or alias.name for alias in node.names)


def _is_there_already(node: ast.AST) -> bool:
    """An import of what the page has without it: public names, and what is imported at its top."""
    if isinstance(node, ast.Import):
        return [(alias.name, alias.asname) for alias in node.names] == [("everloop", "ev")]
    if not isinstance(node, ast.ImportFrom):
        return False
    known = {"everloop": set(everloop.__all__), "datetime": _FROM_DATETIME}.get(
        (node.module or "").split(".")[0], set()
    )
    return all(alias.name in known and alias.asname is None for alias in node.names)


def _needed(tree: ast.Module, own: set[str], namespace: Mapping[str, Any]) -> Iterator[str]:
    """Imports of what the example's own module has and neither the page nor `ev` does."""
    known = own | _AT_THE_TOP | set(vars(builtins)) | set(everloop.__all__)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id not in known:
            value = namespace[node.id]
            if isinstance(value, ModuleType):
                yield f"import {value.__name__} as {node.id}"
            elif isinstance(value, type | FunctionType):
                public = value.__module__.partition("._")[0]  # as `pathlib._local` is since Python 3.13
                yield f"from {public} import {node.id}"
            else:
                raise AssertionError(f"an example needs {node.id}, which cannot be imported by its value")


def _with_prefix(source: str, tree: ast.Module, own: set[str]) -> str | None:
    """The source with `ev.` before each public name; None for a line that only imports such names."""
    if all(_is_there_already(statement) for statement in tree.body):
        return None
    lines = source.splitlines()
    named = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and node.id in everloop.__all__ and node.id not in own
    ]
    inside = {
        id(name) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for name in ast.walk(node)
    }
    assert not any(id(node) in inside for node in named), (
        "before Python 3.12 a place in an f-string is not known"
    )
    for line, column in sorted(((node.lineno, node.col_offset) for node in named), reverse=True):
        text = lines[line - 1].encode()
        lines[line - 1] = (text[:column] + b"ev." + text[column:]).decode()
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")
