"""What each kind of trigger knows: what speaks for a run right now, and what is to be noted when it is first seen.

Asked by `loop/reasons.py` at every look of the controller, so nothing here may read what has been read before.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from sqlalchemy import Connection

from everloop.loop.decisions import Firing
from everloop.loop.triggers import Trigger
from everloop.storage.workspace import Workspace

R = TypeVar("R", bound=Trigger)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one look at a trigger came to."""

    standing: tuple[Firing, ...] = ()
    """Every reason that holds now, whether it is on the ledger of reasons or not; of events, those that are new."""
    answered: tuple[Firing, ...] = ()
    """Of those that wait, those that hold no more, as they stand now."""
    read_to: int | None = None
    """How far the event ledger has been read; None where there was nothing new."""


class TriggerKind(ABC, Generic[R]):
    """How the triggers of one kind find their reasons."""

    def watch(self, tx: Connection, workspace: Workspace, pipeline: str, rule: R) -> None:
        """Note that a trigger is there, once, if that matters."""

    def is_watched(self, tx: Connection, pipeline: str, rule: R) -> bool:
        """Whether there is nothing to note."""
        return True

    @abstractmethod
    def find(
        self, tx: Connection, workspace: Workspace, pipeline: str, rule: R, waiting: Sequence[Firing]
    ) -> Found:
        """Look; the same look twice finds the same. `waiting` are the trigger's own reasons that wait."""


def reason(pipeline: str, rule: Trigger, key: str, text: str, time: datetime) -> Firing:
    """A reason to run a pipeline, which nobody has decided on; its key is the same for the same reason, for ever."""
    return Firing(
        trigger=rule.name,
        key=f"{pipeline}/{key}",  # two pipelines may wait for the same thing
        kind=rule.kind,
        pipeline=pipeline,
        time=time,
        reason=text,
    )


def reader(pipeline: str, rule: Trigger) -> str:
    """Whose cursor it is, if a trigger reads the event ledger."""
    return f"triggers/{pipeline}/{rule.name}"
