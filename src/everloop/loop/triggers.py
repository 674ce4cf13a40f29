"""Five reasons to start a pipeline, declared in one place: by hand, by the clock, by new data, by decay, by drift."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from inspect import Parameter
from typing import ClassVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from everloop.clock import system_clock
from everloop.errors import InvalidInput
from everloop.monitoring.monitors import DriftMonitor, PerformanceMonitor
from everloop.pipelines.pipeline import Pipeline
from everloop.records.datasets import Dataset
from everloop.records.events import EventType

ON_DEMAND = "on_demand"
_LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class ScheduleTrigger:
    """At the times of a cron line, in a time zone; times that were missed are made up for once."""

    cron: str
    timezone: str
    kind: ClassVar[str] = "schedule"
    dataset: ClassVar[None] = None
    monitor: ClassVar[None] = None

    @property
    def name(self) -> str:
        """How the ledger calls it."""
        return f"schedule {self.cron}"


@dataclass(frozen=True, slots=True)
class NewDataTrigger:
    """When a dataset has grown by so many rows since the pipeline's last run, or its values have changed plausibly.

    A run that failed has read nothing. It is not tried again by itself: the next batch is the next reason.
    """

    dataset: str
    rows: int
    or_changed: bool
    kind: ClassVar[str] = "new_data"
    monitor: ClassVar[None] = None

    @property
    def name(self) -> str:
        """How the ledger calls it."""
        return f"new_data {self.dataset}"


@dataclass(frozen=True, slots=True)
class DecayTrigger:
    """When a monitor finds live performance worse than it was offline."""

    monitor: str
    kind: ClassVar[str] = "decay"
    dataset: ClassVar[None] = None
    event: ClassVar[EventType] = PerformanceMonitor.event

    @property
    def name(self) -> str:
        """How the ledger calls it."""
        return f"decay {self.monitor}"


@dataclass(frozen=True, slots=True)
class DriftTrigger:
    """When a monitor raises the alarm over live inputs."""

    monitor: str
    kind: ClassVar[str] = "drift"
    dataset: ClassVar[None] = None
    event: ClassVar[EventType] = DriftMonitor.event

    @property
    def name(self) -> str:
        """How the ledger calls it."""
        return f"drift {self.monitor}"


MonitorTrigger = DecayTrigger | DriftTrigger
Trigger = ScheduleTrigger | NewDataTrigger | MonitorTrigger
"""Each says by `kind` and `name` what it is, and by `dataset` and `monitor` what the project has to declare for it."""


def on_schedule(cron: str, *, timezone: str = "UTC") -> ScheduleTrigger:
    """Start at the times of a cron line: minute, hour, day, month, weekday.

    >>> on_schedule("0 6 1 */3 *", timezone="America/New_York").name
    'schedule 0 6 1 */3 *'
    """
    fields = 'write five fields, like "0 6 * * 1".'
    if len(cron.split()) != 5:
        raise InvalidInput(f"on_schedule({cron!r}) has {len(cron.split())} fields.", next_step=fields)
    try:
        next(CronSim(cron, system_clock()))
        ZoneInfo(timezone)
    except CronSimError as error:
        raise InvalidInput(f"on_schedule({cron!r}): {error}.", next_step=fields) from None
    except StopIteration:
        raise InvalidInput(f"on_schedule({cron!r}) never comes.", next_step=fields) from None
    except (ZoneInfoNotFoundError, ValueError):
        raise InvalidInput(
            f"on_schedule: there is no time zone {timezone!r}.", next_step="use a name like Europe/Vienna."
        ) from None
    return ScheduleTrigger(cron, timezone)


def on_new_data(dataset: Dataset, *, rows: int, or_changed: bool = False) -> NewDataTrigger:
    """Start when a dataset has this many rows more; with `or_changed`, also when the data gate says `retrain`.

    >>> flights = Dataset("flights", keys="id", event_time="departs_at")
    >>> on_new_data(flights, rows=50_000).name
    'new_data flights'
    """
    if rows < 1:
        raise InvalidInput(
            f"on_new_data({dataset.name}, rows={rows}): at least one row must be new.",
            next_step="give the number of new rows that are worth a run.",
        )
    return NewDataTrigger(dataset.name, rows, or_changed)


def on_decay(monitor: PerformanceMonitor) -> DecayTrigger:
    """Start when this monitor finds the champion's live performance decayed.

    >>> from everloop import Endpoint, RegisteredModel
    >>> late = Endpoint(model=RegisteredModel("late"))
    >>> on_decay(PerformanceMonitor("late_performance", late, worse_by=0.05)).name
    'decay late_performance'
    """
    if not isinstance(monitor, PerformanceMonitor):
        raise InvalidInput(f"on_decay({monitor!r}) takes a PerformanceMonitor.", next_step="give it one.")
    return DecayTrigger(monitor.name)


def on_drift(monitor: DriftMonitor) -> DriftTrigger:
    """Start when this monitor raises its alarm.

    >>> from everloop import Endpoint, RegisteredModel
    >>> on_drift(DriftMonitor("late_inputs", Endpoint(model=RegisteredModel("late")))).name
    'drift late_inputs'
    """
    if not isinstance(monitor, DriftMonitor):
        raise InvalidInput(f"on_drift({monitor!r}) takes a DriftMonitor.", next_step="give it one.")
    return DriftTrigger(monitor.name)


@dataclass(frozen=True, slots=True)
class Budget:
    """How many runs may be started in how long a time.

    >>> Budget(3, per=timedelta(days=30)).runs
    3
    """

    runs: int
    per: timedelta = field(kw_only=True)

    def __post_init__(self) -> None:
        if self.runs < 1 or not isinstance(self.per, timedelta) or self.per <= timedelta(0):
            raise InvalidInput(
                f"a budget of {self.runs!r} runs per {self.per!r} allows none.",
                next_step="give 1 run or more and a timedelta above zero: Budget(3, per=timedelta(days=30)).",
            )


_USUAL_BUDGET = Budget(24, per=timedelta(days=1))


@dataclass(frozen=True, slots=True, init=False)
class Triggers:
    """The reasons for which one pipeline runs, and the limits that keep it from running away.

    Starting it by hand is always possible, and always on the ledger beside the others.

    >>> from everloop import pipeline, step
    >>> @step
    ... def train(trees: int) -> float: ...
    >>> @pipeline
    ... def keep_fresh(trees: int = 60) -> None:
    ...     train(trees)
    >>> weekly = Triggers(keep_fresh, on_schedule("0 6 * * 1"), budget=Budget(3, per=timedelta(days=30)))
    >>> weekly.pipeline, [rule.name for rule in weekly.rules]
    ('keep_fresh', ['schedule 0 6 * * 1'])
    """

    pipeline: str
    rules: tuple[Trigger, ...]
    cooldown: timedelta
    """After a run was asked for, reasons wait this long and then start one run together."""
    budget: Budget
    """How many runs these reasons may start."""

    def __init__(
        self,
        pipeline: Pipeline,
        *rules: Trigger,
        cooldown: timedelta = timedelta(hours=1),
        budget: Budget = _USUAL_BUDGET,
    ) -> None:
        _check(pipeline, rules)
        if not isinstance(cooldown, timedelta) or cooldown < timedelta(0):
            raise InvalidInput(
                f"triggers of {pipeline.name}: cooldown={cooldown!r} is no pause.",
                next_step="give a timedelta; timedelta(0) for none.",
            )
        if not isinstance(budget, Budget):
            raise InvalidInput(
                f"triggers of {pipeline.name}: budget={budget!r} is no budget.",
                next_step="write it like Budget(3, per=timedelta(days=30)).",
            )
        object.__setattr__(self, "pipeline", pipeline.name)
        object.__setattr__(self, "rules", rules)
        object.__setattr__(self, "cooldown", cooldown)
        object.__setattr__(self, "budget", budget)


def _check(pipeline: Pipeline, rules: tuple[Trigger, ...]) -> None:
    for rule in rules:
        if not isinstance(rule, Trigger):
            raise InvalidInput(
                f"triggers of {pipeline.name}: {rule!r} is no trigger.",
                next_step="make each with on_schedule, on_new_data, on_decay or on_drift.",
            )
    names = [rule.name for rule in rules]
    for name in names:
        if names.count(name) > 1:
            raise InvalidInput(
                f"triggers of {pipeline.name}: {name} stands there twice.", next_step="take one out."
            )
        if len(name) > _LONGEST_NAME:
            raise InvalidInput(
                f"triggers of {pipeline.name}: {name} is longer than {_LONGEST_NAME} letters.",
                next_step="write it shorter.",
            )
    asked_for = [name for name, (_, default) in pipeline.params.items() if default is Parameter.empty]
    if asked_for:
        raise InvalidInput(
            f"triggers of {pipeline.name}: nobody would be there to give its param {', '.join(asked_for)}.",
            next_step=f"give it a default, like `{asked_for[0]}: … = …`.",
        )
