"""What a decision looks at besides the reasons: the runs of a pipeline as the rows say it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Row, Select, select

from everloop.loop.decisions import Situation
from everloop.loop.firings import count_started
from everloop.loop.triggers import Triggers
from everloop.records.runs import RunState
from everloop.storage.schema import run_pins, runs

_OPEN = runs.c.state.in_([RunState.START.value, RunState.RUNNING.value])
_PINNED = runs.c.code.is_not(None)
FRESHENS = runs.c.register & runs.c.id.not_in(select(run_pins.c.run_id))
"""A run that registers what it makes of the newest data. Any other is an experiment: it answers no reason and none waits for
it; but while it is under way it is the pipeline's one run."""


def situation(tx: Connection, triggers: Triggers, now: datetime) -> Situation:
    """Asked at every tick, so it reads three columns of few rows and not whole runs."""
    unfinished = tx.execute(_newest(triggers.pipeline, _OPEN)).all()
    queued = [run.id for run in unfinished if not run.pinned and run.freshens]
    running = [run.id for run in unfinished if run.pinned]
    last = _first(tx, triggers.pipeline, FRESHENS)
    complete = _first(tx, triggers.pipeline, FRESHENS, runs.c.state == RunState.COMPLETE.value)
    return Situation(
        now=now,
        queued=queued[0] if queued else None,
        running=running[0] if running else None,
        last_requested=None if last is None else last.requested_at,
        last_complete=None if complete is None else (complete.id, complete.requested_at),
        started_lately=count_started(tx, triggers.pipeline, now - triggers.budget.per),
    )


def _newest(pipeline: str, *conditions: ColumnElement[bool]) -> Select[tuple[str, datetime, bool, bool]]:
    query = select(runs.c.id, runs.c.requested_at, _PINNED.label("pinned"), FRESHENS.label("freshens"))
    query = query.where(runs.c.pipeline == pipeline, *conditions)
    return query.order_by(runs.c.requested_at.desc(), runs.c.id.desc())


def _first(
    tx: Connection, pipeline: str, *conditions: ColumnElement[bool]
) -> Row[tuple[str, datetime, bool, bool]] | None:
    return tx.execute(_newest(pipeline, *conditions).limit(1)).one_or_none()
