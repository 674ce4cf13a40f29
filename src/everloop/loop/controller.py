"""The controller: look at the monitors, step the rollouts, act on the triggers; then look again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from sqlalchemy import Connection

from everloop.data.files import collect
from everloop.errors import EverloopError, ProjectError
from everloop.loop.decisions import Decision, Firing, decide
from everloop.loop.firings import record
from everloop.loop.reasons import is_watched, reasons, watch
from everloop.loop.situation import situation
from everloop.loop.triggers import Triggers
from everloop.metadata.runs import request_run
from everloop.monitoring.monitors import Monitor
from everloop.monitoring.watch import evaluate_window
from everloop.pipelines.pipeline import Pipeline
from everloop.records.datasets import Dataset
from everloop.records.runs import Run
from everloop.rollout.controller import settle
from everloop.rollout.endpoint import Endpoint
from everloop.storage import cursors
from everloop.storage.workspace import Workspace

WHO = "everloop"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    """What is new about a pipeline's reasons, and whether they start a run."""

    changes: tuple[Firing, ...]
    start: bool
    read_to: Mapping[str, int]
    """How far each reader of the ledger has come with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Controller:
    """Keeps a project's models fresh; it holds no state, so another one can take its place at any moment."""

    workspace: Workspace
    datasets: Sequence[Dataset]
    pipelines: Sequence[Pipeline]
    endpoints: Sequence[Endpoint]
    monitors: Sequence[Monitor]
    triggers: Sequence[Triggers]

    def __post_init__(self) -> None:
        named = [triggers.pipeline for triggers in self.triggers]
        for name in named:
            if named.count(name) > 1:
                raise ProjectError(
                    f"pipeline {name!r} has two Triggers, each with limits of its own.",
                    next_step="put all of its reasons into one.",
                )
        for triggers in self.triggers:
            _check_read(self._pipeline(triggers.pipeline), triggers)

    def tick(self) -> None:
        """One look at everything; doing it twice is the same as doing it once.

        A file that cannot be read must not keep a rollout from being rolled back: every part gets its turn, and what went
        wrong, even if it is a fault of everloop's own, is raised at the end.
        """
        errors: list[Exception] = []
        for part in self._parts():
            try:
                part()
            except Exception as error:  # noqa: BLE001 - raised below, when the other parts have had their turn
                errors.append(error)
        if errors:
            raise _as_one(errors)

    def _parts(self) -> Iterator[Callable[[], object]]:
        for dataset in self.datasets:
            yield partial(collect, self.workspace, dataset)
        for monitor in self.monitors:
            yield partial(evaluate_window, self.workspace, monitor)
        for endpoint in self.endpoints:
            yield partial(settle, self.workspace, endpoint)
        for triggers in self.triggers:
            yield partial(self._fire, triggers)

    def _fire(self, triggers: Triggers) -> None:
        with self.workspace.database.read() as tx:
            turn = self._turn(tx, triggers)
            if is_watched(tx, triggers) and not turn.changes and not turn.read_to:
                return
        with self.workspace.database.write() as tx:
            watch(tx, self.workspace, triggers)
            turn = self._turn(tx, triggers)  # anew: another controller may have been here meanwhile
            run = self._start(tx, triggers.pipeline, turn.changes) if turn.start else None
            for firing in turn.changes:
                record(tx, self.workspace, _with_run(firing, run))
            for reader, seq in turn.read_to.items():
                cursors.advance(tx, reader, seq)

    def _turn(self, tx: Connection, triggers: Triggers) -> _Turn:
        found = reasons(tx, self.workspace, triggers)
        outcome = decide(found.pending(), situation(tx, triggers, self.workspace.now()), triggers)
        firings = (*found.answered, *outcome.firings)
        changes = tuple(firing for firing in firings if firing not in found.waiting)
        return _Turn(changes=changes, start=outcome.start, read_to=found.read_to)

    def _start(self, tx: Connection, pipeline: str, changes: Sequence[Firing]) -> Run:
        joined = [firing for firing in changes if _joins_the_start(firing)]
        first = next(firing for firing in joined if firing.decision is Decision.STARTED)
        return request_run(
            tx,
            self.workspace,
            pipeline=pipeline,
            key=f"{first.trigger}/{first.key}",
            trigger=first.kind,
            reason="; ".join(firing.reason for firing in joined),
            who=WHO,
            values=self._pipeline(pipeline).fill({}),
        )

    def _pipeline(self, name: str) -> Pipeline:
        for pipeline in self.pipelines:
            if pipeline.name == name:
                return pipeline
        raise ProjectError(
            f"triggers name pipeline {name!r}, which the project does not have.",
            next_step="declare it at the top level of the module.",
        )


def _as_one(errors: Sequence[Exception]) -> Exception:
    """The error itself if it is the only one; a fault with its traceback; of several that a user can mend, all."""
    faults = [error for error in errors if not isinstance(error, EverloopError)]
    if faults or len(errors) == 1:
        return (faults or errors)[0]
    return EverloopError(
        " ".join(str(error) for error in errors),
        next_step="mend one after the other; everything else goes on meanwhile.",
    )


def _check_read(pipeline: Pipeline, triggers: Triggers) -> None:
    read = pipeline.graph.datasets()
    for rule in triggers.rules:
        if rule.dataset is not None and rule.dataset not in read:
            raise ProjectError(
                f"new data of {rule.dataset} starts pipeline {pipeline.name}, which does not read it.",
                next_step=f"it reads {', '.join(read) or 'nothing'}.",
            )


def _joins_the_start(firing: Firing) -> bool:
    return firing.decision in (Decision.STARTED, Decision.COALESCED) and firing.run_id is None


def _with_run(firing: Firing, run: Run | None) -> Firing:
    return replace(firing, run_id=run.id) if run is not None and _joins_the_start(firing) else firing
