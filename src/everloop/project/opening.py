"""A user's project with its stores open: what everything that does something works on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from everloop.errors import Conflict
from everloop.loop.controller import Controller
from everloop.metadata.provenance import sources_digest
from everloop.pipelines.engine import Progress, silent
from everloop.pipelines.worker import Worker
from everloop.project.declarations import Declarations
from everloop.project.loading import load_declarations
from everloop.settings import Settings, find_root, load_settings
from everloop.storage.workspace import Workspace, open_workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """What a module declares, and the workspace that keeps what comes of it."""

    declarations: Declarations
    workspace: Workspace

    @property
    def settings(self) -> Settings:
        """Those of everloop.toml."""
        return self.declarations.settings

    def controller(self) -> Controller:
        """A controller of everything the project declares."""
        return Controller(
            workspace=self.workspace,
            datasets=self.declarations.datasets,
            pipelines=self.declarations.pipelines,
            endpoints=self.declarations.endpoints,
            monitors=self.declarations.monitors,
            triggers=self.declarations.triggers,
        )

    def worker(self, progress: Progress = silent) -> Worker:
        """A worker for the project's pipelines; refused once the files are no longer those that were loaded."""
        if sources_digest(self.settings.root) != self.declarations.sources:
            raise Conflict(
                "the project's code has changed since it was loaded.",
                next_step="open the project again, or give the command again.",
            )
        pipelines = {pipeline.name: pipeline for pipeline in self.declarations.pipelines}
        return Worker(self.workspace, pipelines, progress=progress)


@contextmanager
def open_project(start: Path) -> Iterator[Project]:
    """Load the project here or above and open its stores for the length of a block."""
    declarations = load_declarations(start)
    workspace = open_workspace(declarations.settings)
    try:
        yield Project(declarations=declarations, workspace=workspace)
    finally:
        workspace.close()


@contextmanager
def open_stores(start: Path) -> Iterator[Workspace]:
    """Only the stores of the project here or above: at once, and even while its code is broken."""
    workspace = open_workspace(load_settings(find_root(start)))
    try:
        yield workspace
    finally:
        workspace.close()
