"""Decide what a batch is worth before anything learns from it: pass, retrain, quarantine or stop.

- stop: the columns are not the dataset's columns (schema skew). Nothing downstream would mean what it says.
- quarantine: the values cannot be true (a unit, a burst of nulls, a constant, a volume, a broken promise). A person looks.
- retrain: the values are plausible and have moved. The rows are welcome, and the model may no longer fit them.
- pass: nothing to report.

The gate reads profiles and never rows, and it is pure: the same batch after the same history gets the same verdict.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

from everloop.data.expect import TOLERATED, absent_column
from everloop.data.profile import ColumnProfile, Kind, Profile, mean_of, merge_all, span
from everloop.data.schema import differences
from everloop.data.shift import FEWEST, ColumnShift, Margins, compare_profiles, deviations, two_proportions
from everloop.data.units import explain
from everloop.data.wording import number, percent
from everloop.errors import InvalidInput
from everloop.records.data import DataColumn, DataVerdict, Finding, Schema
from everloop.records.datasets import Dataset

_BY_LUCK = 0.001
"""What happens by luck in fewer than one batch of a thousand is not put down to luck."""

_SEQUENCE_ROWS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class GateThresholds:
    """Where plausible ends; the defaults let a year of seasons pass and stop a wrong unit in any month."""

    tolerated: float = TOLERATED
    """Share of rows without a key or an event time. Expectations have theirs in `judge_expectations`."""
    null_jump: float = 0.20
    """Rise of the share of missing values above the highest of any earlier batch."""
    jump: float = 4.0
    """Change of a column's mean since the batch before, in reference deviations. Raise it for small batches of
    slow things: a day's temperatures scatter less than days differ."""
    unit_jump: float = 2.5
    """The same where a wrong unit would explain the change."""
    volume: float = 4.0
    """Factor above or below the median number of rows."""
    constant_rows: int = 100
    """Rows from which on a constant column says something."""
    fdr: float = 0.05
    margins: Margins = field(
        default_factory=lambda: Margins(values=0.10, mean=0.25, levels=0.10, missing=0.05),
    )
    """How far values must have moved to be worth a new model; wider than the monitor's, which only tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """What the rules look at."""

    dataset: Dataset
    batch: Profile
    types: Schema
    history: Sequence[Profile]
    thresholds: GateThresholds

    def columns(self) -> Iterator[tuple[str, ColumnProfile, list[ColumnProfile]]]:
        """Each column of the batch with its earlier profiles, oldest first, those with rows."""
        for name, column in self.batch.columns.items():
            earlier = [past.columns[name] for past in self.history if name in past.columns]
            yield name, column, [past for past in earlier if past.rows]


def judge_batch(
    dataset: Dataset,
    schema: Schema | None,
    batch: Profile,
    batch_schema: Schema,
    history: Sequence[Profile],
    findings: Sequence[Finding] = (),
    thresholds: GateThresholds | None = None,
) -> tuple[DataVerdict, tuple[Finding, ...]]:
    """The verdict on a batch and everything that was noticed, the worst first.

    `schema` is None for a dataset's first batch; `history` holds the profiles of accepted batches, oldest
    first, and `batch` was taken on the edges of the last of them; `findings` come from `judge_expectations`
    on the same rows. A first batch is held against the declaration alone, for there is nothing to compare.

    >>> import pyarrow as pa
    >>> from everloop.data.profile import profile
    >>> from everloop.data.schema import infer
    >>> rows = pa.table({"id": range(200), "temp": [float(60 + i % 40) for i in range(200)]})
    >>> wrong = rows.set_column(1, "temp", [[(60 + i % 40 - 32) / 1.8 for i in range(200)]])
    >>> weather, known = Dataset("weather", keys="id", event_time=None), profile(rows)
    >>> verdict, found = judge_batch(
    ...     weather, infer(rows), profile(wrong, edges=known.edges()), infer(wrong), [known])
    >>> print(verdict, found[0].message, sep="; ")
    quarantine; temp: mean 79.5 → 26.4, 4.6 reference deviations; in Celsius? x × 1.8 + 32 would fit
    """
    case = _Case(
        dataset=dataset,
        batch=batch,
        types=batch_schema,
        history=[past for past in history if past.rows],
        thresholds=thresholds or GateThresholds(),
    )
    _check_edges(case)
    found = [*findings, *_skew(case, schema), *_implausible(case, schema)]
    if _worst(found).severity < DataVerdict.QUARANTINE.severity:
        found += _moved(case)
    return _worst(found), _without_repeats(found)


def _check_edges(case: _Case) -> None:
    """Histograms on different edges cannot be compared, and a gate must not guess."""
    for name, column, earlier in case.columns():
        if earlier and earlier[-1].edges and column.kind is Kind.NUMBER and column.edges != earlier[-1].edges:
            raise InvalidInput(
                f"The batch's histogram of {name} was taken on other edges than its history's.",
                next_step="take it with profile(table, edges=history[-1].edges()).",
            )


def _worst(findings: Iterable[Finding]) -> DataVerdict:
    return max((finding.verdict for finding in findings), key=lambda v: v.severity, default=DataVerdict.PASS)


def _without_repeats(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The worst first; that a column is missing is noticed by schema, declaration and expectations, and said once."""
    once: dict[tuple[str, str, str], Finding] = {}
    for finding in findings:
        message = "" if finding.rule == "missing" else finding.message
        once.setdefault((finding.rule, finding.column, message), finding)
    return tuple(sorted(once.values(), key=lambda finding: -finding.verdict.severity))


