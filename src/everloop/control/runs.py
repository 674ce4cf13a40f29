"""Runs of pipelines: which there were, one of them whole, and a new one from its data to its model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from sqlalchemy import Connection

from everloop.data.files import collect
from everloop.errors import Conflict, NotFound, RunFailed
from everloop.loop.firings import run_on_demand, wants_register
from everloop.metadata import provenance, runs
from everloop.metadata.steps import list_steps
from everloop.pipelines.lookup import load_artifact
from everloop.pipelines.nodes import GateNode
from everloop.pipelines.pinning import check_data
from everloop.pipelines.pipeline import Pipeline
from everloop.project.names import declared
from everloop.project.opening import Project
from everloop.records.checks import CheckResult
from everloop.records.data import Batch
from everloop.records.json import Json
from everloop.records.models import CHALLENGER, CHAMPION, ModelVersion
from everloop.records.runs import Run, StepRun
from everloop.registry.aliases import find_alias
from everloop.registry.versions import list_versions
from everloop.rollout.controller import settle
from everloop.storage.workspace import Workspace

BY_HAND = "asked for by hand"
"""The reason of a run whose starter gave none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDetails:
    """Everything on one run's record."""

    run: Run
    steps: tuple[StepRun, ...]
    metrics: Mapping[str, float]
    versions: tuple[ModelVersion, ...]
    """Model versions that it made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """What came of a run that was started here."""

    run: Run
    batches: tuple[Batch, ...]
    """What was new in the files of the project's datasets, and was collected before the run."""
    metrics: Mapping[str, float]
    versions: tuple[ModelVersion, ...]
    verdicts: Mapping[str, CheckResult]
    """What the gate of each model said, by the model's name; of an experiment, too."""
    roles: Mapping[str, str]
    """The alias that each of these versions carries now, if it carries one: `{"late@3": "challenger"}`."""
    register: bool
    """Whether it was to register its models; an experiment is not."""
    warnings: tuple[str, ...]
    """What is no error in the project and hardly meant."""


class RunListener:
    """Hears how a run goes on; each method may be overridden, and none has to be."""

    def collected(self, batch: Batch) -> None:
        """A file of a dataset was new."""

    def requested(self, run: Run) -> None:
        """The run has its id."""

    def stepped(self, run: Run, step: StepRun, /) -> None:
        """A step has reached a new state."""


def list_runs(workspace: Workspace, *, pipeline: str | None = None, limit: int | None = None) -> list[Run]:
    """Runs, the newest first."""
    with workspace.database.read() as tx:
        return runs.list_runs(tx, pipeline=pipeline, limit=limit)


def get_run(workspace: Workspace, run_id: str | None = None) -> RunDetails:
    """One run by its id, its beginning or its end; the newest when none is named."""
    with workspace.database.read() as tx:
        run = _newest(workspace, tx) if run_id is None else runs.get_run(tx, run_id)
        return RunDetails(
            run=run,
            steps=tuple(list_steps(tx, run.id)),
            metrics=runs.run_metrics(tx, run.id),
            versions=_made_by(tx, run),
        )


def failure(run: Run) -> RunFailed:
    """Why a run did not come to its end, and what to do next."""
    reason, _, next_step = (run.error or run.state.value).partition(" Next: ")
    name = run.id[-8:]
    return RunFailed(f"run {name} failed: {reason}", next_step=next_step or f"everloop show {name}")


def first_command(workspace: Workspace) -> str:
    """The command that starts a run, with a pipeline of this project if one can be found in its code."""
    names = declared(workspace.settings.root, "pipeline") or ["PIPELINE"]
    return f"everloop run {names[0]}"


