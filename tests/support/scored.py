"""Requests of a rollout one by one, and the slow and obvious way from them to the evidence that a judge weighs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby

from sqlalchemy import Connection

from everloop.evaluation.measure import bounded_losses
from everloop.evaluation.metric import Metric
from everloop.monitoring.labels import Labelled, labelled
from everloop.records.serving import Arm, Rollout
from everloop.rollout.evidence import Evidence, of_pairs, percent_of
from everloop.rollout.judge import Judge


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredRequest:
    """What came of one request."""

    seq: int
    request_id: str
    unit: str
    arm: Arm
    """The arm the request was assigned to, also when another one had to answer for it."""
    share: int
    failed: bool
    loss: float | None = None
    """How wrong the arm's answer was; None as long as there is no label."""
    other_loss: float | None = None
    """How wrong the other revision was on the same request."""

    @property
    def canary_percent(self) -> int:
        """Percent of traffic that the canary had when the request came."""
        return percent_of(self.arm, self.share)

    @property
    def extra_loss(self) -> float | None:
        """How much more the canary lost than the stable revision; None unless both scored it and the label is known."""
        if self.loss is None or self.other_loss is None:
            return None
        extra = self.loss - self.other_loss
        return extra if self.arm is Arm.CANARY else -extra


def evidence_of(requests: Iterable[ScoredRequest], judge: Judge | None = None) -> Evidence:
    """All of it at once, whatever order it is given in."""
    placed = sorted(requests, key=lambda one: one.seq)
    first: dict[str, ScoredRequest] = {}
    failure: dict[str, ScoredRequest] = {}
    for one in placed:
        first.setdefault(one.unit, one)
        if one.failed:
            failure.setdefault(one.unit, one)
    pairs = [(one.canary_percent, extra) for one in placed if (extra := one.extra_loss) is not None]
    terms = [judge.terms(extra) for _, extra in pairs] if judge and judge.terms else []
    counted = Evidence(
        firsts=Counter((one.canary_percent, one.arm, one.failed) for one in first.values()),
        failures=Counter((one.canary_percent, one.arm) for one in failure.values()),
        requests=Counter(one.canary_percent for one in placed),
        unit=placed[0].unit if placed else None,
    )
    compares = judge is None or judge.metric is not None
    return counted + of_pairs([percent for percent, _ in pairs], terms) if compares else counted


def gather(tx: Connection, rollout: Rollout, metric: Metric | None) -> list[ScoredRequest]:
    """Everything that belongs to a rollout, read whole: what 0.1 did at every look."""
    known = [row for row in labelled(tx, endpoint=rollout.endpoint) if _belongs(row, rollout)]
    known.sort(key=lambda row: (row.prediction.id, row.prediction.seq))
    groups = (list(group) for _, group in groupby(known, key=lambda row: row.prediction.id))
    costs = _costs(known, metric)
    return [request for group in groups if (request := _request(group, costs)) is not None]


def _belongs(row: Labelled, rollout: Rollout) -> bool:
    one = row.prediction
    there = one.seq > rollout.log_seq and one.arrived_at >= rollout.started_at
    return there and one.model == rollout.model and one.version in (rollout.canary, rollout.stable)


def _request(rows: list[Labelled], costs: Mapping[tuple[str, Arm], float]) -> ScoredRequest | None:
    by_arm = {row.prediction.arm: row for row in rows}
    assigned = by_arm.get(Arm.CANARY) or by_arm.get(Arm.STABLE)
    if assigned is None or not 0 < assigned.prediction.share < 100:
        return None
    mine = assigned.prediction
    others = [row.prediction for row in rows if row.prediction.version != mine.version]
    return ScoredRequest(
        seq=mine.seq,
        request_id=mine.request_id,
        unit=mine.unit,
        arm=mine.arm,
        share=mine.share,
        failed=mine.failed,
        loss=costs.get((mine.id, mine.arm)),
        other_loss=costs.get((others[0].id, others[0].arm)) if others else None,
    )


def _costs(rows: list[Labelled], metric: Metric | None) -> dict[tuple[str, Arm], float]:
    if metric is None:
        return {}
    known = [(row.prediction, row.label) for row in rows if isinstance(row.label, float)]
    answers = [one.output if isinstance(one.output, bool | int | float) else None for one, _ in known]
    losses = bounded_losses(metric, answers, [label for _, label in known])
    return {(one.id, one.arm): loss for (one, _), loss in zip(known, losses, strict=True)}
