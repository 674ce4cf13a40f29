"""The data gate: each verdict on planted trouble, none on a real year, and words that a person can act on."""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everloop.data.expect import judge_expectations
from everloop.data.gate import GateThresholds, judge_batch
from everloop.data.profile import Profile, profile
from everloop.data.schema import infer
from everloop.data.units import UNITS, explain
from everloop.demo.world import MONTHS, World, in_celsius, without_column
from everloop.errors import InvalidInput
from everloop.records.data import DataVerdict, Finding
from everloop.records.datasets import Dataset, between

SALES = Dataset("sales", keys="id", event_time="at")


def sales(day: int, count: int = 400, **changed: pa.Array | None) -> pa.Table:
    """One day's rows, with some columns replaced, added, or (None) dropped."""
    random = np.random.default_rng(day)
    columns: dict[str, pa.Array | None] = {
        "id": pa.array(np.arange(count) + day * 1_000_000),
        "at": pa.array(np.arange(count) + day * 86_400, pa.timestamp("s", "UTC")),
        "price": pa.array(random.normal(70.0, 8.0, count)),
        "shop": pa.array(random.choice(["north", "south", "west"], count)),
        "refund": pa.array(random.random(count) < 0.3),
        "rare": pa.array(random.random(count) < 0.001),
        "day": pa.array([day] * count),
        "source": pa.array(["till"] * count),
        "code": pa.array([f"{day}-{row}" for row in range(count)]),
        "counter": pa.array(np.arange(count) * 1.5 + day * 1_000.0),
    }
    return pa.table({name: values for name, values in (columns | changed).items() if values is not None})


class Days:
    """A dataset that has accepted some days."""

    def __init__(self, days: Sequence[pa.Table], dataset: Dataset = SALES) -> None:
        self.dataset, self.schema, self.history = dataset, infer(days[0]) if days else None, list[Profile]()
        for day in days:
            self.history.append(profile(day, edges=self.history[-1].edges() if self.history else None))

    def judge(self, batch: pa.Table, **thresholds: float) -> tuple[DataVerdict, tuple[Finding, ...]]:
        """The verdict on one more batch."""
        seen = profile(batch, edges=self.history[-1].edges() if self.history else None)
        broken = judge_expectations(self.dataset.expect, batch)
        limits = GateThresholds(**thresholds) if thresholds else None  # type: ignore[arg-type]
        return judge_batch(self.dataset, self.schema, seen, infer(batch), self.history, broken, limits)


@pytest.fixture(scope="module")
def days() -> Days:
    """Five accepted days."""
    return Days([sales(day) for day in range(1, 6)])


def test_days_like_the_others_pass(days: Days) -> None:
    """New ids, later times, another batch label, a growing counter and texts of their own are nothing to report."""
    assert [days.judge(sales(day)) for day in (6, 7, 8)] == [(DataVerdict.PASS, ())] * 3


STOPS = [
    (sales(6, price=None), "price: missing; the schema has it as double"),
    (sales(6, extra=pa.array([1] * 400)), "extra: int64, which the schema does not have"),
    (sales(6, price=pa.array([70] * 400)), "price: int64 where the schema has double"),
    (sales(6, price=pa.array(["free"] * 400)), "price: string where the schema has double"),
    (sales(6, price=pa.array([[1.0]] * 400)), "price: list<double> where the schema has double"),
    (sales(6, id=None), "id: missing; the schema has it as int64"),
]
QUARANTINES = [
    (
        sales(6, price=pa.array(np.linspace(14, 28, 400))),
        "price: mean 69.6 → 21, 6.3 reference deviations; in Celsius?",
    ),
    (sales(6, price=pa.array(np.linspace(5_000, 9_000, 400))), "in percent? x ÷ 100 would fit"),
    (
        sales(6, price=pa.array(np.linspace(-300, -290, 400))),
        "price: mean 69.6 → -295, 47.2 reference deviations",
    ),
    (
        sales(6, price=pa.array([None] * 400, pa.float64())),
        "price: missing in 100 % of rows, never above 0 % before",
    ),
    (sales(6, price=pa.array([math.nan] * 200 + [70.0] * 200)), "price: missing in 50 % of rows"),
    (sales(6, price=pa.nulls(400)), "price: missing in 100 % of rows"),
    (
        sales(6, price=pa.array([70.0] * 400)),
        "price: 70 in all 400 rows that have a value, and it varied in every",
    ),
    (sales(6, shop=pa.array(["north"] * 400)), "shop: north in all 400 rows"),
    (sales(6, refund=pa.array([False] * 400)), "refund: false in all 400 rows"),
    (sales(6, count=40), "40 rows, 10 % of the usual 400"),
    (sales(6, count=2_000), "2,000 rows, 5 times of the usual 400"),
    (sales(6, count=0), "the batch has no rows"),
    (sales(6, id=pa.array([None] * 100 + list(range(300)), pa.int64())), "id: missing in 100 of 400 rows"),
]


