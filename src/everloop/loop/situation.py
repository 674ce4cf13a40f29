"""What a decision looks at besides the reasons: the runs of a pipeline as the rows say it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from everloop.loop.decisions import Situation
from everloop.loop.triggers import ON_DEMAND, Triggers
from everloop.metadata.freshness import count_requested, find_newest_fresh
from everloop.metadata.runs import list_open_runs
from everloop.records.runs import RunState


def situation(tx: Connection, triggers: Triggers, now: datetime) -> Situation:
    """Asked at every tick, so it reads the open runs and of all others only the newest."""
    pipeline = triggers.pipeline
    newest_first = list_open_runs(tx, pipeline)[::-1]
    queued = [run.id for run in newest_first if run.code is None and run.freshens]
    running = [run.id for run in newest_first if run.code is not None]
    last = find_newest_fresh(tx, pipeline)
    complete = find_newest_fresh(tx, pipeline, states=[RunState.COMPLETE])
    return Situation(
        now=now,
        queued=queued[0] if queued else None,
        running=running[0] if running else None,
        last_requested=None if last is None else last.requested_at,
        last_complete=None if complete is None else (complete.id, complete.requested_at),
        started_lately=count_requested(tx, pipeline, since=now - triggers.budget.per, but=ON_DEMAND),
    )