def run_pipeline(
    project: Project,
    name: str,
    params: Mapping[str, Json] | None = None,
    *,
    data: Mapping[str, int] | None = None,
    register: bool | None = None,
    reason: str = BY_HAND,
    listener: RunListener | None = None,
) -> RunReport:
    """Run a pipeline now, in this process, to its end; a run that fails is a report like any other.

    `data` names versions of datasets to read instead of the newest. `register` says whether the model gets a number; left
    open, it does unless params or data are one's own, for an experiment is not a release.
    """
    listener = listener or RunListener()
    pipeline = project.declarations.pipeline(name)
    values = pipeline.fill(params or {})
    wanted = wants_register(pipeline, values, register, data=data)
    batches = _collect(project, listener)
    run = _request(project, pipeline, values, data or {}, wanted, reason)
    listener.requested(run)
    _finish(project, pipeline, run, listener)
    for endpoint in project.declarations.endpoints:
        settle(project.workspace, endpoint)
    return _report(project, pipeline, run, batches, wanted)


def _newest(workspace: Workspace, tx: Connection) -> Run:
    found = runs.list_runs(tx, limit=1)
    if not found:
        raise NotFound("there are no runs yet.", next_step=first_command(workspace))
    return found[0]


def _made_by(tx: Connection, run: Run) -> tuple[ModelVersion, ...]:
    return tuple(list_versions(tx, run_id=run.id))


def _collect(project: Project, listener: RunListener) -> tuple[Batch, ...]:
    found: list[Batch] = []
    for dataset in project.declarations.datasets:
        for batch in collect(project.workspace, dataset):
            listener.collected(batch)
            found.append(batch)
    return tuple(found)


def _request(
    project: Project,
    pipeline: Pipeline,
    params: dict[str, Json],
    data: Mapping[str, int],
    register: bool,
    reason: str,
) -> Run:
    workspace = project.workspace
    with workspace.database.write() as tx:
        check_data(tx, pipeline, data)
        return run_on_demand(
            tx,
            workspace,
            pipeline=pipeline.name,
            params=params,
            who=provenance.who(),
            reason=reason,
            key=workspace.new_id(),
            register=register,
            data=data,
        )


def _finish(project: Project, pipeline: Pipeline, run: Run, listener: RunListener) -> None:
    worker = project.worker(listener.stepped)
    try:
        ended = worker.run_next(only=run.id)
    finally:
        worker.close()
    if ended is not None:
        return
    with project.workspace.database.read() as tx:
        now = runs.get_run(tx, run.id)
    if not now.state.ended:  # or else a worker that was waiting for work was quicker
        raise Conflict(
            f"run {run.id[-8:]} is queued, because another run of {pipeline.name} is under way.",
            next_step="`everloop up` or `everloop worker` takes it next; `everloop runs` shows both.",
        )


def _report(
    project: Project, pipeline: Pipeline, run: Run, batches: tuple[Batch, ...], register: bool
) -> RunReport:
    with project.workspace.database.read() as tx:
        run = runs.get_run(tx, run.id)  # with all that was written of it since it was asked for
        made = _made_by(tx, run)
        roles = {version.name: alias for version in made if (alias := _role(tx, version)) is not None}
        metrics = runs.run_metrics(tx, run.id)
        steps = list_steps(tx, run.id)
    return RunReport(
        run=run,
        batches=batches,
        metrics=metrics,
        versions=made,
        verdicts=_verdicts(project.workspace, pipeline, steps),
        roles=roles,
        register=register,
        warnings=tuple(project.declarations.warnings()),
    )


def _verdicts(workspace: Workspace, pipeline: Pipeline, steps: Sequence[StepRun]) -> dict[str, CheckResult]:
    gates = {node.name: node.model.name for node in pipeline.graph.nodes if isinstance(node, GateNode)}
    return {
        gates[step.step]: cast("CheckResult", load_artifact(workspace, pipeline, step, "verdict"))
        for step in steps
        if step.step in gates and step.outputs
    }


def _role(tx: Connection, version: ModelVersion) -> str | None:
    for alias in (CHAMPION, CHALLENGER):
        if find_alias(tx, version.model, alias) == version.version:
            return alias
    return None