def _skew(case: _Case, schema: Schema | None) -> Iterator[Finding]:
    if schema is not None:
        yield from differences(schema, case.types)
    present = set(case.types.names())
    yield from (absent_column(name) for name in case.dataset.declared() if name not in present)


def _implausible(case: _Case, schema: Schema | None) -> Iterator[Finding]:
    yield from _volume(case)
    yield from _needed(case, schema)
    meaningless = _meaningless(case)
    for name, column, earlier in case.columns():
        if earlier:
            burst = list(_nulls(name, column, earlier, case.thresholds))
            yield from burst
            if not burst:
                yield from _constant(name, column, earlier, case.thresholds)
        if earlier and name not in meaningless:
            yield from _jump(name, column, earlier, case.thresholds)


def _quarantine(rule: str, column: str, message: str) -> Finding:
    return Finding(verdict=DataVerdict.QUARANTINE, rule=rule, column=column, message=message)


# ---------------------------------------------------------------- the rules


def _volume(case: _Case) -> Iterator[Finding]:
    rows, factor = case.batch.rows, case.thresholds.volume
    if not rows:
        yield _quarantine("volume", "", "the batch has no rows")
        return
    usual = median([past.rows for past in case.history]) if case.history else rows
    if max(rows, usual) < case.thresholds.constant_rows:
        return
    if rows * factor < usual or rows > usual * factor:
        words = percent(rows / usual) if rows < usual else f"{number(rows / usual)} times"
        yield _quarantine("volume", "", f"{rows:,} rows, {words} of the usual {usual:,.0f}")


def _needed(case: _Case, schema: Schema | None) -> Iterator[Finding]:
    """Keys, event times and columns that the schema says are never null."""
    never_null = [column.name for column in schema.columns if not column.nullable] if schema else []
    event_time = [case.dataset.event_time] if case.dataset.event_time else []
    for name in dict.fromkeys((*case.dataset.keys, *event_time, *never_null)):
        column = case.batch.columns.get(name)
        if column is None or not column.missing:
            continue
        too_many = column.missing_rate > case.thresholds.tolerated
        yield Finding(
            verdict=DataVerdict.QUARANTINE if too_many else DataVerdict.PASS,
            rule="needed",
            column=name,
            message=f"{name}: missing in {column.missing:,} of {column.rows:,} rows, and every row needs it",
        )


def _nulls(
    name: str, column: ColumnProfile, earlier: list[ColumnProfile], thresholds: GateThresholds
) -> Iterator[Finding]:
    highest = max(earlier, key=lambda past: past.missing_rate)
    if not column.rows or column.missing_rate - highest.missing_rate <= thresholds.null_jump:
        return
    if two_proportions(highest.missing, highest.rows, column.missing, column.rows) < _BY_LUCK:
        words = f"missing in {percent(column.missing_rate)} of rows"
        yield _quarantine(
            "nulls", name, f"{name}: {words}, never above {percent(highest.missing_rate)} before"
        )


def _constant(
    name: str, column: ColumnProfile, earlier: list[ColumnProfile], thresholds: GateThresholds
) -> Iterator[Finding]:
    value, alike = column.constant, [past for past in earlier if past.kind is column.kind]
    if value is None or column.count < thresholds.constant_rows or not alike:
        return
    if not all(past.count and past.constant is None for past in alike):
        return
    # A flag that is rarely true is constant in many a batch, by luck.
    if max(_share_at(past, column) for past in alike) ** column.count < _BY_LUCK:
        rows = f"in all {column.count:,} rows that have a value"
        yield _quarantine("constant", name, f"{name}: {value} {rows}, and it varied in every batch before")


