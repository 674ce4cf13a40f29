"""The process that takes runs: one at a time, its name held as long as it lives."""

from __future__ import annotations

from collections.abc import Mapping

from everloop.errors import EverloopError, ProjectError
from everloop.metadata import runs
from everloop.pipelines.engine import Progress, execute
from everloop.pipelines.pipeline import Pipeline
from everloop.records.runs import Run, RunState
from everloop.storage.presence import Presence
from everloop.storage.workspace import Workspace


class Worker:
    """Claims runs of this project and takes them to their end; a dead worker's run is taken over at once."""

    def __init__(
        self, workspace: Workspace, pipelines: Mapping[str, Pipeline], *, progress: Progress
    ) -> None:
        self._workspace = workspace
        self._pipelines = pipelines
        self._progress = progress
        self._presence = Presence(workspace.database, workspace.folder)
        self.name = workspace.new_id()
        self._presence.enter(self.name)

    def run_next(self, *, only: str | None = None) -> Run | None:
        """Take one run to its end; None when there is no work. `only` names the one run to take."""
        with self._workspace.database.read() as tx:
            if not runs.has_work(tx):
                return None
        with self._workspace.database.write() as tx:
            run = runs.claim_run(tx, self._workspace, worker=self.name, alive=self._alive, only=only)
        if run is None:
            return None
        pipeline = self._pipelines.get(run.pipeline)
        if pipeline is None:
            return self._fail(run, ProjectError(f"the project has no pipeline {run.pipeline!r} any more."))
        return execute(self._workspace, pipeline, run, progress=self._progress)

    def close(self) -> None:
        """Let go of the name; a run that was left open is free for others."""
        self._presence.close()

    def _alive(self, worker: str) -> bool:
        return worker != self.name and self._presence.present(worker)

    def _fail(self, run: Run, error: EverloopError) -> Run:
        with self._workspace.database.write() as tx:
            return runs.end_run(tx, self._workspace, run, RunState.FAIL, seconds=0.0, error=str(error))
