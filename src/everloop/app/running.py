"""Commands that do work and end: run a pipeline, hand a batch to the data gate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Connection

from everloop.app.output import complain, duration, err, out, print_checks, print_json, say, short
from everloop.app.progress import RunProgress
from everloop.data.files import append_file, collect
from everloop.errors import Conflict, EverloopError, InvalidInput
from everloop.loop.firings import run_on_demand
from everloop.metadata import provenance
from everloop.metadata.runs import get_run, run_metrics
from everloop.pipelines.pipeline import Pipeline
from everloop.project.opening import Opened, opened
from everloop.records.data import Batch, DataVerdict
from everloop.records.json import Json
from everloop.records.models import CHALLENGER, CHAMPION, ModelVersion
from everloop.records.runs import Run, RunState
from everloop.registry.aliases import find_alias
from everloop.registry.versions import list_versions
from everloop.rollout.controller import reconcile
from everloop.rollout.endpoint import Endpoint
from everloop.storage.workspace import Workspace

INTERRUPTED = 130
_KEPT_OUT = (DataVerdict.STOP, DataVerdict.QUARANTINE)


def run_pipeline(start: Path, name: str, given: Sequence[str], reason: str, *, as_json: bool) -> int:
    """Ask for a run by hand and take it to its end here; returns the exit code."""
    with opened(start) as here:
        pipeline = here.project.pipeline(name)
        params = _params(pipeline, given)
        batches = [batch for dataset in here.project.datasets for batch in collect(here.workspace, dataset)]
        if not as_json:
            for batch in batches:
                _report_batch(batch)
        run = _request(here.workspace, pipeline, params, reason)
        if not as_json:
            say((pipeline.name, "bold"), f"  run {short(run.id)}  {reason}")
        try:
            ended = _finish(here, pipeline, run, as_json=as_json)
        except KeyboardInterrupt:
            return _interrupted(here.workspace, pipeline, run)
        reconcile_all(here.workspace, here.project.endpoints)
        _report(here.workspace, pipeline, ended, batches, as_json=as_json)
        return 0 if ended.state is RunState.COMPLETE else 1


def reconcile_all(workspace: Workspace, endpoints: Sequence[Endpoint]) -> None:
    """Bring every endpoint to what the aliases say now."""
    for endpoint in endpoints:
        while reconcile(workspace, endpoint):
            pass


def _params(pipeline: Pipeline, given: Sequence[str]) -> dict[str, Json]:
    values: dict[str, Json] = {}
    for pair in given:
        name, equals, text = pair.partition("=")
        if not equals:
            raise InvalidInput(f"-p {pair!r} is not name=value.", next_step=_how(pipeline))
        if name in values:
            raise InvalidInput(f"param {name!r} is given twice.")
        values[name] = pipeline.read(name, text)
    return pipeline.fill(values)


def _how(pipeline: Pipeline) -> str:
    name = next(iter(pipeline.params), None)
    return f"write it like -p {name}=…" if name else f"{pipeline.name} takes no params."


def _request(workspace: Workspace, pipeline: Pipeline, params: dict[str, Json], reason: str) -> Run:
    with workspace.database.write() as tx:
        return run_on_demand(
            tx,
            workspace,
            pipeline=pipeline.name,
            params=params,
            who=provenance.who(),
            reason=reason,
            key=workspace.new_id(),
        )


def _finish(here: Opened, pipeline: Pipeline, run: Run, *, as_json: bool) -> Run:
    with RunProgress(err if as_json else out, pipeline) as progress:
        worker = here.worker(progress)
        try:
            ended = worker.run_next(only=run.id)
        finally:
            worker.close()
    if ended is not None:
        return ended
    with here.workspace.database.read() as tx:
        now = get_run(tx, run.id)
    if now.state.ended:
        return now  # a worker that was waiting for work was quicker
    raise Conflict(
        f"run {short(run.id)} is queued, because another run of {pipeline.name} is under way.",
        next_step="`everloop up` or `everloop worker` takes it next; `everloop runs` shows both.",
    )


def _interrupted(workspace: Workspace, pipeline: Pipeline, run: Run) -> int:
    with workspace.database.read() as tx:
        state = get_run(tx, run.id).state.value
    complain(
        EverloopError(
            f"stopped by hand; run {short(run.id)} is {state}.",
            next_step=f"everloop run {pipeline.name}; steps that were finished are not done again.",
        )
    )
    return INTERRUPTED


def _report(
    workspace: Workspace, pipeline: Pipeline, run: Run, batches: Sequence[Batch], *, as_json: bool
) -> None:
    with workspace.database.read() as tx:
        run = get_run(tx, run.id)  # with all that was written of it since it was claimed
        made = [version for version in list_versions(tx) if version.run_id == run.id]
        roles = [_role(tx, version) for version in made]
        numbers = run_metrics(tx, run.id)
    if as_json:
        print_json({"run": run, "batches": batches, "metrics": numbers, "versions": made})
    if run.error is not None:
        complain(_failure(run))
    elif not as_json:
        for version, role in zip(made, roles, strict=True):
            _report_version(version, role)
        if not made and any(node.registers for node in pipeline.graph.nodes):
            say("the model is the same as the newest version, so nothing was registered")
        say(("complete", "green"), f" in {duration(run.seconds)}")


def _failure(run: Run) -> EverloopError:
    reason, _, next_step = (run.error or "").partition(" Next: ")
    told = f"run {short(run.id)} failed: {reason}"
    return EverloopError(told, next_step=next_step or f"everloop show {short(run.id)}")


def _role(tx: Connection, version: ModelVersion) -> str:
    if find_alias(tx, version.model, CHAMPION) == version.version:
        return " and is champion"
    if find_alias(tx, version.model, CHALLENGER) == version.version:
        return " and is challenger; `everloop up` rolls it out"
    return ""


def _report_version(version: ModelVersion, role: str) -> None:
    verdict = ("passed its gate", "green") if version.passed else ("was refused by its gate", "red")
    say((version.name, "bold"), " ", verdict, role)
    if version.gate is not None:
        print_checks(version.gate)


def append_batch(start: Path, name: str, file: Path, key: str | None, *, as_json: bool) -> int:
    """Append a file to a dataset; returns 1 when the gate kept it out."""
    with opened(start) as here:
        batch = append_file(here.workspace, here.project.dataset(name), file, key=key)
    if as_json:
        print_json(batch)
    else:
        _report_batch(batch)
    return 1 if batch.verdict in _KEPT_OUT else 0


def _report_batch(batch: Batch) -> None:
    kept = (
        "kept out" if batch.version is None else f"version {batch.version}, {batch.total_rows:,} rows in all"
    )
    style = {"pass": "green", "retrain": "cyan", "quarantine": "yellow", "stop": "red"}[batch.verdict.value]
    say(
        (batch.dataset, "bold"),
        f"  {batch_name(batch)}, {batch.rows:,} rows: ",
        (batch.verdict.value, style),
        f", {kept}",
    )
    for finding in batch.findings:
        say(f"  {finding.message}")


def batch_name(batch: Batch) -> str:
    """A batch's key without the digest that a file's key ends with."""
    name, at, digest = batch.key.rpartition("@")
    return name if at and len(digest) == 16 else batch.key
