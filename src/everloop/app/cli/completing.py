"""Tab completion of the names in a project; cheap, because it is asked for at every press of a key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from click import Context, Parameter
from click.shell_completion import CompletionItem

from everloop.project.names import declared, find_settings, known
from everloop.records.events import TYPE_PREFIX

Completer = Callable[[Context, Parameter, str], list[CompletionItem]]

_RUNS = "SELECT substr(id, -8) FROM runs ORDER BY requested_at DESC"
_VERSIONS = "SELECT model || '@' || version FROM model_versions ORDER BY created_at DESC"
_DATASET_VERSIONS = (
    "SELECT dataset || '@' || version FROM batches WHERE version IS NOT NULL ORDER BY arrived_at DESC"
)
_TYPES = "SELECT DISTINCT type FROM events ORDER BY type"


def pipelines(context: Context, parameter: Parameter, begun: str) -> list[CompletionItem]:
    """Pipelines that the project declares."""
    return _declared(context, "pipeline", begun)


def datasets(context: Context, parameter: Parameter, begun: str) -> list[CompletionItem]:
    """Datasets that the project declares."""
    return _declared(context, "dataset", begun)


def endpoints(context: Context, parameter: Parameter, begun: str) -> list[CompletionItem]:
    """Endpoints that the project declares."""
    return _declared(context, "endpoint", begun)


def models(context: Context, parameter: Parameter, begun: str) -> list[CompletionItem]:
    """Registered models that the project declares."""
    return _declared(context, "model", begun)


def params(context: Context, parameter: Parameter, begun: str) -> list[CompletionItem]:
    """Params of all pipelines, each with its `=`: which one is meant cannot be seen behind a bare `-p`."""
    settings = find_settings(_start(context))
    return (
        [] if settings is None else _fitting([f"{name}=" for name in declared(settings.root, "param")], begun)
    )


def runs(context: Context, parameter: Parameter, begun: str) -> list[CompletionItem]:
    """Runs by the end of their ids, the newest first."""
    return _fitting(known(_start(context), _RUNS), begun)


def versions(context: Context, parameter: Parameter, begun: str) -> list[CompletionItem]:
    """Versions of registered models."""
    return _fitting(known(_start(context), _VERSIONS), begun)


def dataset_versions(context: Context, parameter: Parameter, begun: str) -> list[CompletionItem]:
    """Versions of datasets."""
    return _fitting(known(_start(context), _DATASET_VERSIONS), begun)


def things(context: Context, parameter: Parameter, begun: str) -> list[CompletionItem]:
    """Whatever has a lineage and a short name."""
    return _fitting(known(_start(context), _VERSIONS, _DATASET_VERSIONS, _RUNS), begun)


def event_types(context: Context, parameter: Parameter, begun: str) -> list[CompletionItem]:
    """Types of the events that have happened."""
    return _fitting([name.removeprefix(TYPE_PREFIX) for name in known(_start(context), _TYPES)], begun)


def _declared(context: Context, kind: str, begun: str) -> list[CompletionItem]:
    settings = find_settings(_start(context))
    return [] if settings is None else _fitting(declared(settings.root, kind), begun)


def _start(context: Context) -> Path:
    start = context.params.get("project")
    return start if isinstance(start, Path) else Path()


def _fitting(names: list[str], begun: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(begun)]
