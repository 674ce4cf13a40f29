"""Look at a rollout: read what is new in the log and among the labels, and add it to what was counted before.

A look costs what is new and not what there is. What it keeps (the evidence, the units that were met, the pairs that were
counted and up to where log and labels were read) is a function of the log and the labels, so it can be thrown away at any
time; `recount` computes the same evidence from them in another way, once, when a rollout is to end.

Touched wrongly, a request is counted twice or never and a verdict is given on it, which only the last count would notice:
`tests/rollout/test_looks.py` draws requests, labels and looks of any size and holds all ways of counting to one result.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, Table, delete, exists, select
from sqlalchemy.dialects import postgresql, sqlite

from everloop.evaluation.measure import bounded_losses
from everloop.monitoring.comparison import (
    Comparison,
    Counts,
    Pair,
    Scored,
    count_firsts,
    count_requests,
    find_first_unit,
    read_pairs,
    read_scored,
    stream_pairs,
)
from everloop.monitoring.labels import last_label_seq, list_labelled_since
from everloop.records.json import Json
from everloop.records.serving import Arm, Rollout, RolloutState, Value
from everloop.rollout.evidence import Evidence, First, of_pairs, percent_of
from everloop.rollout.judge import Judge
from everloop.storage.database import in_groups
from everloop.storage.schema import rollout_evidence, rollout_pairs, rollout_units, rollouts

K = TypeVar("K")
MOST = 5_000
"""Rows of the log, and labels, that one look reads; the next one goes on."""


class _Counted(NamedTuple):
    """A pair as it went into the sums."""

    percent: int
    extra_loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What was counted up to a place in the log and a place among the labels."""

    log_seq: int
    label_seq: int
    evidence: Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What is known of a rollout now, and what has to be kept so that the next look can go on from here."""

    before: Kept | None
    """What it went on from; None when it began anew."""
    now: Kept
    whole: bool
    """It has read everything there is."""
    units: Mapping[str, bool]
    """Units that were met, or failed, for the first time: whether they have failed."""
    pairs: Mapping[str, _Counted | None]
    """Pairs that were counted, or are now counted otherwise, by prediction; None for one that counts no more."""

    @property
    def is_news(self) -> bool:
        """Whether it is worth a transaction: what others were asked moves its place in the log, too."""
        if self.before is None or not self.whole or self.units or self.pairs:
            return True
        moved = (self.now.log_seq - self.before.log_seq, self.now.label_seq - self.before.label_seq)
        return self.now.evidence != self.before.evidence or max(moved) >= MOST


def look(tx: Connection, rollout: Rollout, judge: Judge, *, most: int = MOST) -> Look:
    """Read on from the last look, `most` rows of each at once; raises InvalidInput when a metric cannot be computed."""
    before = _find(tx, rollout, judge)
    start = before or Kept(log_seq=rollout.log_seq, label_seq=_first_label(tx, judge), evidence=Evidence())
    comparison = _comparison(rollout)
    scored, log_seq = read_scored(tx, comparison, after=start.log_seq, limit=most)
    met = {} if before is None else _find_units(tx, rollout, scored)
    requests, units = _count(scored, met)
    labelled = [] if judge.metric is None else list_labelled_since(tx, start.label_seq, most)
    pairs, changes = Evidence(), dict[str, _Counted | None]()
    if judge.metric is not None:
        ids = dict.fromkeys([row.id for row in scored] + [id for _, id in labelled])
        counted = {} if before is None else _find_pairs(tx, rollout, ids)
        pairs, changes = _weigh(read_pairs(tx, comparison, ids), counted, judge)
    return Look(
        before=before,
        now=Kept(
            log_seq=log_seq,
            label_seq=labelled[-1][0] if labelled else start.label_seq,
            evidence=start.evidence + requests + pairs,
        ),
        whole=len(scored) < most and len(labelled) < most,
        units=units,
        pairs=changes,
    )


def keep(tx: Connection, rollout: Rollout, judge: Judge, seen: Look) -> bool:
    """Write down a look; False when somebody else has looked meanwhile, and then nothing is written."""
    if _find(tx, rollout, judge) != seen.before:
        return False
    if seen.before is None:
        forget(tx, rollout)
    elif not seen.is_news:
        return True
    row = {
        "judge": judge.digest,
        "log_seq": seen.now.log_seq,
        "label_seq": seen.now.label_seq,
        "evidence": _packed(seen.now.evidence),
    }
    _put(tx, rollout_evidence, [{"rollout": rollout.id, **row}])
    units = [{"unit": unit, "failed": failed} for unit, failed in seen.units.items()]
    _put(tx, rollout_units, [{"rollout": rollout.id, **unit} for unit in units])
    gone = [id for id, pair in seen.pairs.items() if pair is None]
    for part in in_groups(gone):
        here = (rollout_pairs.c.rollout == rollout.id) & rollout_pairs.c.prediction_id.in_(part)
        tx.execute(delete(rollout_pairs).where(here))
    pairs = [{"prediction_id": id, **pair._asdict()} for id, pair in seen.pairs.items() if pair is not None]
    _put(tx, rollout_pairs, [{"rollout": rollout.id, **pair} for pair in pairs])
    return True


def forget(tx: Connection, rollout: Rollout) -> None:
    """Throw away what looks have kept, because it is to be counted anew."""
    for table in (rollout_units, rollout_pairs, rollout_evidence):
        tx.execute(delete(table).where(table.c.rollout == rollout.id))


def has_leftovers(tx: Connection, endpoint: str) -> bool:
    """Whether something is kept of a rollout that is over."""
    return _find_left(tx, endpoint) is not None


def sweep(tx: Connection, endpoint: str) -> bool:
    """Throw away what is kept of a rollout that is over, or some of it; says whether there is more.

    In pieces, because there may be a row for each of a million units, and whoever writes waits for the end of each.
    """
    left, room = _find_left(tx, endpoint), MOST
    for table, key in ((rollout_units, rollout_units.c.unit), (rollout_pairs, rollout_pairs.c.prediction_id)):
        some = select(key).where(table.c.rollout == left).limit(room)
        room -= tx.execute(delete(table).where(table.c.rollout == left, key.in_(some))).rowcount
        if room <= 0:
            return True
    tx.execute(delete(rollout_evidence).where(rollout_evidence.c.rollout == left))
    return False


def _find_left(tx: Connection, endpoint: str) -> str | None:
    # What is kept has a row of evidence, which goes last. From there, because of ended rollouts there are many.
    over = (rollouts.c.endpoint == endpoint) & (rollouts.c.state != RolloutState.RUNNING.value)
    is_over = exists().where(rollouts.c.id == rollout_evidence.c.rollout, over)
    return tx.execute(select(rollout_evidence.c.rollout).where(is_over).limit(1)).scalar_one_or_none()


def recount(tx: Connection, rollout: Rollout, judge: Judge) -> Evidence:
    """The evidence as the log and the labels say it, whatever looks have counted; in memory that does not grow with them."""
    comparison = _comparison(rollout)
    firsts = count_firsts(tx, comparison)
    failures = count_firsts(tx, comparison, failed=True)
    counted = Evidence(
        firsts=_by(firsts, lambda one: (percent_of(one.arm, one.share), one.arm, one.failed)),
        failures=_by(failures, lambda one: (percent_of(one.arm, one.share), one.arm)),
        requests=_by(count_requests(tx, comparison), lambda one: percent_of(one.arm, one.share)),
        unit=find_first_unit(tx, comparison),
    )
    if judge.metric is not None:
        for group in stream_pairs(tx, comparison):
            counted += _weigh(group, {}, judge)[0]
    return counted


def is_same(kept: Evidence, counted: Evidence) -> bool:
    """Whether two ways of counting have found the same; a metric of the user's may round sums of rows in its own way."""
    return replace(kept, sums=()) == replace(counted, sums=()) and all(
        math.isclose(math.fsum(mine), math.fsum(other), rel_tol=1e-9, abs_tol=1e-9)
        for mine, other in zip_longest(kept.sums, counted.sums, fillvalue=())
    )