@pytest.mark.parametrize(("batch", "told"), STOPS, ids=[told for _, told in STOPS])
def test_schema_skew_stops(days: Days, batch: pa.Table, told: str) -> None:
    """A column that is missing, unexpected or of another type stops the batch."""
    verdict, findings = days.judge(batch)
    assert verdict is DataVerdict.STOP and findings[0].message.startswith(told)


@pytest.mark.parametrize(("batch", "told"), QUARANTINES, ids=[told for _, told in QUARANTINES])
def test_implausible_batches_are_quarantined(days: Days, batch: pa.Table, told: str) -> None:
    """A unit, a burst of nulls, a constant, a volume and rows without keys are kept out, in words."""
    verdict, findings = days.judge(batch)
    assert verdict is DataVerdict.QUARANTINE and any(told in finding.message for finding in findings)


def test_plausible_moves_ask_for_a_new_model(days: Days) -> None:
    """Values within reason that have moved are accepted and told, one finding per column."""
    shops = pa.array(["north"] * 300 + ["south"] * 100)
    batch = sales(6, price=pa.array(np.random.default_rng(0).normal(80, 8, 400)), shop=shops)
    verdict, findings = days.judge(batch)
    assert verdict is DataVerdict.RETRAIN
    assert [finding.column for finding in findings] == ["price", "shop"]
    assert "mean 69.9 → 79.7" in findings[0].message and "shares moved by" in findings[1].message


def test_luck_is_not_called_a_constant(days: Days) -> None:
    """A flag that is rarely true is false in a whole day now and then; that is no constant."""
    known = Days([sales(day, 4_000) for day in range(1, 4)])
    assert known.judge(sales(9, 1_200, rare=pa.array([False] * 1_200)))[0] is DataVerdict.PASS


def test_a_first_batch_is_held_against_the_declaration_alone() -> None:
    """Without history there is no drift and no jump, but declared columns must be there and expectations hold."""
    dataset = Dataset("sales", keys="id", event_time="at", expect=[between("price", 60, 200)])
    first = Days([], dataset)
    assert first.judge(sales(1, price=pa.array([70.0] * 400))) == (DataVerdict.PASS, ())
    verdict, findings = first.judge(sales(1))
    assert verdict is DataVerdict.QUARANTINE and "not between 60 and 200; first: row" in findings[0].message
    verdict, findings = first.judge(sales(1, price=None, at=None))
    assert verdict is DataVerdict.STOP
    assert [finding.message for finding in findings] == [
        "price: missing; the dataset declares it",
        "at: missing; the dataset declares it",
    ]
    assert first.judge(sales(1, 0))[0] is DataVerdict.QUARANTINE


def test_the_worst_finding_decides_and_comes_first(days: Days) -> None:
    """Trouble of several kinds is all told, the verdict being the worst."""
    verdict, findings = days.judge(sales(6, count=40, source=None))
    assert verdict is DataVerdict.STOP
    assert [finding.verdict for finding in findings] == [DataVerdict.STOP, DataVerdict.QUARANTINE]


def test_tolerated_breaks_are_told_and_pass() -> None:
    """A broken row or two are a finding of verdict pass, each expectation's own."""
    expect = [between("price", 40, 200), between("price", 0, 1_000)]
    known = Days([sales(1), sales(2)], Dataset("sales", keys="id", event_time="at", expect=expect))
    batch = sales(6, price=pa.array([*np.random.default_rng(4).normal(70, 8, 399), -1.0]))
    verdict, findings = known.judge(batch)
    assert verdict is DataVerdict.PASS
    assert [finding.message for finding in findings] == [
        "price: 1 of 400 rows (0.2 %) not between 40 and 200; first: row 399 (-1.0)",
        "price: 1 of 400 rows (0.2 %) not between 0 and 1000; first: row 399 (-1.0)",
    ]


