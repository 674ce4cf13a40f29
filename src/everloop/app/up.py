"""`everloop up`: a controller that looks again and again, and beside it a worker and the servers as processes."""

from __future__ import annotations

import queue
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sqlalchemy import func, select

from everloop.app.children import Child, Mail, Said, running
from everloop.app.output import complain, counted, err, print_event, print_json, say
from everloop.app.stopping import Stop, Stopped, stopping
from everloop.errors import Conflict, EverloopError
from everloop.loop.controller import Controller
from everloop.project.opening import Opened, opened
from everloop.records.events import Event, EventType
from everloop.storage import ledger
from everloop.storage.presence import Presence
from everloop.storage.schema import events
from everloop.storage.workspace import Workspace

CONTROLLER = "controller"
WORKER = "worker"
_QUIET = {
    EventType.STEP_COMPLETED,
    EventType.RUN_REQUESTED,
    EventType.DATA_CHANGED,
    EventType.TRIGGER_WATCHED,
}
"""Events that others say better; `everloop events` has them."""


def bring_up(start: Path, *, as_json: bool) -> None:
    """The whole loop until stopped; a second one in the same workspace is refused."""
    mail: Mail = queue.SimpleQueue()
    teller = _Json() if as_json else _Words()
    with stopping(on_stop=lambda: mail.put(None)) as stop, opened(start) as here, _alone(here):
        children = [_worker(here, mail), *_servers(here, mail)]
        up = _Up(
            workspace=here.workspace,
            controller=here.controller(),
            children={child.name: child for child in children},
            mail=mail,
            teller=teller,
            seen=_last_event(here.workspace),
        )
        teller.up(here)
        with running(children):
            up.run(stop, here.project.settings.worker.poll_seconds)
        teller.down()


@contextmanager
def _alone(here: Opened) -> Iterator[None]:
    presence = Presence(here.workspace.database, here.workspace.folder)
    if not presence.enter(CONTROLLER):
        raise Conflict(
            f"the loop of {here.project.settings.root} is up already.",
            next_step="`everloop status` shows how it is doing; stop the other one first.",
        )
    try:
        yield
    finally:
        presence.close()


def _worker(here: Opened, mail: Mail) -> Child:
    command = ["worker", "--project", str(here.project.settings.root)]
    return Child(name=WORKER, command=command, mail=mail)


def _servers(here: Opened, mail: Mail) -> list[Child]:
    """One for each endpoint, at the port of everloop.toml and the ones after it."""
    settings, root = here.project.settings.serving, str(here.project.settings.root)
    return [
        Child(
            name=f"server of {endpoint.name}",
            command=[
                "serve",
                endpoint.name,
                "--port",
                str(settings.port and settings.port + place),
                "-C",
                root,
            ],
            mail=mail,
        )
        for place, endpoint in enumerate(here.project.endpoints)
    ]


def _last_event(workspace: Workspace) -> int:
    with workspace.database.read() as tx:
        return tx.execute(select(func.max(events.c.seq))).scalar_one() or 0


@dataclass(slots=True, kw_only=True)
class _Up:
    """Look, tell what has happened, listen to the children; what it remembers is only what it has told."""

    workspace: Workspace
    controller: Controller
    children: Mapping[str, Child]
    mail: Mail
    teller: _Teller
    seen: int
    """Place in the ledger up to which events were told."""
    trouble: str = field(default="")

    def run(self, stop: Stop, pause: float) -> None:
        """Until stopped."""
        while not stop.asked:
            for child in self.children.values():
                child.look(time.monotonic())
            try:
                with stop.at_once():
                    self._look()
            except Stopped:  # a look that is cut short is like one that was never begun
                return
            self._listen(stop, time.monotonic() + pause)

    def _look(self) -> None:
        """One look of the controller. What goes wrong is told once, and tried again; it must not end the loop."""
        trouble = ""
        try:
            self.controller.tick()
            self._tell_news()
        except EverloopError as error:
            trouble = str(error)
            if trouble != self.trouble:
                self.teller.trouble(error)
        except Exception as error:  # noqa: BLE001 - a full disk or a database that restarts is over some day
            trouble = repr(error)
            if trouble != self.trouble:
                self.teller.trouble(EverloopError(traceback.format_exc().rstrip()))
        if self.trouble and not trouble:
            self.teller.over()
        self.trouble = trouble

    def _tell_news(self) -> None:
        with self.workspace.database.read() as tx:
            news = ledger.read(tx, after=self.seen)
        for event in news:
            self.seen = event.seq
            if event.short_type not in _QUIET:
                self.teller.event(event)

    def _listen(self, stop: Stop, until: float) -> None:
        """Hear what the children say until it is time to look again."""
        while not stop.asked and (left := until - time.monotonic()) > 0:
            try:
                said = self.mail.get(timeout=left)
            except queue.Empty:
                return
            if said is None:
                return
            self._hear(said)

    def _hear(self, said: Said) -> None:
        child = self.children[said.child]
        if said.ended is None:
            child.proven = True
            self.teller.said(said)
        elif not child.proven:
            raise Conflict(f"the {said.child} could not start.", next_step="see its reason above.")
        else:
            pause = child.fell(time.monotonic())
            self.teller.trouble(
                EverloopError(
                    f"the {said.child} ended with code {said.ended}; it is started again in {pause:g} s."
                )
            )


class _Teller(Protocol):
    """How a person, or a program, hears of it."""

    def up(self, here: Opened) -> None: ...
    def event(self, event: Event) -> None: ...
    def said(self, said: Said) -> None: ...
    def trouble(self, error: EverloopError) -> None: ...
    def over(self) -> None: ...
    def down(self) -> None: ...


class _Words:
    """For people."""

    def up(self, here: Opened) -> None:
        project = here.project
        parts = [
            counted(project.pipelines, "pipeline"),
            counted(project.endpoints, "endpoint"),
            counted(project.monitors, "monitor"),
            counted([rule for triggers in project.triggers for rule in triggers.rules], "trigger"),
        ]
        say((project.settings.module, "bold"), f" is up: {', '.join(parts)}  (Ctrl-C stops)")

    def event(self, event: Event) -> None:
        print_event(event)

    def said(self, said: Said) -> None:
        if said.message["type"] == "serving":
            say("serving ", (str(said.message["endpoint"]), "bold"), f" at {said.message['url']}")
        if said.message["type"] == "reloading":
            say("the project's code has changed, and the worker starts again with it; ", to=err)
            say("stop and start `everloop up` for changed triggers, monitors and endpoints", to=err)

    def trouble(self, error: EverloopError) -> None:
        complain(error)

    def over(self) -> None:
        say(("that is over", "green"), to=err)

    def down(self) -> None:
        say("stopped")


class _Json:
    """For programs: one JSON object a line; events are those of the ledger."""

    def up(self, here: Opened) -> None:
        print_json({"type": "up", "project": here.project.settings.module})

    def event(self, event: Event) -> None:
        print_json(event)

    def said(self, said: Said) -> None:
        if said.message["type"] in ("serving", "reloading"):
            print_json(said.message)

    def trouble(self, error: EverloopError) -> None:
        print_json({"type": "trouble", "reason": error.reason, "next_step": error.next_step})

    def over(self) -> None:
        print_json({"type": "over"})

    def down(self) -> None:
        print_json({"type": "stopped"})
