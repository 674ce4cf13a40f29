"""`everloop worker`: take runs until stopped, and become a fresh process when the project's code has changed."""

from __future__ import annotations

from pathlib import Path

from everloop.app.output import Printer, Reply, duration, echo, print_error, short
from everloop.app.processes.stopping import StartAnew, Stop, Stopped, stop_with_parent, stopping
from everloop.errors import EverloopError
from everloop.metadata.provenance import sources_digest
from everloop.metadata.runs import has_work
from everloop.pipelines.worker import Worker
from everloop.project.opening import Project, open_project
from everloop.records.runs import Run


def run_worker(start: Path, printer: Printer, *, once: bool, with_parent: bool) -> None:
    """Take runs until stopped, or until there are none."""
    if with_parent:
        stop_with_parent()
    with stopping() as stop, open_project(start) as project:
        root, module = project.settings.root, project.settings.module
        worker = project.worker()
        record = {"type": "working", "worker": worker.name}
        printer.print(Reply(record, lambda: None if once else _print_beginning(module)))
        try:
            changed = _take_runs(project, worker, stop, printer, once=once)
        except Stopped:
            changed = False
            print_error(
                EverloopError("stopped in the middle of a run.", next_step="the next worker goes on with it.")
            )
        finally:
            worker.close()
        if not (once or changed):
            printer.show(lambda: echo("stopped"))
    if changed:
        _start_anew(root, printer, once=once, with_parent=with_parent)


def _take_runs(project: Project, worker: Worker, stop: Stop, printer: Printer, *, once: bool) -> bool:
    """Take runs; returns whether it ended because the project's code is no longer what was loaded."""
    root, pause = project.settings.root, project.settings.worker.poll_seconds
    while not stop.asked:
        with project.workspace.database.read() as tx:
            waiting = has_work(tx)
        if waiting and sources_digest(root) != project.declarations.sources:
            return True
        run = _take_one(worker, stop) if waiting else None
        if run is not None:
            _report(run, printer)
        elif once:
            return False
        else:
            stop.wait(pause)
    return False


def _take_one(worker: Worker, stop: Stop) -> Run | None:
    with stop.at_once():  # a run may take hours, and what its steps have finished is kept
        return worker.run_next()


def _print_beginning(module: str) -> None:
    echo("taking runs of ", (module, "bold"), "  (Ctrl-C stops)")


def _report(run: Run, printer: Printer) -> None:
    text = run.error or duration(run.seconds)
    line = f"run {short(run.id)} of {run.pipeline} ({run.trigger}): {run.state.value}, {text}"
    printer.print(Reply({"type": "run", "run": run}, lambda: echo(line)))


def _start_anew(root: Path, printer: Printer, *, once: bool, with_parent: bool) -> None:
    """Become a fresh process: a run must not be recorded with code that is not what ran."""
    text = "the project's code has changed; starting again with it"
    printer.print(Reply({"type": "reloading"}, lambda: echo(text)))
    wanted = {"--json": printer.for_programs, "--once": once, "--with-parent": with_parent}
    raise StartAnew(["worker", "--project", str(root), *(flag for flag, on in wanted.items() if on)])
