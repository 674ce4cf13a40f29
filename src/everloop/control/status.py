"""Where everything stands, as one record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection

from everloop.control.models import Aliases, current_aliases
from everloop.data.datasets import find_latest, list_dataset_names
from everloop.errors import EverloopError
from everloop.loop.decisions import Decision, Firing
from everloop.loop.firings import list_firings
from everloop.metadata.runs import list_runs
from everloop.monitoring.watch import MonitorWindow, list_newest_windows
from everloop.project.loading import load_declarations
from everloop.records.data import DatasetPin
from everloop.records.runs import Run
from everloop.records.serving import Rollout, ServerReport, Traffic
from everloop.registry.versions import list_model_names
from everloop.rollout.endpoints import list_endpoints, list_reports, list_rollouts, observed_generation
from everloop.storage.presence import Presence
from everloop.storage.workspace import Workspace

_LAST = 5
"""How many runs and rollouts it tells of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointStatus:
    """What an endpoint should do, and what its living servers have put into effect."""

    spec: Traffic
    observed_generation: int
    """The lowest of its servers; 0 when it has none."""
    servers: tuple[ServerReport, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One page about everything."""

    project: str
    """The project's module."""
    time: datetime
    models: Mapping[str, Aliases]
    endpoints: tuple[EndpointStatus, ...]
    rollouts: tuple[Rollout, ...]
    """The last few, oldest first."""
    runs: tuple[Run, ...]
    """The last few, newest first."""
    datasets: tuple[DatasetPin | None, ...]
    monitors: tuple[MonitorWindow, ...]
    """The newest window of each."""
    waiting: tuple[Firing, ...]
    """Reasons to train that have not become a run yet, and why."""


def get_status(workspace: Workspace) -> Status:
    """Where everything stands now."""
    with workspace.database.read() as tx:
        return Status(
            project=workspace.settings.module,
            time=workspace.now(),
            models=current_aliases(tx, list_model_names(tx)),
            endpoints=tuple(_endpoints(tx, workspace)),
            rollouts=tuple(list_rollouts(tx, limit=_LAST)),
            runs=tuple(list_runs(tx, limit=_LAST)),
            datasets=tuple(find_latest(tx, name) for name in list_dataset_names(tx)),
            monitors=tuple(list_newest_windows(tx)),
            waiting=tuple(list_firings(tx, decision=Decision.WAITING)),
        )


def find_warnings(start: Path) -> list[str]:
    """What is hardly meant in the project here or above; nothing when its code is broken, which a run will say."""
    try:
        return load_declarations(start).warnings()
    except EverloopError:
        return []


def _endpoints(tx: Connection, workspace: Workspace) -> Iterator[EndpointStatus]:
    alive = Presence(workspace.database, workspace.folder).present
    for traffic in list_endpoints(tx):
        reports = list_reports(tx, traffic.endpoint, alive=alive)
        yield EndpointStatus(
            spec=traffic, observed_generation=observed_generation(reports), servers=tuple(reports)
        )
