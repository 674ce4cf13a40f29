"""From what is known to what is started: pure functions, so that a year of triggers runs in a millisecond of test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from cronsim import CronSim

from everloop.loop.triggers import Schedule, Triggers


class Decision(StrEnum):
    """What became of a firing."""

    STARTED = "started"
    COALESCED = "coalesced"
    """Another reason started a run at the same moment, or one was queued already; it serves both."""
    ANSWERED = "answered"
    """A run that was asked for after the reason arose has dealt with it."""
    WAITING = "waiting"


@dataclass(frozen=True, slots=True, kw_only=True)
class Firing:
    """One reason to run a pipeline, and what became of it."""

    trigger: str
    key: str
    kind: str
    pipeline: str
    time: datetime
    reason: str
    decision: Decision = Decision.WAITING
    because: str = ""
    run_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What a decision looks at besides the firings."""

    now: datetime
    queued: str | None
    """A run that waits for a worker."""
    running: str | None
    last_requested: datetime | None
    last_run: str | None
    started_lately: int
    """Runs that triggers have started within the budget's span."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The firings as they now stand, and whether they start a run together."""

    firings: tuple[Firing, ...]
    start: bool


def newest_slot(rule: Schedule, since: datetime, now: datetime) -> datetime | None:
    """The last time of the schedule in (since, now]; earlier ones that were missed are made up for by it.

    >>> from datetime import UTC
    >>> monday = Schedule("0 6 * * 1", "UTC")
    >>> newest_slot(monday, datetime(2013, 1, 1, tzinfo=UTC), datetime(2013, 1, 20, tzinfo=UTC)).isoformat()
    '2013-01-14T06:00:00+00:00'
    """
    slot = next(
        CronSim(rule.cron, now.astimezone(ZoneInfo(rule.zone)) + timedelta(seconds=1), reverse=True), None
    )
    return slot if slot is not None and since < slot <= now else None


def decide(pending: Sequence[Firing], situation: Situation, limits: Triggers) -> Outcome:
    """What becomes of the firings that wait: at most one run running, one queued, within cool-down and budget."""
    answered = [_answered(firing, situation) for firing in pending]
    waiting = [firing for firing in answered if firing.decision is Decision.WAITING]
    settled = tuple(firing for firing in answered if firing.decision is not Decision.WAITING)
    if not waiting:
        return Outcome(firings=settled, start=False)
    if situation.queued is not None:
        joined = (_joins(firing, situation.queued) for firing in waiting)
        return Outcome(firings=(*settled, *joined), start=False)
    obstacle = _obstacle(situation, limits)
    if obstacle is not None:
        held = (replace(firing, because=obstacle) for firing in waiting)
        return Outcome(firings=(*settled, *held), start=False)
    first, rest = waiting[0], waiting[1:]
    started = replace(first, decision=Decision.STARTED, because="nothing stood in its way")
    together = (
        replace(firing, decision=Decision.COALESCED, because=f"together with {first.trigger}")
        for firing in rest
    )
    return Outcome(firings=(*settled, started, *together), start=True)


def _answered(firing: Firing, situation: Situation) -> Firing:
    last = situation.last_requested
    if last is None or last < firing.time or situation.queued is not None:
        return firing
    because = "a run was asked for after this reason arose"
    return replace(firing, decision=Decision.ANSWERED, because=because, run_id=situation.last_run)


def _joins(firing: Firing, run_id: str) -> Firing:
    return replace(firing, decision=Decision.COALESCED, because="a run was already queued", run_id=run_id)


def _obstacle(situation: Situation, limits: Triggers) -> str | None:
    if situation.running is not None:
        return f"run {situation.running} is under way; one at a time"
    if situation.last_requested is not None and situation.now < situation.last_requested + limits.cooldown:
        return f"cooling down until {(situation.last_requested + limits.cooldown).isoformat()}"
    if situation.started_lately >= limits.at_most:
        return f"the budget of {limits.at_most} runs in {limits.per} is used up"
    return None