def test_other_edges_are_refused(days: Days) -> None:
    """A batch that was profiled on edges of its own cannot be judged, and the way out is told."""
    batch = sales(6)
    with pytest.raises(InvalidInput, match=r"history\[-1\]\.edges\(\)"):
        judge_batch(SALES, days.schema, profile(batch), infer(batch), days.history)


def test_what_moves_more_between_batches_than_within_may_go_on(days: Days) -> None:
    """A price that is nearly one value a day and steps by ten is no jump once it has stepped before."""

    def price(day: int) -> pa.Array:
        return pa.array(np.random.default_rng(day).normal(100 + 10 * (day % 3), 0.5, 400))

    known = Days([sales(day, price=price(day)) for day in range(1, 7)])
    assert known.judge(sales(8, price=price(8)))[0].severity < DataVerdict.QUARANTINE.severity
    assert known.judge(sales(8, price=price(8)), jump=0.5, unit_jump=0.5)[0] is DataVerdict.QUARANTINE


@given(st.sampled_from(UNITS), st.floats(20, 90), st.floats(0.02, 0.2))
@settings(deadline=None, max_examples=60)
def test_a_known_unit_is_recognised(unit: object, mean: float, scatter: float) -> None:
    """Values in another unit are explained by it, or by one that fits as well."""
    known = next(one for one in UNITS if one is unit)
    values = np.random.default_rng(1).normal(mean, scatter * mean, 400)
    first = profile(pa.table({"x": values}))
    wrong = profile(pa.table({"x": (values - known.offset) / known.scale}), edges=first.edges())
    before, now = first.columns["x"], wrong.columns["x"]
    found = explain(before, now, before.std)
    jump = abs((now.mean or 0) - mean) / before.std
    assert found is known or jump < 2.5 or (found is not None and found.surprise <= known.surprise)


# ---------------------------------------------------------------- the real year


@pytest.fixture(scope="module")
def world() -> World:
    """The year of the demo."""
    return World.load()


WEATHER = Dataset(
    "weather", keys=["origin", "observed_at"], event_time="observed_at", created_time="published_at"
)
FLIGHTS = Dataset("flights", keys=["flight_id"], event_time="scheduled_departure")


def year(dataset: Dataset, month_of: Callable[[int], pa.Table]) -> Iterator[tuple[int, Days]]:
    """Each month from February with the months before it accepted."""
    known = Days([month_of(1)], dataset)
    for month in MONTHS[1:]:
        yield month, known
        known.history.append(profile(month_of(month), edges=known.history[-1].edges()))


def test_a_real_year_is_never_kept_out(world: World) -> None:
    """Seasons ask for new models and are never called implausible; a first month passes."""
    seen: dict[str, list[str]] = {}
    for dataset, month_of in ((WEATHER, world.weather), (FLIGHTS, world.flights)):
        seen[dataset.name] = [Days([], dataset).judge(month_of(1))[0]]
        seen[dataset.name] += [known.judge(month_of(month))[0] for month, known in year(dataset, month_of)]
    assert seen["weather"] == ["pass", *["retrain"] * 11]
    assert seen["flights"] == ["pass"] * 8 + ["retrain", "pass", "pass", "retrain"]


def test_celsius_is_quarantined_in_every_month_and_named(world: World) -> None:
    """From the second batch on, in any season, with dew point or without."""
    for month, known in year(WEATHER, world.weather):
        rows = world.weather(month)
        both = in_celsius(rows)
        alone = rows.set_column(rows.column_names.index("temp"), "temp", both.column("temp"))
        for wrong in (both, alone):
            verdict, findings = known.judge(wrong)
            assert verdict is DataVerdict.QUARANTINE, month
            assert findings[0].message.startswith("temp: mean ")
            assert findings[0].message.endswith("in Celsius? x × 1.8 + 32 would fit")


def test_planted_trouble_is_seen_in_every_month(world: World) -> None:
    """A dropped column stops; a tenth of the rows, and a column stuck at one value, are quarantined."""
    for month, known in year(WEATHER, world.weather):
        rows = world.weather(month)
        stuck = rows.set_column(rows.column_names.index("humid"), "humid", pa.array([50.0] * rows.num_rows))
        assert known.judge(without_column(rows, "humid"))[0] is DataVerdict.STOP
        assert known.judge(rows.slice(0, rows.num_rows // 10))[0] is DataVerdict.QUARANTINE
        assert known.judge(stuck)[0] is DataVerdict.QUARANTINE
