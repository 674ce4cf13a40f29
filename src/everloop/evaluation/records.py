"""What an evaluation found: frozen records that travel as JSON and carry an interval with every number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number computed from a sample, and the interval that holds the true one with the stated confidence."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} ({self.low:.4f} to {self.high:.4f})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """How one scorer did on some rows."""

    log_loss: Estimate
    brier: Estimate
    auc: Estimate | None
    """None unless there are two rows of each class at least."""

    def find(self, name: str) -> Estimate | None:
        """The metric of that name; None when there is none of it."""
        return {"log_loss": self.log_loss, "brier": self.brier, "auc": self.auc}.get(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A candidate less another scorer on the same rows; below zero is better for a loss, above zero for AUC."""

    log_loss: Estimate
    auc: Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceResult:
    """The candidate on the rows where one column has one level."""

    column: str
    level: str
    rows: int
    log_loss: float
    """The candidate's."""
    difference: Estimate | None
    """Log loss less the champion's, its interval widened so that those of all levels hold together; None when there is no
    champion or there are too few rows to tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A candidate, the champion and the baselines on the same rows, paired row by row.

    >>> from everloop import compare
    >>> found = compare([0.2, 0.7, 0.4, 0.9], [0, 1, 1, 1], baselines={"constant": [0.75] * 4})
    >>> found.rows, found.positives, list(found.baselines)
    (4, 3, ['constant'])
    >>> round(found.metrics()["log_loss"], 3)
    0.4
    """

    rows: int
    positives: int
    confidence: float
    candidate: Metrics
    champion: Metrics | None = None
    baselines: Mapping[str, Metrics] = field(default_factory=dict)
    against_champion: Difference | None = None
    against_baselines: Mapping[str, Difference] = field(default_factory=dict)
    slices: tuple[SliceResult, ...] = ()
    champion_left_out: str = ""
    """Why there is a champion that could not be judged on these rows; empty when it was, or there is none."""

    def metrics(self) -> dict[str, float]:
        """The numbers that a run's record keeps: the candidate's with their intervals, the others' for comparison."""
        found = _numbers(self.candidate)
        for name, other in {"champion": self.champion, **self.baselines}.items():
            if other is not None:
                found |= {f"{name}_log_loss": other.log_loss.value}
                found |= {} if other.auc is None else {f"{name}_auc": other.auc.value}
        return found | {"test_rows": float(self.rows)}


def _numbers(metrics: Metrics) -> dict[str, float]:
    estimates = {name: metrics.find(name) for name in ("log_loss", "brier", "auc")}
    return {
        f"{name}{end}": value
        for name, estimate in estimates.items()
        if estimate is not None
        for end, value in (("", estimate.value), ("_low", estimate.low), ("_high", estimate.high))
    }
