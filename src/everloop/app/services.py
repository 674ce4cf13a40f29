"""Commands that go on until they are stopped: answer requests, take runs."""

from __future__ import annotations

from pathlib import Path

from everloop.app.output import complain, duration, print_json, say, short
from everloop.app.running import reconcile_all
from everloop.app.stopping import StartAnew, Stop, Stopped, stop_with_parent, stopping
from everloop.errors import EverloopError
from everloop.metadata import provenance
from everloop.metadata.runs import has_work
from everloop.pipelines.engine import silent
from everloop.pipelines.worker import Worker
from everloop.project.opening import Opened, opened
from everloop.records.models import CHAMPION
from everloop.records.runs import Run
from everloop.registry.aliases import find_alias
from everloop.serving.server import serve
from everloop.settings import find_root


def serve_endpoint(
    start: Path, name: str | None, host: str | None, port: int | None, *, as_json: bool, with_parent: bool
) -> None:
    """Serve one endpoint until stopped; follows the traffic that the controller asks for."""
    if with_parent:
        stop_with_parent()
    with opened(start) as here:
        endpoint = here.project.endpoint(name)
        reconcile_all(here.workspace, [endpoint])
        with here.workspace.database.read() as tx:
            champion = find_alias(tx, endpoint.model, CHAMPION)

        def ready(url: str) -> None:
            if as_json:
                print_json({"type": "serving", "endpoint": endpoint.name, "url": url})
                return
            say("serving ", (endpoint.name, "bold"), f" at {url}  (Ctrl-C stops)")
            if champion is None:
                pipelines = ", ".join(pipeline.name for pipeline in here.project.pipelines) or "PIPELINE"
                say(("no champion yet, so it cannot answer; ", "yellow"), f"next: everloop run {pipelines}")

        settings = here.project.settings.serving
        chosen = settings.port if port is None else port
        serve(here.workspace, endpoint.name, host or settings.host, chosen, on_ready=ready)
        if not as_json:
            say("stopped")


def work(start: Path, *, once: bool, as_json: bool, with_parent: bool) -> None:
    """Take runs until stopped, or until there are none."""
    if with_parent:
        stop_with_parent()
    root = find_root(start)
    loaded = provenance.code_version(root).digest
    with stopping() as stop, opened(root) as here:
        worker = here.worker(silent)
        if as_json:
            print_json({"type": "working", "worker": worker.name})
        elif not once:
            say("taking runs of ", (here.project.settings.module, "bold"), "  (Ctrl-C stops)")
        try:
            changed = _take_runs(here, worker, stop, loaded, once=once, as_json=as_json)
        except Stopped:
            changed = False
            complain(
                EverloopError("stopped in the middle of a run.", next_step="the next worker goes on with it.")
            )
        finally:
            worker.close()
        if not (as_json or once or changed):
            say("stopped")
    if changed:
        _start_anew(root, as_json=as_json, once=once, with_parent=with_parent)


def _take_runs(here: Opened, worker: Worker, stop: Stop, loaded: str, *, once: bool, as_json: bool) -> bool:
    """Take runs; returns whether it ended because the project's code is no longer what was loaded."""
    root, pause = here.project.settings.root, here.project.settings.worker.poll_seconds
    while not stop.asked:
        with here.workspace.database.read() as tx:
            waiting = has_work(tx)
        if waiting and provenance.code_version(root).digest != loaded:
            return True
        run = _take_one(worker, stop) if waiting else None
        if run is not None:
            _report(run, as_json=as_json)
        elif once:
            return False
        else:
            stop.wait(pause)
    return False


def _take_one(worker: Worker, stop: Stop) -> Run | None:
    with stop.at_once():  # a run may take hours, and what its steps have finished is kept
        return worker.run_next()


def _report(run: Run, *, as_json: bool) -> None:
    if as_json:
        print_json({"type": "run", "run": run})
        return
    told = run.error or duration(run.seconds)
    say(f"run {short(run.id)} of {run.pipeline} ({run.trigger}): {run.state.value}, {told}")


def _start_anew(root: Path, *, as_json: bool, once: bool, with_parent: bool) -> None:
    """Become a fresh process: a run must not be recorded with code that is not what ran."""
    if as_json:
        print_json({"type": "reloading"})
    else:
        say("the project's code has changed; starting again with it")
    wanted = {"--json": as_json, "--once": once, "--with-parent": with_parent}
    raise StartAnew(["worker", "--project", str(root), *(flag for flag, on in wanted.items() if on)])
