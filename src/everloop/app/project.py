"""A user's project: importing its module is enough to know it."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from everloop.errors import EverloopError, NotFound, ProjectError
from everloop.loop.triggers import Triggers
from everloop.monitoring.monitors import DriftMonitor, PerformanceMonitor
from everloop.pipelines.pipeline import Pipeline
from everloop.records.datasets import Dataset
from everloop.rollout.endpoint import Endpoint
from everloop.settings import Settings, find_root, load_settings

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """Everything that a module declares, found by its type and not by registration."""

    settings: Settings
    datasets: Sequence[Dataset]
    pipelines: Sequence[Pipeline]
    endpoints: Sequence[Endpoint]
    monitors: Sequence[PerformanceMonitor | DriftMonitor]
    triggers: Sequence[Triggers]

    def pipeline(self, name: str) -> Pipeline:
        """The pipeline of this name, or NotFound with the names there are."""
        return _named(self.pipelines, name, "pipeline")

    def dataset(self, name: str) -> Dataset:
        """The dataset of this name, or NotFound with the names there are."""
        return _named(self.datasets, name, "dataset")

    def endpoint(self, name: str | None) -> Endpoint:
        """The endpoint of this name; the only one when no name is given."""
        if name is not None:
            return _named(self.endpoints, name, "endpoint")
        if len(self.endpoints) != 1:
            raise NotFound(
                f"the project has {len(self.endpoints)} endpoints.",
                next_step="name one of them."
                if self.endpoints
                else 'declare one: Endpoint("name", model=…).',
            )
        return self.endpoints[0]


def load_project(start: Path) -> Project:
    """Read everloop.toml from here or above, import the module beside it, and check what it declares."""
    settings = load_settings(find_root(start))
    module = _import(settings)
    values = list(vars(module).values())
    project = Project(
        settings=settings,
        datasets=_found(values, Dataset),
        pipelines=_found(values, Pipeline),
        endpoints=_found(values, Endpoint),
        monitors=_found(values, PerformanceMonitor) + _found(values, DriftMonitor),
        triggers=_found(values, Triggers),
    )
    _check(project, module)
    return project


def _import(settings: Settings) -> ModuleType:
    root = str(settings.root)
    if root not in sys.path:
        sys.path.insert(0, root)
    try:
        module = importlib.import_module(settings.module)
    except EverloopError:
        raise
    except ModuleNotFoundError as error:
        if error.name == settings.module:
            raise ProjectError(
                f"there is no {settings.module}.py in {root}, which everloop.toml names."
            ) from None
        raise ProjectError(
            f"{_where(error, root)}: {error}.", next_step=f"pip install {error.name}, or take the import out."
        ) from error
    except Exception as error:  # a user's module may fail in any way while it is imported
        raise ProjectError(f"{_where(error, root)}: {type(error).__name__}: {error}.") from error
    here = Path(getattr(module, "__file__", None) or "")
    if settings.root not in here.resolve().parents:
        raise ProjectError(
            f"the module {settings.module} was found at {here}, not in {root}.",
            next_step="choose a name for your module that no installed package has.",
        )
    return module


def _where(error: BaseException, root: str) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(root)]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "the project cannot be imported"


def _found(values: Iterable[object], kind: type[T]) -> list[T]:
    found: list[T] = []
    for value in values:
        parts = value if isinstance(value, list | tuple) else (value,)
        found.extend(
            part for part in parts if isinstance(part, kind) and not any(part is known for known in found)
        )
    return found


def _check(project: Project, module: ModuleType) -> None:
    for what, things in (
        ("dataset", project.datasets),
        ("pipeline", project.pipelines),
        ("endpoint", project.endpoints),
        ("monitor", project.monitors),
    ):
        names = [thing.name for thing in things]
        for name in sorted({name for name in names if names.count(name) > 1}):
            raise ProjectError(f"{module.__name__} declares two {what}s named {name!r}.")
    known = {dataset.name for dataset in project.datasets}
    for pipeline in project.pipelines:
        _check_sources(pipeline, known)
    for triggers in project.triggers:
        project.pipeline(triggers.pipeline)


def _check_sources(pipeline: Pipeline, known: set[str]) -> None:
    for source in pipeline.graph.sources():
        for view in getattr(source, "views", ()):
            if view.source not in known:
                raise ProjectError(
                    f"feature view {view.name!r} reads dataset {view.source!r}, which is not declared."
                )


def _named(things: Sequence[T], name: str, what: str) -> T:
    for thing in things:
        if getattr(thing, "name", None) == name:
            return thing
    have = ", ".join(str(getattr(thing, "name", "")) for thing in things) or "none"
    raise NotFound(f"the project has no {what} {name!r}.", next_step=f"it has: {have}.")
