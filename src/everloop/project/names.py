"""Names that a person may mean, for tab completion and for hints: the project's code is read for them and never run."""

from __future__ import annotations

import ast
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from everloop.errors import EverloopError
from everloop.settings import Settings, find_root, load_settings

_DECLARED = {"Dataset": "dataset", "Endpoint": "endpoint", "RegisteredModel": "model"}
_MOST = 200


def declared(root: Path, kind: str) -> list[str]:
    """Names that the Python files beside everloop.toml give to things of a kind: pipeline, param, dataset, endpoint, model.

    A name that is computed is not seen, and nothing depends on it being seen.
    """
    found = (name for path in sorted(root.glob("*.py")) for name in _in_file(path, kind))
    return list(dict.fromkeys(found))


def known(start: Path, *queries: str) -> list[str]:
    """Names from the embedded database, the newest first; none when there is no project, no database, or no luck."""
    settings = find_settings(start)
    if settings is None or settings.storage.database:
        return []
    path = settings.folder / "everloop.db"
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=0.2)) as rows:
            return [row[0] for query in queries for row in rows.execute(f"{query} LIMIT {_MOST}")]
    except sqlite3.Error:  # pressing the tab key is no moment for an error message
        return []


def find_settings(start: Path) -> Settings | None:
    """The settings of the project here or above, if there is one that can be read."""
    try:
        return load_settings(find_root(start))
    except EverloopError:
        return None


def _in_file(path: Path, kind: str) -> Iterator[str]:
    tree = _parsed(path)
    nodes = [] if tree is None else list(ast.walk(tree))
    for node in nodes:
        found = _pipeline(node)
        if found is not None and kind == "pipeline":
            yield found.name
        elif found is not None and kind == "param":
            yield from (argument.arg for argument in found.args.args)
        elif isinstance(node, ast.Call) and _DECLARED.get(_called(node)) == kind:
            name = _name_in(node, nodes)
            if name is not None:
                yield name


def _name_in(call: ast.Call, nodes: list[ast.AST]) -> str | None:
    """The name that a declaration gives itself; an endpoint that gives none is called like its model."""
    said = {keyword.arg: keyword.value for keyword in call.keywords}
    value = call.args[0] if call.args else said.get("name", said.get("model"))
    if isinstance(value, ast.Name):
        meant = (node.value for node in nodes if isinstance(node, ast.Assign) and _assigns(node, value.id))
        value = next((made.args[0] for made in meant if isinstance(made, ast.Call) and made.args), None)
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else None


def _assigns(node: ast.Assign, name: str) -> bool:
    return any(isinstance(target, ast.Name) and target.id == name for target in node.targets)


def _parsed(path: Path) -> ast.Module | None:
    try:
        return ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):  # the command itself will say what is wrong with it
        return None


def _pipeline(node: ast.AST) -> ast.FunctionDef | None:
    if isinstance(node, ast.FunctionDef) and any(_called(mark) == "pipeline" for mark in node.decorator_list):
        return node
    return None


def _called(node: ast.expr) -> str:
    """The last name of `pipeline`, `everloop.pipeline` or `pipeline(…)`."""
    if isinstance(node, ast.Call):
        return _called(node.func)
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