def _comparison(rollout: Rollout) -> Comparison:
    assert rollout.stable is not None, "a rollout without a stable revision is over as it begins"
    return Comparison(
        endpoint=rollout.endpoint,
        model=rollout.model,
        stable=rollout.stable,
        canary=rollout.canary,
        log_seq=rollout.log_seq,
        since=rollout.started_at,
    )


def _first_label(tx: Connection, judge: Judge) -> int:
    """Labels that are there already are found with the rows that they belong to."""
    return 0 if judge.metric is None else last_label_seq(tx)


def _count(scored: Iterable[Scored], met: Mapping[str, bool]) -> tuple[Evidence, Mapping[str, bool]]:
    """What requests add, and the units that are not any more as they were met before."""
    firsts, failures, requests = Counter[First](), Counter[tuple[int, Arm]](), Counter[int]()
    changed: dict[str, bool] = {}
    unit: str | None = None
    for row in scored:
        if row.arm is Arm.SHADOW:
            continue
        percent = percent_of(row.arm, row.share)
        unit = row.unit if unit is None else unit
        if not (row.failed and row.arm is Arm.CANARY):
            requests[percent] += 1  # else the stable revision answers for it, and that row is counted
        known = changed.get(row.unit, met.get(row.unit))
        if known is None:
            firsts[percent, row.arm, row.failed] += 1
        if row.failed and not known:
            failures[percent, row.arm] += 1
        if known is None or (row.failed and not known):
            changed[row.unit] = row.failed
    return Evidence(firsts=firsts, failures=failures, requests=requests, unit=unit), changed


