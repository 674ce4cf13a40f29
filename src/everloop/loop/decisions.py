"""From what is known to what is started: pure functions, so that a year of triggers runs in a millisecond of test.

On days on which the clocks change, a careless step makes a run come twice, an hour off or not at all:
`tests/loop/test_slots.py` asks every minute instead. What becomes of reasons is shown by `tests/loop/test_decide.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import takewhile
from zoneinfo import ZoneInfo

from cronsim import CronSim

from everloop.loop.triggers import ScheduleTrigger, Triggers


class Decision(StrEnum):
    """What became of a firing."""

    STARTED = "started"
    COALESCED = "coalesced"
    """Another reason started a run at the same moment, or one was queued already; it serves both."""
    ANSWERED = "answered"
    """A run that was asked for after the reason arose, or that has read the data, has dealt with it."""
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
    """A run that has not chosen its data yet, so that whatever is here now is its business, too."""
    running: str | None
    """A run that has."""
    last_requested: datetime | None
    last_complete: tuple[str, datetime] | None
    """The newest run that did not fail, and when it was asked for."""
    started_lately: int
    """Runs that triggers have started within the budget's span."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """The firings as they now stand, and whether they start a run together."""

    firings: tuple[Firing, ...]
    start: bool


def newest_slot(rule: ScheduleTrigger, since: datetime, now: datetime) -> datetime | None:
    """The last time of the schedule in (since, now], in UTC; earlier ones that were missed are made up for by it.

    Days on which the clocks change are taken as Debian's cron takes them. A fixed time that falls into the hour that is
    left out comes right after it, and one in the hour that comes twice comes once; a line that begins its minutes or hours
    with a star is true to the clock on the wall and may miss, or see twice, what the wall does.

    >>> monday = ScheduleTrigger("0 6 * * 1", "UTC")
    >>> newest_slot(monday, datetime(2013, 1, 1, tzinfo=UTC), datetime(2013, 1, 20, tzinfo=UTC)).isoformat()
    '2013-01-14T06:00:00+00:00'
    """
    # Forward from ever earlier moments: looking back, the library may pass over a time within an hour that comes twice,
    # and finds no end near a day that was left out.
    zone, span = ZoneInfo(rule.timezone), timedelta(hours=1)
    while True:
        begin = max(since, now - span)
        newest = _last(takewhile(lambda slot: slot <= now, _real(CronSim(rule.cron, begin.astimezone(zone)))))
        if newest is not None or begin == since:
            return newest
        span *= 8


def _last(slots: Iterator[datetime]) -> datetime | None:
    last = deque(slots, maxlen=1)
    return last[0] if last else None


def _real(slots: Iterator[datetime]) -> Iterator[datetime]:
    """The slots in UTC, without those that no clock on the wall has shown: the library names a midnight left out."""
    for slot in slots:
        moment = slot.astimezone(UTC)
        if moment.astimezone(slot.tzinfo).replace(tzinfo=None) == slot.replace(tzinfo=None):
            yield moment


def decide(pending: Sequence[Firing], situation: Situation, limits: Triggers) -> Decisions:
    """What becomes of the firings that wait: at most one run running, one queued, within cool-down and budget."""
    answered = [_answered(firing, situation) for firing in pending]
    waiting = [firing for firing in answered if firing.decision is Decision.WAITING]
    settled = tuple(firing for firing in answered if firing.decision is not Decision.WAITING)
    if not waiting:
        return Decisions(firings=settled, start=False)
    if situation.queued is not None:
        joined = (_joins(firing, situation.queued) for firing in waiting)
        return Decisions(firings=(*settled, *joined), start=False)
    obstacle = _obstacle(situation, limits)
    if obstacle is not None:
        held = (replace(firing, because=obstacle) for firing in waiting)
        return Decisions(firings=(*settled, *held), start=False)
    first, rest = waiting[0], waiting[1:]
    started = replace(first, decision=Decision.STARTED, because="nothing stood in its way")
    together = (
        replace(firing, decision=Decision.COALESCED, because=f"together with {first.trigger}")
        for firing in rest
    )
    return Decisions(firings=(*settled, started, *together), start=True)


def _answered(firing: Firing, situation: Situation) -> Firing:
    if situation.last_complete is None or situation.queued is not None:
        return firing
    run_id, requested_at = situation.last_complete
    if requested_at <= firing.time:
        return firing
    because = "a run that was asked for after this reason arose is complete"
    return replace(firing, decision=Decision.ANSWERED, because=because, run_id=run_id)


def _joins(firing: Firing, run_id: str) -> Firing:
    return replace(firing, decision=Decision.COALESCED, because="a run was already queued", run_id=run_id)


def _obstacle(situation: Situation, limits: Triggers) -> str | None:
    if situation.running is not None:
        return f"run {situation.running} is under way; one at a time"
    if situation.last_requested is not None and situation.now < situation.last_requested + limits.cooldown:
        return f"cooling down until {(situation.last_requested + limits.cooldown).isoformat()}"
    if situation.started_lately >= limits.budget.runs:
        return f"the budget of {limits.budget.runs} runs in {limits.budget.per} is used up"
    return None
