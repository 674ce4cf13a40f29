"""What an evaluation found: frozen records that travel as JSON and carry an interval with every number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number computed from a sample, and the interval that holds the true one with the stated confidence.

    >>> str(Estimate(value=0.5, low=0.4, high=0.6))
    '0.5000 (0.4000 to 0.6000)'
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} ({self.low:.4f} to {self.high:.4f})"


Metrics: TypeAlias = Mapping[str, Estimate]
"""How one scorer did on some rows, by the name of the metric; what cannot be told from so few rows is not there."""
Difference: TypeAlias = Mapping[str, Estimate]
"""The metrics of a candidate less those of another scorer on the same rows; its metric says which side of zero is better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceResult:
    """The candidate on the rows where one column has one level."""

    column: str
    level: str
    rows: int
    metrics: Mapping[str, float]
    """The candidate's."""
    differences: Difference = field(default_factory=dict)
    """From the champion, the intervals widened so that those of all levels hold together; empty when there is no champion or
    there are too few rows to tell."""


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
    """Why the champion, which there is, could not be evaluated on these rows; empty when it was, or when there is none."""
    metric_digests: Mapping[str, str] = field(default_factory=dict)
    """Digest of the source of each metric of the user's own, by its name."""

    def metrics(self) -> dict[str, float]:
        """The numbers that a run's record keeps: the candidate's with their intervals, the others' for comparison."""
        found = {
            f"{name}{end}": value
            for name, one in self.candidate.items()
            for end, value in (("", one.value), ("_low", one.low), ("_high", one.high))
        }
        for scorer, metrics in {"champion": self.champion or {}, **self.baselines}.items():
            for name, one in metrics.items():
                found.setdefault(f"{scorer}_{name}", one.value)
        return found | {"test_rows": float(self.rows)}
