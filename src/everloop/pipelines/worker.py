"""The process that takes runs: one at a time, its name held as long as it lives."""

from __future__ import annotations

from collections.abc import Mapping

from everloop.errors import Conflict, EverloopError, ProjectError
from everloop.metadata import provenance, runs
from everloop.pipelines.engine import Engine, Progress, end
from everloop.pipelines.pipeline import Pipeline
from everloop.records.runs import Run, RunState
from everloop.storage.presence import Presence
from everloop.storage.workspace import Workspace

MOST_DEATHS = 10
"""A run that has outlived so many workers is the one that kills them."""


class Worker:
    """Claims runs of this project and takes them to their end; a dead worker's run is taken over at once.

    It keeps to the code that was loaded when it was made: results are recorded under that version, and once the files on the
    disk are others it takes no further run, because the code that would run is not the code that a reader of the files sees.
    """

    def __init__(
        self, workspace: Workspace, pipelines: Mapping[str, Pipeline], *, progress: Progress
    ) -> None:
        self._workspace = workspace
        self._pipelines = pipelines
        self._engine = Engine(workspace=workspace, progress=progress)
        self._code = provenance.code_version(workspace.settings.root)
        self._presence = Presence(workspace.database, workspace.folder)
        self.name = workspace.new_id()
        self._presence.enter(self.name)

    def run_next(self, *, only: str | None = None) -> Run | None:
        """Take one run to its end; None when there is no work. `only` names the one run to take."""
        with self._workspace.database.read() as tx:
            if not runs.has_work(tx):
                return None
        self._check_code()
        with self._workspace.database.write() as tx:
            run = runs.claim_run(tx, self._workspace, worker=self.name, alive=self._alive, only=only)
        if run is None:
            return None
        pipeline = self._pipelines.get(run.pipeline)
        if pipeline is None:
            return self._fail(
                run,
                ProjectError(
                    f"the project has no pipeline {run.pipeline!r} any more.",
                    next_step="put it back, and ask for the run again.",
                ),
            )
        if run.resumed > MOST_DEATHS:
            return self._fail(run, _deadly(run))
        return self._engine.execute(pipeline, run, code=self._code)

    def close(self) -> None:
        """Let go of the name, and of whatever does its steps; a run that was left open is free for others."""
        self._engine.close()
        self._presence.close()

    def _check_code(self) -> None:
        if provenance.sources_digest(self._workspace.settings.root) != self._code.digest:
            raise Conflict(
                "the project's code has changed since this process loaded it.",
                next_step="restart it; what waits is taken up then.",
            )

    def _alive(self, worker: str) -> bool:
        return worker != self.name and self._presence.present(worker)

    def _fail(self, run: Run, error: EverloopError) -> Run:
        return end(self._workspace, run, RunState.FAIL, seconds=0.0, error=str(error))


def _deadly(run: Run) -> Conflict:
    return Conflict(
        f"{run.resumed} workers have died over this run, the last in the step that is still open.",
        next_step="look for what ends the process there: memory first, then a native library.",
    )
