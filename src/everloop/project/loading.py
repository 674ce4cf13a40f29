"""A user's project: importing its module is enough to know it."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from everloop.errors import EverloopError, NotFound, ProjectError
from everloop.features.views import ServiceHistory
from everloop.loop.triggers import Decay, Drift, NewData, Triggers
from everloop.monitoring.monitors import DriftMonitor, PerformanceMonitor
from everloop.pipelines.pipeline import Pipeline
from everloop.records.datasets import Dataset, DatasetRows
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
            names = ", ".join(endpoint.name for endpoint in self.endpoints)
            raise NotFound(
                f"the project has {len(self.endpoints) or 'no'} endpoint{'s' if names else ''}.",
                next_step=f"name one of: {names}." if names else 'declare one: Endpoint("name", model=…).',
            )
        return self.endpoints[0]


def load_project(start: Path) -> Project:
    """Read everloop.toml from here or above, import the module beside it, and check what it declares."""
    settings = load_settings(find_root(start))
    values = list(vars(_import(settings)).values())
    project = Project(
        settings=settings,
        datasets=_found(values, Dataset),
        pipelines=_found(values, Pipeline),
        endpoints=_found(values, Endpoint),
        monitors=_found(values, PerformanceMonitor) + _found(values, DriftMonitor),
        triggers=_found(values, Triggers),
    )
    for check in _CHECKS:
        check(project)
    return project


# ---- importing it


def _import(settings: Settings) -> ModuleType:
    root = str(settings.root)
    if root not in sys.path:
        sys.path.insert(0, root)
    try:
        module = importlib.import_module(settings.module)
    except EverloopError as error:
        told = error.reason if root in error.reason else f"{_where(error, root)}: {error.reason}"
        raise ProjectError(told, next_step=error.next_step) from error
    except ModuleNotFoundError as error:
        if error.name == settings.module:
            raise _no_module(settings) from None
        top = (error.name or "").partition(".")[0]
        raise ProjectError(
            f"{_where(error, root)}: {error}.", next_step=f"pip install {top}, or take the import out."
        ) from error
    except SystemExit as error:
        raise ProjectError(
            f"{_where(error, root)}: the module ends the program while it is imported.",
            next_step='put what it does as a script below `if __name__ == "__main__":`.',
        ) from error
    except Exception as error:  # a user's module may fail in any way while it is imported
        raise ProjectError(f"{_where(error, root)}: {_said(error)}") from error
    return _from_here(settings, module)


def _from_here(settings: Settings, module: ModuleType) -> ModuleType:
    """A module of this name may be installed, or belong to another project of this process."""
    if module.__file__ is None:
        raise _no_module(settings)  # a folder of that name, which Python takes for a package
    here = Path(module.__file__).resolve()
    if settings.root not in here.parents:
        raise ProjectError(
            f"the module {settings.module} was found at {here}, not in {settings.root}.",
            next_step="give your module a name that no other has, here and in everloop.toml.",
        )
    return module


def _no_module(settings: Settings) -> ProjectError:
    return ProjectError(
        f"there is no {settings.module}.py in {settings.root}, which everloop.toml names.",
        next_step=f'write it, or change module = "{settings.module}" in everloop.toml.',
    )


def _where(error: BaseException, root: str) -> str:
    """The last line of the project's own that led to the error."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(root)]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "the project cannot be imported"


def _said(error: Exception) -> str:
    """The error as Python prints it, with its guess at what was meant."""
    lines = list(traceback.TracebackException.from_exception(error).format_exception_only())
    return lines[-1].strip().rstrip(".?") + ("?" if lines[-1].strip().endswith("?") else ".")


# ---- what it declares


def _found(values: Iterable[object], kind: type[T]) -> list[T]:
    found: list[T] = []
    for value in values:
        parts = value if isinstance(value, list | tuple) else (value,)
        found.extend(
            part for part in parts if isinstance(part, kind) and not any(part is known for known in found)
        )
    return found


def _check_names(project: Project) -> None:
    for what, things in (
        ("dataset", project.datasets),
        ("pipeline", project.pipelines),
        ("endpoint", project.endpoints),
        ("monitor", project.monitors),
    ):
        names = [thing.name for thing in things]
        for name in sorted({name for name in names if names.count(name) > 1}):
            raise ProjectError(f"{project.settings.module} declares two {what}s named {name!r}.")


def _check_datasets(project: Project) -> None:
    """Whatever is read must be declared in the module, or nobody would ever collect it."""
    declared = {dataset.name for dataset in project.datasets}
    read = [pair for pipeline in project.pipelines for pair in _read_by(pipeline)]
    for triggers in project.triggers:
        asked = (rule for rule in triggers.rules if isinstance(rule, NewData))
        read += [(f"on_new_data of {triggers.pipeline}", rule.dataset) for rule in asked]
    for reader, name in read:
        if name not in declared:
            raise ProjectError(
                f"{reader} reads dataset {name!r}, which {project.settings.module} does not declare.",
                next_step=_meant(name, declared, f'declare it at the top level: Dataset("{name}", …).'),
            )


def _read_by(pipeline: Pipeline) -> Iterator[tuple[str, str]]:
    for source in pipeline.graph.sources():
        if isinstance(source, DatasetRows):
            yield f"pipeline {pipeline.name}", source.dataset.name
        for view in source.service.views if isinstance(source, ServiceHistory) else ():
            yield f"feature view {view.name!r}", view.source


def _check_monitors(project: Project) -> None:
    endpoints, monitors = ({e.name for e in project.endpoints}, {m.name for m in project.monitors})
    for monitor in project.monitors:
        if monitor.endpoint not in endpoints:
            raise ProjectError(
                f"monitor {monitor.name!r} watches endpoint {monitor.endpoint!r}, {_NOT_THERE}."
            )
    for triggers in project.triggers:
        project.pipeline(triggers.pipeline)
        for rule in triggers.rules:
            if isinstance(rule, Decay | Drift) and rule.monitor not in monitors:
                raise ProjectError(f"trigger {rule.name!r} reads a monitor, {_NOT_THERE}.")


def _check_models(project: Project) -> None:
    """An endpoint of a model that no pipeline makes would wait for ever; a project without pipelines only serves."""
    made = {node.registers for pipeline in project.pipelines for node in pipeline.graph.nodes} - {None}
    for endpoint in project.endpoints:
        if made and endpoint.model not in made:
            names = {name for name in made if name is not None}
            raise ProjectError(
                f"endpoint {endpoint.name!r} serves model {endpoint.model!r}, which no pipeline registers.",
                next_step=_meant(endpoint.model, names, "call register(…) with it in a pipeline."),
            )


def _meant(name: str, known: Collection[str], otherwise: str) -> str:
    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else otherwise


_NOT_THERE = "which the module does not declare at its top level"
_CHECKS = (_check_names, _check_datasets, _check_monitors, _check_models)


def _named(things: Sequence[T], name: str, what: str) -> T:
    for thing in things:
        if getattr(thing, "name", None) == name:
            return thing
    have = ", ".join(str(getattr(thing, "name", "")) for thing in things) or "none"
    raise NotFound(f"the project has no {what} {name!r}.", next_step=f"it has: {have}.")
