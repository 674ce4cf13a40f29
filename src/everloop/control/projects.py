"""New projects: the starter, which runs as it is, and an empty one for a notebook."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec
from keyword import iskeyword
from pathlib import Path

from everloop.project.examples import copy_example
from everloop.project.names import declared
from everloop.settings import FILE, load_settings

_IGNORED = ".everloop/\n__pycache__/\n"
_EMPTY = '''"""What this project declares: datasets, steps and pipelines, an endpoint, monitors, triggers."""

import everloop as ev
'''


@dataclass(frozen=True, slots=True, kw_only=True)
class NewProject:
    """A project that was made."""

    folder: str
    module: str
    pipeline: str | None
    """The pipeline to run first."""


def make_starter(folder: Path) -> NewProject:
    """Copy the starter into a new or empty folder."""
    copy_example("starter", folder)
    (folder / ".gitignore").write_text(_IGNORED)
    module = load_settings(folder).module
    return NewProject(folder=str(folder.resolve()), module=module, pipeline=declared(folder, "pipeline")[0])


def make_empty(folder: Path) -> NewProject:
    """Write everloop.toml and a module beside it, which is left as it is when it is there; other files do not matter."""
    folder.mkdir(parents=True, exist_ok=True)
    module = _module_name(folder.resolve())
    (folder / FILE).write_text(f'[project]\nmodule = "{module}"\n')
    if not (folder / f"{module}.py").exists():
        (folder / f"{module}.py").write_text(_EMPTY)
    return NewProject(folder=str(folder.resolve()), module=module, pipeline=None)


def _module_name(folder: Path) -> str:
    """The folder's name as a module's, unless Python would take another module for it."""
    name = re.sub(r"\W", "_", folder.name.lower(), flags=re.ASCII).lstrip("_0123456789") or "project"
    taken = iskeyword(name) or (_is_module(name) and not (folder / f"{name}.py").exists())
    return f"{name}_project" if taken else name


def _is_module(name: str) -> bool:
    """A folder without a module in it is none, though Python finds it: a new project's own, seen from the one above."""
    found = find_spec(name)
    return found is not None and found.origin is not None
