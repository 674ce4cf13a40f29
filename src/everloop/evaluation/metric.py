"""What a metric is: a row of a table, which gates, monitors, judges and tables ask.

Read by every room that measures a model. To add a metric, write its functions into a file of this room and its row into
`METRICS`; a user adds one with `Metric(…)`. Nothing here loads numpy, so that a command line starts at once: rows find
their functions when they are called.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from everloop.errors import InvalidInput, shown
from everloop.evaluation.records import Estimate
from everloop.records.models import Task
from everloop.records.names import NAME

if TYPE_CHECKING:
    import numpy.typing as npt

    Array: TypeAlias = npt.NDArray[Any]

_ENDS = ("_low", "_high")  # the ends of an interval are kept under the metric's name and these


@dataclass(frozen=True, slots=True)
class Metric:
    """A number that says how good a model is, and all that has to be known of it to gate, watch and judge by it.

    Most metrics are a mean of what each row costs, and `losses` is all they need. It is given two arrays, the outputs and
    the labels, a value for each row of both, and returns an array of as many losses, each of its own row alone. One with a
    `bound` that no row's loss exceeds can be judged in a rollout.

    >>> cost = Metric("cost", losses=lambda score, label: label * 5 * (1 - score) + (1 - label) * score, bound=5.0)
    >>> cost.words, cost.higher_is_better, cost == Metric("cost", losses=lambda score, label: label - score)
    ('cost', False, False)
    """

    name: str
    _: KW_ONLY
    losses: Callable[[Array, Array], Array] | None = field(default=None, compare=False, repr=False)
    """What each row costs, from outputs and labels; None for what is no mean of rows."""
    tasks: tuple[Task, ...] = (Task.BINARY,)
    """The tasks whose outputs and labels it takes."""
    higher_is_better: bool = False
    bound: float | None = None
    """No row's loss is above it, none is below zero; a missing answer costs as much. A judge needs it."""
    loss: Callable[[float, float], float] | None = field(default=None, compare=False, repr=False)
    """The same of one row in Python's own arithmetic, if a judge should take that: never below zero nor above the bound."""
    estimate: Callable[[Array, Array, float], Estimate | None] | None = field(
        default=None, compare=False, repr=False
    )
    """From outputs, labels and a confidence, for what is no mean; None when there is too little to tell."""
    difference: Callable[[Array, Array, Array, float], Estimate | None] | None = field(
        default=None, compare=False, repr=False
    )
    """Of the first outputs less the second on the same labels, for what is no mean."""
    title: str = ""
    """What heads its column in a table; by default its name in words."""
    listed: bool = True
    """Whether tables of model versions have a column for it."""
    digest: str | None = field(default=None, repr=False)
    """Of the source of its functions, computed unless it is given; numbers of another digest are of another metric."""

    def __post_init__(self) -> None:
        if wrong := _wrong(self):
            reason, next_step = wrong
            raise InvalidInput(f"metric {shown(self.name)}: {reason}", next_step=next_step)
        if self.digest is None:
            # On demand, because whoever declares no metric need not wait for it.
            from everloop.evaluation.source import source_of
            from everloop.storage.codec import digest_of

            functions = (self.losses, self.loss, self.estimate, self.difference)
            object.__setattr__(self, "digest", digest_of([source_of(function) for function in functions]))

    @property
    def heading(self) -> str:
        """What heads its column in a table."""
        return self.title or self.words

    @property
    def words(self) -> str:
        """Its name as it stands in a sentence."""
        return self.name.replace("_", " ")

    def worse(self, extra: Estimate) -> Estimate:
        """By how much the first is worse than the second, from a difference between them."""
        if not self.higher_is_better:
            return extra
        return Estimate(value=-extra.value, low=-extra.high, high=-extra.low)


def get_metric(metric: str | Metric, *, asked_by: str = "") -> Metric:
    """The row of that name, or the user's own metric as it is.

    >>> get_metric("auc").higher_is_better
    True
    >>> try:
    ...     get_metric("logloss")
    ... except InvalidInput as error:
    ...     error.reason, error.next_step[:25]
    ("there is no metric named 'logloss'.", "did you mean 'log_loss'? ")
    """
    if isinstance(metric, Metric):
        check_names([metric], asked_by=asked_by)
        return metric
    if metric not in METRICS:
        from difflib import get_close_matches

        close = get_close_matches(str(metric), METRICS, n=1, cutoff=0.5)
        meant = f"did you mean {close[0]!r}? " if close else ""
        raise InvalidInput(
            f"{_by(asked_by)}there is no metric named {shown(metric)}.",
            next_step=f"{meant}There are {', '.join(METRICS)}; for one of your own give the Metric itself.",
        )
    return METRICS[metric]


