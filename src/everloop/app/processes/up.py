"""`everloop up`: a controller that looks again and again, and beside it a worker and a server as processes."""

from __future__ import annotations

import queue
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from everloop.app.output import Printer, Reply, counted, echo, err, print_error, print_event, print_warnings
from everloop.app.processes.children import Child, ChildMessage, Mail, running
from everloop.app.processes.stopping import Stop, Stopped, stopping
from everloop.errors import Conflict, EverloopError
from everloop.loop.controller import Controller
from everloop.project.opening import Project, open_project
from everloop.records.events import EventType
from everloop.storage import ledger
from everloop.storage.presence import Presence
from everloop.storage.workspace import Workspace

CONTROLLER = "controller"
WORKER, SERVER = "worker", "server"
_COMMANDS = {WORKER: "worker", SERVER: "serve"}
_QUIET = {
    EventType.STEP_COMPLETED,
    EventType.RUN_REQUESTED,
    EventType.DATA_CHANGED,
    EventType.TRIGGER_WATCHED,
}
"""Events that others say better; `everloop events` has them."""


def run_up(start: Path, printer: Printer) -> None:
    """The whole loop until stopped; a second one in the same workspace is refused."""
    mail: Mail = queue.SimpleQueue()
    with stopping(on_stop=lambda: mail.put(None)) as stop, open_project(start) as project, _alone(project):
        children = _children(project, mail)
        up = _Up(
            workspace=project.workspace,
            controller=project.controller(),
            children={child.name: child for child in children},
            mail=mail,
            printer=printer,
            seen=_last_event(project.workspace),
        )
        record = {"type": "up", "project": project.settings.module}
        printer.print(Reply(record, lambda: _print_up(project)))
        with running(children):
            up.run(stop, project.settings.worker.poll_seconds)
        printer.print(Reply({"type": "stopped"}, lambda: echo("stopped")))


@contextmanager
def _alone(project: Project) -> Iterator[None]:
    presence = Presence(project.workspace.database, project.workspace.folder)
    if not presence.enter(CONTROLLER):
        raise Conflict(
            f"the loop of {project.settings.root} is up already.",
            next_step="`everloop status` shows how it is doing; stop the other one first.",
        )
    try:
        yield
    finally:
        presence.close()


def _children(project: Project, mail: Mail) -> list[Child]:
    """A worker, and one server for all endpoints, if there are any."""
    wanted = [WORKER, SERVER] if project.declarations.endpoints else [WORKER]
    root = str(project.settings.root)
    return [Child(name=name, command=[_COMMANDS[name], "--project", root], mail=mail) for name in wanted]


def _last_event(workspace: Workspace) -> int:
    with workspace.database.read() as tx:
        return ledger.last_seq(tx)


@dataclass(slots=True, kw_only=True)
class _Up:
    """Look, tell what has happened, listen to the children; what it remembers is only what it has told."""

    workspace: Workspace
    controller: Controller
    children: Mapping[str, Child]
    mail: Mail
    printer: Printer
    seen: int
    """Place in the ledger up to which events were told."""
    trouble: str = field(default="")

    def run(self, stop: Stop, pause: float) -> None:
        """Until stopped."""
        while not stop.asked:
            for child in self.children.values():
                child.restart_if_due(time.monotonic())
            try:
                with stop.at_once():
                    self._tick()
            except Stopped:  # a look that is cut short is like one that was never begun
                return
            self._listen(stop, time.monotonic() + pause)

    def _tick(self) -> None:
        """One look of the controller. What goes wrong is told once, and tried again; it must not end the loop."""
        trouble = ""
        try:
            self.controller.tick()
            self._print_new()
        except EverloopError as error:
            trouble = str(error)
            if trouble != self.trouble:
                self._print_trouble(error)
        except Exception as error:  # noqa: BLE001 - a full disk or a database that restarts is over some day
            trouble = repr(error)
            if trouble != self.trouble:
                self._print_trouble(
                    EverloopError(
                        traceback.format_exc().rstrip(),
                        next_step="the loop goes on, and tries it again; if it stays so, report these lines.",
                    )
                )
        if self.trouble and not trouble:
            self.printer.print(Reply({"type": "over"}, lambda: echo(("that is over", "green"), to=err)))
        self.trouble = trouble

    def _print_new(self) -> None:
        with self.workspace.database.read() as tx:
            new = ledger.read(tx, after=self.seen)
        for event in new:
            self.seen = event.seq
            if event.short_type not in _QUIET:
                self.printer.print(Reply(event, partial(print_event, event)))

    def _listen(self, stop: Stop, until: float) -> None:
        """Hear what the children say until it is time to look again."""
        while not stop.asked and (left := until - time.monotonic()) > 0:
            try:
                sent = self.mail.get(timeout=left)
            except queue.Empty:
                return
            if sent is None:
                return
            self._handle(sent)

    def _handle(self, sent: ChildMessage) -> None:
        child = self.children[sent.child]
        if sent.ended is None:
            child.proven = True
            if sent.message["type"] in _PRINTED:
                self.printer.print(Reply(sent.message, partial(_PRINTED[sent.message["type"]], sent.message)))
        elif not child.proven:
            raise Conflict(f"the {sent.child} could not start.", next_step="see its reason above.")
        else:
            pause = child.fell(time.monotonic())
            fell = f"the {sent.child} ended with code {sent.ended}; it is started again in {pause:g} s."
            self._print_trouble(EverloopError(fell, next_step="see its reason above."))

    def _print_trouble(self, error: EverloopError) -> None:
        record = {"type": "trouble", "reason": error.reason, "next_step": error.next_step}
        self.printer.print(Reply(record, lambda: print_error(error)))


def _print_up(project: Project) -> None:
    declared = project.declarations
    parts = [
        counted(declared.pipelines, "pipeline"),
        counted(declared.endpoints, "endpoint"),
        counted(declared.monitors, "monitor"),
        counted([rule for triggers in declared.triggers for rule in triggers.rules], "trigger"),
    ]
    echo((project.settings.module, "bold"), f" is up: {', '.join(parts)}  (Ctrl-C stops)")
    print_warnings(declared.warnings())


def _print_serving(message: Mapping[str, object]) -> None:
    echo("serving ", (str(message["endpoint"]), "bold"), f" at {message['url']}")


def _print_reloading(_message: Mapping[str, object]) -> None:
    echo("the project's code has changed, and the worker starts again with it; ", to=err)
    echo("stop and start `everloop up` for changed triggers, monitors and endpoints", to=err)


_PRINTED: Mapping[str, Callable[[Mapping[str, object]], None]] = {
    "serving": _print_serving,
    "reloading": _print_reloading,
}
"""What children say that others should hear; what else they say is seen in the ledger."""
