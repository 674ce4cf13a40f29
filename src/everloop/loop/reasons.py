"""What speaks for a run of a pipeline right now, trigger by trigger, as the rows say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from everloop.loop.decisions import Decision, Firing
from everloop.loop.firings import list_firings, list_known
from everloop.loop.kinds import TRIGGERS
from everloop.loop.kinds.kind import reader
from everloop.loop.triggers import Triggers
from everloop.storage.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Reasons:
    """The reasons of one pipeline that have not become a run yet."""

    waiting: tuple[Firing, ...]
    """On the ledger, and waiting."""
    new: tuple[Firing, ...]
    """Not on the ledger yet."""
    answered: tuple[Firing, ...]
    """Of those that wait, those that hold no more, as they stand now."""
    read_to: Mapping[str, int]
    """How far each reader of the ledger has come with these."""

    def pending(self) -> list[Firing]:
        """What is to be decided on, oldest first."""
        settled = {(firing.trigger, firing.key) for firing in self.answered}
        waiting = [firing for firing in self.waiting if (firing.trigger, firing.key) not in settled]
        return [*waiting, *sorted(self.new, key=lambda firing: firing.time)]


def reasons(tx: Connection, workspace: Workspace, triggers: Triggers) -> Reasons:
    """Look at every trigger; the same look twice finds the same."""
    pipeline = triggers.pipeline
    waiting = list_firings(tx, pipeline, Decision.WAITING)
    new: list[Firing] = []
    answered: list[Firing] = []
    read_to: dict[str, int] = {}
    for rule in triggers.rules:
        mine = [firing for firing in waiting if firing.trigger == rule.name]
        found = TRIGGERS[type(rule)].find(tx, workspace, pipeline, rule, mine)
        known = list_known(tx, rule.name, [firing.key for firing in found.standing])
        new += [firing for firing in found.standing if firing.key not in known]
        answered += found.answered
        if found.read_to is not None:
            read_to[reader(pipeline, rule)] = found.read_to
    return Reasons(waiting=tuple(waiting), new=tuple(new), answered=tuple(answered), read_to=read_to)


def watch(tx: Connection, workspace: Workspace, triggers: Triggers) -> None:
    """Note of each trigger that it was seen, where that matters."""
    for rule in triggers.rules:
        TRIGGERS[type(rule)].watch(tx, workspace, triggers.pipeline, rule)


def is_watched(tx: Connection, triggers: Triggers) -> bool:
    """Whether there is nothing to note."""
    return all(TRIGGERS[type(rule)].is_watched(tx, triggers.pipeline, rule) for rule in triggers.rules)
