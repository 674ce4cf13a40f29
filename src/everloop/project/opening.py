"""A project with its stores open: what every command works on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from everloop.loop.controller import Controller
from everloop.pipelines.engine import Progress
from everloop.pipelines.worker import Worker
from everloop.project.loading import Project, load_project
from everloop.storage.workspace import Workspace, open_workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The project and its workspace."""

    project: Project
    workspace: Workspace

    def controller(self) -> Controller:
        """A controller of everything the project declares."""
        return Controller(
            workspace=self.workspace,
            datasets=self.project.datasets,
            pipelines=self.project.pipelines,
            endpoints=self.project.endpoints,
            monitors=self.project.monitors,
            triggers=self.project.triggers,
        )

    def worker(self, progress: Progress) -> Worker:
        """A worker for the project's pipelines."""
        pipelines = {pipeline.name: pipeline for pipeline in self.project.pipelines}
        return Worker(self.workspace, pipelines, progress=progress)


@contextmanager
def opened(start: Path) -> Iterator[Opened]:
    """Load the project here or above and open its stores for the length of a block."""
    project = load_project(start)
    workspace = open_workspace(project.settings)
    try:
        yield Opened(project=project, workspace=workspace)
    finally:
        workspace.close()