def metrics_of(task: Task = Task.BINARY, own: Iterable[Metric] = ()) -> tuple[Metric, ...]:
    """Every metric of the task, the user's own last, each name once.

    >>> [metric.name for metric in metrics_of(Task.BINARY)]
    ['log_loss', 'log_loss_capped', 'brier', 'auc']
    """
    given = tuple(own)
    check_names(given)
    for metric in given:
        if task not in metric.tasks:
            raise InvalidInput(
                f"metric {metric.name!r} is not one of {task} models.",
                next_step=f"declare it with tasks=(Task.{task.name},), or leave it out.",
            )
    ours = [metric for metric in METRICS.values() if task in metric.tasks]
    return tuple({metric.name: metric for metric in (*ours, *given)}.values())


def worst_loss(metric: Metric) -> float:
    """The bound of a metric that is to be judged; one without a bound is refused, because a bet needs a worst case.

    >>> worst_loss(get_metric("brier"))
    1.0
    """
    if metric.bound is None:
        have = ", ".join(row.name for row in METRICS.values() if row.bound is not None)
        raise InvalidInput(
            f"metric {metric.name} has no bound, and a judge needs a worst case.",
            next_step=f"take one of {have}, or give your own metric a bound=.",
        )
    return metric.bound


def check_names(own: Iterable[Metric], *, asked_by: str = "") -> None:
    """Refuse two metrics of one name, and the name of one of ours for another."""
    known = dict(METRICS)
    for metric in own:
        if not isinstance(metric, Metric):
            raise InvalidInput(
                f"{_by(asked_by)}{shown(metric)} is no metric of your own.",
                next_step="give a list of ev.Metric(…); everloop's own are measured anyway.",
            )
        if known.setdefault(metric.name, metric) != metric:
            raise InvalidInput(
                f"{_by(asked_by)}there are two metrics named {metric.name!r}.",
                next_step="give yours a name that neither another of yours nor one of everloop's has.",
            )


def _by(asked_by: str) -> str:
    return f"{asked_by}: " if asked_by else ""


def _wrong(metric: Metric) -> tuple[str, str] | None:
    """The first thing that keeps a declaration from being a metric, and what to do about it."""
    name, bound = metric.name, metric.bound
    # `not 0 < bound < inf` is also true of NaN.
    checks: tuple[tuple[bool, str, str], ...] = (
        (
            not isinstance(name, str) or not NAME.fullmatch(name) or len(name) > 60 or name.endswith(_ENDS),
            "that cannot name a metric.",
            "use up to 60 small letters, digits and _, a letter first, and neither _low nor _high last.",
        ),
        (not metric.tasks, "it is a metric of no task.", "name some, or leave tasks out."),
        (
            metric.losses is None and (metric.estimate is None or metric.difference is None),
            "it says nothing of a model.",
            "give losses=, or for what is no mean both estimate= and difference=.",
        ),
        (
            bound is not None and not 0 < bound < math.inf,
            f"bound={bound} is no bound.",
            "give the most that one row can lose, above 0; or none.",
        ),
        (
            bound is not None and (metric.losses is None or metric.higher_is_better),
            "a bound is the most that a row can lose.",
            "give losses= of which lower is better with it, or leave the bound out.",
        ),
    )
    return next(((reason, next_step) for wrong, reason, next_step in checks if wrong), None)


# ---------------------------------------------------------------------------------------------------------- the table


def _found(name: str) -> Callable[..., Any]:
    """A function of this room, `file.function`, which is found when it is called."""
    module, function = name.split(".")

    def call(*given: Any, **named: Any) -> Any:
        return getattr(import_module(f"everloop.evaluation.{module}"), function)(*given, **named)

    return call


def _log_loss(output: float, label: float, *, clip: float, bound: float) -> float:
    held = min(max(output, clip), 1 - clip)
    return min(max(-(label * math.log(held) + (1 - label) * math.log1p(-held)), 0.0), bound)


def _brier_loss(output: float, label: float) -> float:
    return min((output - label) ** 2, 1.0)


CLIP = 1e-6
"""Probabilities are held within [1e-6, 1 - 1e-6] for the log loss: one sure and wrong answer costs 13.8 and not infinity."""
_SURE = 0.99
_CAPPED = 1 - _SURE
_CAP = -math.log1p(-_SURE)

# A judge's e-values must be the same to the last bit wherever they are computed again, and numpy rounds as its loops and the
# processor do: its square differs from Python's in one row of a thousand. So what a judge may read has a `loss` of one row
# beside its `losses`; `test_losses_are_those_of_a_slow_loop_to_the_last_bit` holds it.
_ours = partial(Metric, digest="")  # these come with everloop, whose version is kept
METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            _ours("log_loss", losses=partial(_found("binary.log_losses"), clip=CLIP)),
            _ours(
                "log_loss_capped",  # within [0.01, 0.99], because a judge needs a worst case
                losses=partial(_found("binary.log_losses"), clip=_CAPPED),
                loss=partial(_log_loss, clip=_CAPPED, bound=_CAP),
                bound=_CAP,
                listed=False,
            ),
            _ours("brier", losses=_found("binary.brier_losses"), loss=_brier_loss, bound=1.0, listed=False),
            _ours(
                "auc",
                estimate=_found("binary.auc_estimate"),
                difference=_found("binary.auc_difference"),
                higher_is_better=True,
                title="AUC",
            ),
        )
    }
)
"""The metrics that come with everloop, by name."""
