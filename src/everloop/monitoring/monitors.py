"""What a user declares to be watched: live performance against its label, live inputs against the training data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Protocol

from everloop.errors import InvalidInput
from everloop.evaluation.metric import Metric, get_metric
from everloop.records.events import EventType
from everloop.records.names import as_names, check_name


class Watched(Protocol):
    """An endpoint, as far as a monitor needs to know it."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def model(self) -> str:
        """The registered model behind it."""


@dataclass(frozen=True, slots=True, init=False)
class PerformanceMonitor:
    """Watches a metric of the champion, by its name or one of your own, on labelled live predictions.

    A window is looked at when its newest prediction is `maturity` old, so that labels had time to come. The metric
    has decayed when it is worse than the champion's offline estimate by `worse_by` or more, and that is not luck.
    Fewer labels than `min_labels` mean unknown, never good.

    >>> from everloop import Endpoint, RegisteredModel
    >>> late = Endpoint(model=RegisteredModel("late"))
    >>> weekly = PerformanceMonitor("late_performance", late, metric="log_loss", worse_by=0.05)
    >>> weekly.model, weekly.window.days, weekly.min_labels
    ('late', 7, 200)
    """

    name: str
    endpoint: str
    model: str
    metric: Metric
    worse_by: float
    window: timedelta
    maturity: timedelta
    min_labels: int
    kind: ClassVar[str] = "performance"
    event: ClassVar[EventType] = EventType.PERFORMANCE_DECAYED

    def __init__(
        self,
        name: str,
        endpoint: Watched,
        *,
        metric: str | Metric = "log_loss",
        worse_by: float,
        window: timedelta = timedelta(days=7),
        maturity: timedelta = timedelta(days=1),
        min_labels: int = 200,
    ) -> None:
        check_name(name, "a monitor")
        if not worse_by >= 0:
            raise InvalidInput(
                f"monitor {name}: worse_by={worse_by} must be 0 or more.",
                next_step="give 0, or how much worse it may be.",
            )
        _check_spans(name, window, maturity, min_labels=min_labels)
        _set(
            self,
            name=name,
            endpoint=endpoint.name,
            model=endpoint.model,
            metric=get_metric(metric, asked_by=f"monitor {name}"),
            worse_by=float(worse_by),
        )
        _set(self, window=window, maturity=maturity, min_labels=min_labels)


@dataclass(frozen=True, slots=True, init=False)
class DriftMonitor:
    """Watches the inputs of live requests against the data that the champion was trained on.

    What moved is the verdict and always written down. Only a move in the columns of `alarm_on` (all, if empty)
    that are not in `ignore` is an alarm that a trigger reads, and only if it is large: a distribution by `effect`
    (0 the same, 1 no overlap), a mean by `deviations` of the training data. Seasons move the weather every month,
    and that is no reason to train.

    >>> from everloop import Endpoint, RegisteredModel
    >>> late = Endpoint(model=RegisteredModel("late"))
    >>> DriftMonitor("late_inputs", late, effect=0.2, ignore="temp").ignore
    ('temp',)
    """

    name: str
    endpoint: str
    model: str
    window: timedelta
    min_requests: int
    effect: float
    deviations: float
    alarm_on: tuple[str, ...]
    ignore: tuple[str, ...]
    maturity: ClassVar[timedelta] = timedelta(0)  # it waits for no labels
    kind: ClassVar[str] = "drift"
    event: ClassVar[EventType] = EventType.DRIFT_DETECTED

    def __init__(
        self,
        name: str,
        endpoint: Watched,
        *,
        window: timedelta = timedelta(days=7),
        min_requests: int = 200,
        effect: float = 0.1,
        deviations: float = 0.5,
        alarm_on: str | Sequence[str] = (),
        ignore: str | Sequence[str] = (),
    ) -> None:
        check_name(name, "a monitor")
        if not 0 < effect < 1:
            raise InvalidInput(
                f"monitor {name}: effect={effect} must lie between 0 and 1.",
                next_step="give a share like 0.2.",
            )
        if not deviations > 0:
            raise InvalidInput(
                f"monitor {name}: deviations={deviations} must be above 0.",
                next_step="give a number above 0.",
            )
        _check_spans(name, window, timedelta(0), min_requests=min_requests)
        _set(
            self,
            name=name,
            endpoint=endpoint.name,
            model=endpoint.model,
            window=window,
            min_requests=min_requests,
        )
        _set(
            self,
            effect=float(effect),
            deviations=float(deviations),
            alarm_on=as_names(alarm_on),
            ignore=as_names(ignore),
        )


Monitor = PerformanceMonitor | DriftMonitor


def _check_spans(name: str, window: timedelta, maturity: timedelta, **fewest: int) -> None:
    for what, number in fewest.items():
        if number < 2:
            raise InvalidInput(
                f"monitor {name}: {what}={number}; nothing can be told from fewer than 2 rows.",
                next_step="give 2 or more; 200 is the default.",
            )
    if window <= timedelta(0) or maturity < timedelta(0):
        raise InvalidInput(
            f"monitor {name}: the window must be longer than nothing, and maturity not below it.",
            next_step="give both as a timedelta.",
        )


def _set(record: object, **values: object) -> None:
    for name, value in values.items():
        object.__setattr__(record, name, value)
