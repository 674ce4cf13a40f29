"""The controller: look at the monitors, step the rollouts, act on the triggers; then look again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, select

from everloop.data.datasets import find_latest, list_batches
from everloop.data.files import collect
from everloop.loop.decisions import Decision, Firing, Situation, decide, newest_slot
from everloop.loop.firings import count_started, known_keys, list_firings, record
from everloop.loop.triggers import Decay, Drift, NewData, Schedule, Trigger, Triggers
from everloop.metadata.runs import list_runs, request_run
from everloop.monitoring.monitors import Monitor
from everloop.monitoring.watch import look
from everloop.pipelines.pipeline import Pipeline
from everloop.records.data import DataVerdict
from everloop.records.datasets import Dataset
from everloop.records.events import Event
from everloop.records.runs import Run, RunState
from everloop.rollout.controller import reconcile
from everloop.rollout.endpoint import Endpoint
from everloop.storage import ledger
from everloop.storage.schema import events
from everloop.storage.workspace import Workspace

WHO = "everloop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Controller:
    """Keeps a project's models fresh; it holds no state, so another one can take its place at any moment."""

    workspace: Workspace
    datasets: Sequence[Dataset]
    pipelines: Sequence[Pipeline]
    endpoints: Sequence[Endpoint]
    monitors: Sequence[Monitor]
    triggers: Sequence[Triggers]

    def tick(self) -> None:
        """One look at everything; doing it twice is the same as doing it once."""
        for dataset in self.datasets:
            collect(self.workspace, dataset)
        for monitor in self.monitors:
            look(self.workspace, monitor)
        for endpoint in self.endpoints:
            while reconcile(self.workspace, endpoint):
                pass
        for triggers in self.triggers:
            self._fire(triggers)

    def _fire(self, triggers: Triggers) -> None:
        with self.workspace.database.write() as tx:
            fresh = [firing for rule in triggers.rules for firing in self._due(tx, triggers.pipeline, rule)]
            pending = [*list_firings(tx, triggers.pipeline, Decision.WAITING), *fresh]
            if not pending:
                return
            outcome = decide(pending, self._situation(tx, triggers), triggers)
            run = self._start(tx, triggers.pipeline, outcome.firings) if outcome.start else None
            for firing in outcome.firings:
                self._record(tx, firing, pending, run)

    def _record(self, tx: Connection, firing: Firing, before: Sequence[Firing], run: Run | None) -> None:
        if run is not None and firing.run_id is None and firing.decision is not Decision.WAITING:
            firing = replace(firing, run_id=run.id)
        known = known_keys(tx, firing.trigger)
        if firing.key not in known or firing not in before:
            record(tx, self.workspace, firing)

    def _start(self, tx: Connection, pipeline: str, firings: Sequence[Firing]) -> Run:
        reasons = [
            f for f in firings if f.decision in (Decision.STARTED, Decision.COALESCED) and f.run_id is None
        ]
        first = next(firing for firing in reasons if firing.decision is Decision.STARTED)
        definition = next(p for p in self.pipelines if p.name == pipeline)
        return request_run(
            tx,
            self.workspace,
            pipeline=pipeline,
            key=f"{pipeline}/{first.trigger}/{first.key}",
            trigger=first.kind,
            reason="; ".join(firing.reason for firing in reasons),
            who=WHO,
            values=definition.fill({}),
        )

    def _situation(self, tx: Connection, triggers: Triggers) -> Situation:
        runs = list_runs(tx, pipeline=triggers.pipeline, limit=20)
        now = self.workspace.now()
        return Situation(
            now=now,
            queued=next((run.id for run in runs if run.state is RunState.START), None),
            running=next((run.id for run in runs if run.state is RunState.RUNNING), None),
            last_requested=runs[0].requested_at if runs else None,
            last_run=runs[0].id if runs else None,
            started_lately=count_started(tx, triggers.pipeline, now - triggers.per),
        )

    def _due(self, tx: Connection, pipeline: str, rule: Trigger) -> Iterator[Firing]:
        known = known_keys(tx, rule.name)
        for key, reason, time in self._reasons(tx, pipeline, rule):
            if key not in known:
                yield Firing(
                    trigger=rule.name, key=key, kind=rule.kind, pipeline=pipeline, time=time, reason=reason
                )

    def _reasons(self, tx: Connection, pipeline: str, rule: Trigger) -> Iterator[tuple[str, str, datetime]]:
        if isinstance(rule, Schedule):
            return self._by_clock(tx, rule)
        if isinstance(rule, NewData):
            return self._by_data(tx, pipeline, rule)
        return self._by_event(tx, rule)

    def _by_clock(self, tx: Connection, rule: Schedule) -> Iterator[tuple[str, str, datetime]]:
        since = _first_moment(tx) or self.workspace.now()
        slot = newest_slot(rule, since, self.workspace.now())
        if slot is not None:
            yield slot.isoformat(), f"the schedule {rule.cron} says {slot.isoformat()}", slot

    def _by_data(self, tx: Connection, pipeline: str, rule: NewData) -> Iterator[tuple[str, str, datetime]]:
        latest = find_latest(tx, rule.dataset)
        if latest is None:
            return
        seen_version, seen_rows = _last_read(tx, pipeline, rule.dataset)
        now = self.workspace.now()
        if latest.rows - seen_rows >= rule.rows:
            yield f"v{latest.version}", f"{rule.dataset} has {latest.rows - seen_rows:,} new rows", now
        for batch in list_batches(tx, rule.dataset) if rule.or_changed else ():
            if (
                batch.version is not None
                and batch.version > seen_version
                and batch.verdict is DataVerdict.RETRAIN
            ):
                yield (
                    f"changed-v{batch.version}",
                    f"values of {rule.dataset} changed: {_first(batch.findings)}",
                    batch.arrived_at,
                )

    def _by_event(self, tx: Connection, rule: Decay | Drift) -> Iterator[tuple[str, str, datetime]]:
        for event in ledger.read(tx, types=[rule.event], subject=rule.monitor):
            yield event.id, _told(event), event.time


def _first_moment(tx: Connection) -> datetime | None:
    """When this workspace's story began: a schedule is not made up for before it."""
    return tx.execute(select(events.c.time).order_by(events.c.seq).limit(1)).scalar_one_or_none()


def _last_read(tx: Connection, pipeline: str, dataset: str) -> tuple[int, int]:
    """Version and rows of a dataset that the newest run of a pipeline read; a failed run has read nothing."""
    for run in list_runs(tx, pipeline=pipeline):
        if run.state in (RunState.FAIL, RunState.ABORT):
            continue
        for pin in run.datasets:
            if pin.dataset == dataset:
                return pin.version, pin.rows
    return -1, 0


def _first(findings: Sequence[object]) -> str:
    return getattr(findings[0], "message", "") if findings else ""


def _told(event: Event) -> str:
    return str(event.data.get("because", event.short_type))