def _share_at(past: ColumnProfile, column: ColumnProfile) -> float:
    """The share, or the most that it can have been, of the constant's value in an earlier batch."""
    if past.kind is Kind.CATEGORY:
        return (past.values.get(column.constant or "", 0) + past.other) / past.count
    if past.kind is not Kind.NUMBER or not past.edges:
        return 0.0
    return sum(then for then, now in zip(past.counts, column.counts, strict=True) if now) / past.count


def _jump(
    name: str, column: ColumnProfile, earlier: list[ColumnProfile], thresholds: GateThresholds
) -> Iterator[Finding]:
    """An implausible step of a number's mean away from the batch before."""
    known = [past for past in earlier if past.kind is Kind.NUMBER and past.count >= FEWEST]
    if column.kind is not Kind.NUMBER or column.count < FEWEST or not known:
        return
    before, spread = known[-1], usual_spread(known)
    jump = deviations(abs(mean_of(column) - mean_of(before)), spread)
    if spread <= 0 or jump <= min(thresholds.jump, thresholds.unit_jump):
        return
    unit = explain(before, column, spread)
    if jump <= thresholds.jump and (unit is None or jump <= thresholds.unit_jump):
        return
    means = f"mean {number(mean_of(before))} → {number(mean_of(column))}"
    hint = f"; in {unit.name}? {unit.formula} would fit" if unit else ""
    yield _quarantine("jump", name, f"{name}: {means}, {jump:.1f} reference deviations{hint}")


def usual_spread(earlier: Sequence[ColumnProfile]) -> float:
    """How far a number's mean may be expected to move: its scatter in the last batch, or its earlier steps.

    The larger of the last batch's standard deviation and the root mean square of the steps from batch to batch;
    the second lets a thing that moves more between batches than within one, such as a price, keep doing so.

    >>> usual_spread([ColumnProfile(kind=Kind.NUMBER, rows=9, mean=mean, m2=8.0) for mean in (10.0, 13.0, 9.0)])
    3.5355339059327373
    """
    steps = [mean_of(b) - mean_of(a) for a, b in pairwise(earlier)]
    between = math.hypot(*steps) / math.sqrt(len(steps)) if steps else 0.0
    return max(earlier[-1].std, between)


def _moved(case: _Case) -> Iterator[Finding]:
    """One finding per column that has drifted against all accepted batches, with its strongest evidence."""
    if not case.history:
        return
    margins = case.thresholds.margins
    shift = compare_profiles(
        merge_all(case.history),
        case.batch,
        fdr=case.thresholds.fdr,
        margins=margins,
        ignore=_meaningless(case),
    )
    strongest: dict[str, ColumnShift] = {}
    for answer in sorted(shift.drifted, key=lambda one: one.effect / margins.of(one.test)):
        strongest[answer.column] = answer
    for name in shift.drifted_columns:
        yield Finding(verdict=DataVerdict.RETRAIN, rule="drift", column=name, message=strongest[name].message)


# ---------------------------------------------------------------- columns whose values say nothing


def _meaningless(case: _Case) -> frozenset[str]:
    """Columns whose values differ from batch to batch by their nature: keys, times, sequences, texts of their own."""
    dataset, types = case.dataset, {column.name: column for column in case.types.columns}
    times = (time for time in (dataset.event_time, dataset.created_time) if time)
    return frozenset((*dataset.keys, *times)) | frozenset(
        name
        for name, column, earlier in case.columns()
        if _is_text_of_its_own(column)
        or _is_sequence(column, earlier, types.get(name))
        or _is_label(column, earlier)
    )


def _is_text_of_its_own(column: ColumnProfile) -> bool:
    return column.kind is Kind.CATEGORY and column.unique is True and column.count >= _SEQUENCE_ROWS


def _is_sequence(column: ColumnProfile, earlier: list[ColumnProfile], type: DataColumn | None) -> bool:
    """Numbers that only count: they never fall and go on where the last batch ended, or fill a range once each."""
    if column.kind is not Kind.NUMBER or column.count < _SEQUENCE_ROWS:
        return False
    past = next((past for past in reversed(earlier) if past.count and past.kind is Kind.NUMBER), None)
    (low, high), goes_on = span(column), False
    if past is not None:
        goes_on = column.increasing and past.increasing and low >= span(past)[1] and low < high
    whole = type is not None and type.type.removeprefix("u").startswith("int")
    # Whole numbers that are drawn, not counted, would by then have met twice (the birthday paradox).
    return goes_on or (whole and column.unique is True and high - low < 4 * column.count)


def _is_label(column: ColumnProfile, earlier: list[ColumnProfile]) -> bool:
    """One value per batch and another in each of at least three: it names the batch (a month, a file)."""
    values = [past.constant for past in (*earlier, column)]
    return len(values) > 2 and None not in values and len(set(values)) == len(values)
