"""Commands that do work: run a pipeline, append a batch, serve, work, and all of it together."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from everloop.app.opened import Opened, opened
from everloop.app.output import check_lines, err, out, print_json, short
from everloop.app.progress import RunProgress, Silent
from everloop.data.files import append_file, collect
from everloop.errors import Conflict, EverloopError, InvalidInput
from everloop.loop.controller import Controller
from everloop.loop.firings import run_on_demand
from everloop.metadata import provenance
from everloop.metadata.runs import run_metrics
from everloop.pipelines.pipeline import Pipeline
from everloop.pipelines.worker import Worker
from everloop.records.data import Batch, DataVerdict
from everloop.records.json import Json
from everloop.records.models import ModelVersion
from everloop.records.runs import Run, RunState
from everloop.registry.versions import list_versions
from everloop.rollout.controller import reconcile
from everloop.serving.server import serve
from everloop.storage.presence import Presence
from everloop.storage.workspace import Workspace

CONTROLLER = "controller"


def run_pipeline(start: Path, name: str, given: Sequence[str], reason: str, *, as_json: bool) -> int:
    """Ask for a run by hand and take it to its end here; returns the exit code."""
    with opened(start) as here:
        pipeline = here.project.pipeline(name)
        params = _params(pipeline, given)
        for dataset in here.project.datasets:
            collect(here.workspace, dataset)
        run = _request(here.workspace, pipeline, params, reason)
        if not as_json:
            out.print(f"[bold]{pipeline.name}[/]  run {short(run.id)}  {reason}")
        ended = _finish(here, pipeline, run, as_json=as_json)
        for endpoint in here.project.endpoints:
            while reconcile(here.workspace, endpoint):
                pass
        _report(here.workspace, ended, as_json=as_json)
        return 0 if ended.state is RunState.COMPLETE else 1


def _params(pipeline: Pipeline, given: Sequence[str]) -> dict[str, Json]:
    values: dict[str, Json] = {}
    for pair in given:
        name, equals, text = pair.partition("=")
        if not equals:
            raise InvalidInput(f"-p {pair!r} is not name=value.")
        values[name] = pipeline.read(name, text)
    return pipeline.fill(values)


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
    if ended is None:
        raise Conflict(
            f"run {short(run.id)} is queued, because another run of {pipeline.name} is under way.",
            next_step="`everloop up` or `everloop worker` takes it next.",
        )
    return ended


def _report(workspace: Workspace, run: Run, *, as_json: bool) -> None:
    with workspace.database.read() as tx:
        made = [version for version in list_versions(tx) if version.run_id == run.id]
        numbers = run_metrics(tx, run.id)
    if as_json:
        print_json({"run": run, "metrics": numbers, "versions": made})
        return
    if run.error is not None:
        err.print(f"[bold red]failed:[/] {run.error}", markup=True)
        err.print(f"[dim]next:[/] everloop show {short(run.id)}")
        return
    for version in made:
        _report_version(version)
    if not made:
        out.print(f"[green]complete[/] in {run.seconds or 0:.1f} s")


def _report_version(version: ModelVersion) -> None:
    verdict = "[green]passed its gate[/]" if version.passed else "[red]refused by its gate[/]"
    out.print(f"[bold]{version.name}[/] {verdict}")
    if version.gate is not None:
        for line in check_lines(version.gate):
            out.print("  ", line, sep="")


def append_batch(start: Path, name: str, file: Path, key: str | None, *, as_json: bool) -> int:
    """Append a file to a dataset; returns 1 when the gate kept it out."""
    with opened(start) as here:
        batch = append_file(here.workspace, here.project.dataset(name), file, key=key)
    if as_json:
        print_json(batch)
    else:
        _report_batch(batch)
    return 1 if batch.verdict in (DataVerdict.STOP, DataVerdict.QUARANTINE) else 0


def _report_batch(batch: Batch) -> None:
    where = (
        "kept out" if batch.version is None else f"version {batch.version}, {batch.total_rows:,} rows in all"
    )
    out.print(f"{batch.dataset}: {batch.rows:,} rows, verdict [bold]{batch.verdict.value}[/], {where}")
    for finding in batch.findings:
        out.print(f"  {finding.verdict.value}: {finding.message}", markup=False)


def serve_endpoint(start: Path, name: str | None, host: str | None, port: int | None) -> None:
    """Serve one endpoint until stopped; follows the traffic that the controller asks for."""
    with opened(start) as here:
        endpoint = here.project.endpoint(name)
        while reconcile(here.workspace, endpoint):
            pass
        settings = here.project.settings.serving
        serve(
            here.workspace,
            endpoint.name,
            host or settings.host,
            settings.port if port is None else port,
            on_ready=lambda url: out.print(f"serving [bold]{endpoint.name}[/] at {url}"),
        )


def work(start: Path, *, once: bool) -> None:
    """Take runs until stopped, or until there are none."""
    with opened(start) as here, _stopping() as stop:
        worker = here.worker(Silent())
        try:
            while not stop.is_set():
                run = worker.run_next()
                if run is not None:
                    _say(run)
                elif once:
                    return
                else:
                    stop.wait(here.project.settings.worker.poll_seconds)
        finally:
            worker.close()


def bring_up(start: Path) -> None:
    """The whole loop until stopped; a second one in the same workspace is refused."""
    with opened(start) as here, _stopping() as stop:
        presence = Presence(here.workspace.database, here.workspace.folder)
        if not presence.enter(CONTROLLER):
            raise Conflict(
                f"the loop of {here.project.settings.root} is up already.",
                next_step="`everloop status` shows it; stop the other one first.",
            )
        worker = here.worker(Silent())
        servers = _start_servers(here)
        try:
            out.print(f"up: {len(here.project.pipelines)} pipelines, {len(servers)} endpoints; Ctrl-C stops")
            _loop(here.controller(), worker, servers, stop, here.project.settings.worker.poll_seconds)
        finally:
            _stop_servers(servers)
            worker.close()
            presence.close()


def _loop(
    controller: Controller,
    worker: Worker,
    servers: Sequence[subprocess.Popen[bytes]],
    stop: threading.Event,
    pause: float,
) -> None:
    while not stop.is_set():
        for server in servers:
            if server.poll() is not None:
                raise Conflict(f"the server stopped with code {server.returncode}; its last words are above.")
        try:
            controller.tick()
            run = worker.run_next()
        except (
            EverloopError
        ) as error:  # a bad file or a locked database must not end the loop; it is said, and tried again
            err.print(f"[yellow]{error.reason}[/] {error.next_step}")
            run = None
        if run is not None:
            _say(run)
        else:
            stop.wait(pause)


def _start_servers(here: Opened) -> list[subprocess.Popen[bytes]]:
    settings = here.project.settings.serving
    servers = []
    for place, endpoint in enumerate(here.project.endpoints):
        port = settings.port + place if settings.port else 0
        command = [sys.executable, "-m", "everloop", "serve", endpoint.name, "--port", str(port)]
        servers.append(
            subprocess.Popen([*command, "--project", str(here.project.settings.root)], start_new_session=True)
        )
    return servers


def _stop_servers(servers: Sequence[subprocess.Popen[bytes]]) -> None:
    for server in servers:
        if server.poll() is None:
            server.send_signal(signal.SIGTERM)
    for server in servers:
        try:
            server.wait(timeout=30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _say(run: Run) -> None:
    told = run.error or f"{run.seconds or 0:.1f} s"
    out.print(
        f"run {short(run.id)} of {run.pipeline} ({run.trigger}): {run.state.value}, {told}", markup=False
    )


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """SIGTERM and Ctrl-C ask the loop to end after what it is doing."""
    stop = threading.Event()

    def ask(_signal: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt  # the second one does not wait
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