def _weigh(
    pairs: Sequence[Pair], counted: Mapping[str, _Counted], judge: Judge
) -> tuple[Evidence, dict[str, _Counted | None]]:
    """What pairs add to those that were counted, and take from them: a corrected label takes its old factor out."""
    found = _extra_losses(pairs, judge)
    changes: dict[str, _Counted | None] = {id: pair for id, pair in found.items() if counted.get(id) != pair}
    changes |= {id: None for id in counted if id not in found}
    old = [counted[id] for id in changes if id in counted]
    new = [pair for pair in changes.values() if pair is not None]
    return _summed(new, judge) + _summed(old, judge, taken_out=True), changes


def _extra_losses(pairs: Sequence[Pair], judge: Judge) -> dict[str, _Counted]:
    """How much more the canary lost on each request than the stable revision."""
    assert judge.metric is not None, "pairs are asked for by a judge that compares losses"
    known = [(pair, pair.label) for pair in pairs if isinstance(pair.label, float)]
    labels = [label for _, label in known]
    canary = bounded_losses(judge.metric, [_number(pair.canary) for pair, _ in known], labels)
    stable = bounded_losses(judge.metric, [_number(pair.stable) for pair, _ in known], labels)
    return {
        pair.id: _Counted(pair.percent, mine - others)
        for (pair, _), mine, others in zip(known, canary, stable, strict=True)
    }


def _number(answer: Value | None) -> float | None:
    """An answer that is no number is as good as none to a loss of numbers."""
    return float(answer) if isinstance(answer, bool | int | float) else None


def _summed(pairs: Sequence[_Counted], judge: Judge, *, taken_out: bool = False) -> Evidence:
    terms = [judge.terms(pair.extra_loss) for pair in pairs] if judge.terms is not None else []
    return of_pairs([pair.percent for pair in pairs], terms, taken_out=taken_out)


# ------------------------------------------------------------------------------------------------------------------ rows


def _find(tx: Connection, rollout: Rollout, judge: Judge) -> Kept | None:
    """What the last look has kept, if it was for this judge."""
    query = select(rollout_evidence).where(rollout_evidence.c.rollout == rollout.id)
    row = tx.execute(query).mappings().one_or_none()
    if row is None or row["judge"] != judge.digest:
        return None
    return Kept(log_seq=row["log_seq"], label_seq=row["label_seq"], evidence=_unpacked(row["evidence"]))


def _find_units(tx: Connection, rollout: Rollout, scored: Sequence[Scored]) -> dict[str, bool]:
    """Those of these rows' units that were met before, and whether they had failed."""
    found: dict[str, bool] = {}
    for part in in_groups(list({row.unit for row in scored})):
        query = select(rollout_units.c.unit, rollout_units.c.failed)
        query = query.where(rollout_units.c.rollout == rollout.id, rollout_units.c.unit.in_(part))
        found |= {unit: failed for unit, failed in tx.execute(query)}
    return found


def _find_pairs(tx: Connection, rollout: Rollout, ids: Iterable[str]) -> dict[str, _Counted]:
    """Those of these predictions that were counted as pairs."""
    found: dict[str, _Counted] = {}
    table = rollout_pairs.c
    for part in in_groups(list(ids)):
        query = select(table.prediction_id, table.percent, table.extra_loss)
        query = query.where(table.rollout == rollout.id, table.prediction_id.in_(part))
        found |= {id: _Counted(percent, extra) for id, percent, extra in tx.execute(query)}
    return found


def _put(tx: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows over those of the same key."""
    if not rows:
        return
    dialect = postgresql if tx.dialect.name == "postgresql" else sqlite
    # One row a statement, so that it is compiled once for all: many rows in one are compiled at every look.
    statement = dialect.insert(table)
    values = {column.name: statement.excluded[column.name] for column in table.c if not column.primary_key}
    statement = statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=values)
    tx.execute(statement, [dict(row) for row in rows])


def _by(counts: Iterable[Counts], key: Callable[[Counts], K]) -> dict[K, int]:
    """Put counts by share into the canary's percent."""
    found: Counter[K] = Counter()
    for one in counts:
        found[key(one)] += one.number
    return dict(found)


def _packed(evidence: Evidence) -> Mapping[str, Json]:
    return {
        "firsts": [[percent, arm.value, failed, n] for (percent, arm, failed), n in evidence.firsts.items()],
        "failures": [[percent, arm.value, n] for (percent, arm), n in evidence.failures.items()],
        "requests": [list(cell) for cell in evidence.requests.items()],
        "pairs": [list(cell) for cell in evidence.pairs.items()],
        "sums": [list(parts) for parts in evidence.sums],
        "unit": evidence.unit,
    }


def _unpacked(packed: Mapping[str, Any]) -> Evidence:
    return Evidence(
        firsts={(percent, Arm(arm), failed): n for percent, arm, failed, n in packed["firsts"]},
        failures={(percent, Arm(arm)): n for percent, arm, n in packed["failures"]},
        requests=dict(packed["requests"]),
        pairs=dict(packed["pairs"]),
        sums=tuple(tuple(map(float, parts)) for parts in packed["sums"]),
        unit=packed["unit"],
    )
