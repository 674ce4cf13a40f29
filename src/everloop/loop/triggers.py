"""Five reasons to start a pipeline, declared in one place: by hand, by the clock, by new data, by decay, by drift."""

from __future__ import annotations

from dataclasses import dataclass
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
class Schedule:
    """At the times of a cron line, in a time zone; times that were missed are made up for once."""

    cron: str
    zone: str
    kind: ClassVar[str] = "schedule"

    @property
    def name(self) -> str:
        """How the ledger calls it."""
        return f"schedule {self.cron}"


@dataclass(frozen=True, slots=True)
class NewData:
    """When a dataset has grown by so many rows since the pipeline's last run, or its values have changed plausibly.

    A run that failed has read nothing. It is not tried again by itself: the next batch is the next reason.
    """

    dataset: str
    rows: int
    or_changed: bool
    kind: ClassVar[str] = "new_data"

    @property
    def name(self) -> str:
        """How the ledger calls it."""
        return f"new_data {self.dataset}"


@dataclass(frozen=True, slots=True)
class Decay:
    """When a monitor finds live performance worse than it was offline."""

    monitor: str
    kind: ClassVar[str] = "decay"
    event: ClassVar[EventType] = EventType.PERFORMANCE_DECAYED

    @property
    def name(self) -> str:
        """How the ledger calls it."""
        return f"decay {self.monitor}"


@dataclass(frozen=True, slots=True)
class Drift:
    """When a monitor raises the alarm over live inputs."""

    monitor: str
    kind: ClassVar[str] = "drift"
    event: ClassVar[EventType] = EventType.DRIFT_DETECTED

    @property
    def name(self) -> str:
        """How the ledger calls it."""
        return f"drift {self.monitor}"


Trigger = Schedule | NewData | Decay | Drift


def schedule(cron: str, *, zone: str = "UTC") -> Schedule:
    """Start at the times of a cron line: minute, hour, day, month, weekday.

    >>> schedule("0 6 1 */3 *", zone="America/New_York").name
    'schedule 0 6 1 */3 *'
    """
    fields = 'write five fields, like "0 6 * * 1".'
    if len(cron.split()) != 5:
        raise InvalidInput(f"schedule({cron!r}) has {len(cron.split())} fields.", next_step=fields)
    try:
        next(CronSim(cron, system_clock()))
        ZoneInfo(zone)
    except CronSimError as error:
        raise InvalidInput(f"schedule({cron!r}): {error}.", next_step=fields) from None
    except StopIteration:
        raise InvalidInput(f"schedule({cron!r}) never comes.", next_step=fields) from None
    except (ZoneInfoNotFoundError, ValueError):
        raise InvalidInput(
            f"schedule: there is no time zone {zone!r}.", next_step="use a name like Europe/Vienna."
        ) from None
    return Schedule(cron, zone)


def new_data(dataset: Dataset, *, rows: int, or_changed: bool = False) -> NewData:
    """Start when a dataset has this many rows more; with `or_changed`, also when the data gate says `retrain`."""
    if rows < 1:
        raise InvalidInput(f"new_data({dataset.name}, rows={rows}): at least one row must be new.")
    return NewData(dataset.name, rows, or_changed)


def decay(monitor: PerformanceMonitor) -> Decay:
    """Start when this monitor finds the champion's live performance decayed."""
    return Decay(monitor.name)


def drift(monitor: DriftMonitor) -> Drift:
    """Start when this monitor raises its alarm."""
    return Drift(monitor.name)


@dataclass(frozen=True, slots=True, init=False)
class Triggers:
    """The reasons for which one pipeline runs, and the limits that keep it from running away.

    Starting it by hand is always possible, and always on the ledger beside the others.
    """

    pipeline: str
    rules: tuple[Trigger, ...]
    cooldown: timedelta
    """After a run was asked for, reasons wait this long and then start one run together."""
    at_most: int
    """How many runs these reasons may start in `per`."""
    per: timedelta

    def __init__(
        self,
        pipeline: Pipeline,
        *rules: Trigger,
        cooldown: timedelta = timedelta(hours=1),
        at_most: int = 24,
        per: timedelta = timedelta(days=1),
    ) -> None:
        _check(pipeline, rules)
        if cooldown < timedelta(0) or at_most < 1 or per <= timedelta(0):
            raise InvalidInput(
                f"triggers of {pipeline.name}: cooldown must not be below zero, at_most and per must be above it."
            )
        object.__setattr__(self, "pipeline", pipeline.name)
        object.__setattr__(self, "rules", rules)
        object.__setattr__(self, "cooldown", cooldown)
        object.__setattr__(self, "at_most", at_most)
        object.__setattr__(self, "per", per)


def _check(pipeline: Pipeline, rules: tuple[Trigger, ...]) -> None:
    names = [rule.name for rule in rules]
    for name in names:
        if names.count(name) > 1:
            raise InvalidInput(f"triggers of {pipeline.name}: {name} stands there twice.")
        if len(name) > _LONGEST_NAME:
            raise InvalidInput(f"triggers of {pipeline.name}: {name} is longer than {_LONGEST_NAME} letters.")
    asked_for = [name for name, (_, default) in pipeline.params.items() if default is Parameter.empty]
    if asked_for:
        raise InvalidInput(
            f"triggers of {pipeline.name}: nobody would be there to give its param {', '.join(asked_for)}.",
            next_step=f"give it a default, like `{asked_for[0]}: … = …`.",
        )
