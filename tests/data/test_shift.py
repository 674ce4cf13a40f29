"""The drift statistic: stated false alarms are kept, planted drift is found, odd input is told and not guessed."""

from collections.abc import Callable
from itertools import product

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from everloop.data.profile import Kind, Profile, profile
from everloop.data.shift import (
    Margins,
    Measure,
    Shift,
    benjamini_hochberg,
    compare_profiles,
    ks_distance,
    two_proportions,
)
from everloop.errors import InvalidInput

COLUMNS = 30
OPEN = Margins(values=0.0, mean=0.0, levels=0.0, missing=0.0)


def rows(random: np.random.Generator, count: int) -> pa.Table:
    """Ten normal, five lognormal, three gamma, one Poisson, one uniform column; ten categories of 2 to 200 levels."""
    numbers = [random.normal(size=count) for _ in range(10)] + [
        random.lognormal(size=count) for _ in range(5)
    ]
    numbers += [random.gamma(2.0, size=count) for _ in range(3)]
    numbers += [random.poisson(4, count).astype(np.float64), random.random(count)]
    levels = (2, 2, 3, 5, 10, 15, 20, 50, 100, 200)
    texts = [pa.array([f"level{code}" for code in random.integers(0, many, count)]) for many in levels]
    with_nulls = pa.array(numbers[0], mask=random.random(count) < 0.01)
    arrays = [with_nulls, *map(pa.array, numbers[1:]), *texts]
    return pa.table(arrays, names=[f"c{i}" for i in range(COLUMNS)])


def compared(old: pa.Table, new: pa.Table, margins: Margins | None = None) -> Shift:
    """Both tables, profiled on the first one's edges and compared."""
    reference = profile(old)
    return compare_profiles(reference, profile(new, edges=reference.edges()), margins=margins)


@pytest.mark.parametrize(("reference_rows", "window_rows", "windows"), [(500, 500, 150), (20_000, 2_000, 60)])
def test_the_stated_false_alarm_rate_is_kept(reference_rows: int, window_rows: int, windows: int) -> None:
    """Without drift at most 5 % of windows tell of any, over 30 columns, even without the help of margins."""
    random = np.random.default_rng(20130101)
    alarms = 0
    for window in range(windows):
        if window % 15 == 0:  # a fresh reference now and then, since windows that share one share its luck
            reference = profile(rows(random, reference_rows))
        live = profile(rows(random, window_rows), edges=reference.edges())
        alarms += bool(compare_profiles(reference, live, margins=OPEN).drifted)
    # 5 % and three standard errors of a binomial share
    assert alarms <= windows * 0.05 + 3 * (windows * 0.05 * 0.95) ** 0.5


def change(name: str, make: Callable[[pa.Table, np.random.Generator], pa.Array], table: pa.Table) -> pa.Table:
    """The table with one column made anew."""
    made = make(table, np.random.default_rng(7))
    return table.set_column(table.column_names.index(name), name, made)


def more_nulls(table: pa.Table, random: np.random.Generator) -> pa.Array:
    """Nulls in 3 % of c0, where 1 % are usual."""
    return pa.array(table.column("c0").to_numpy(), mask=random.random(table.num_rows) < 0.03)


def one_level_more(table: pa.Table, random: np.random.Generator) -> pa.Array:
    """Five points more of one level of c23."""
    moved = random.random(table.num_rows) < 0.0625
    return pa.array(np.where(moved, "level0", table.column("c23").to_numpy(zero_copy_only=False)))


@pytest.mark.parametrize(
    ("column", "make", "measures"),
    [
        (
            "c1",
            lambda table, _: pa.array(table.column("c1").to_numpy() + 0.15),
            {Measure.VALUES, Measure.MEAN},
        ),
        ("c1", lambda table, _: pa.array(table.column("c1").to_numpy() * 1.3), {Measure.VALUES}),
        ("c0", more_nulls, {Measure.MISSING}),
        ("c23", one_level_more, {Measure.LEVELS}),
    ],
    ids=["mean by 0.15 deviations", "scatter by 1.3", "nulls from 1 to 3 %", "a level by 5 points"],
)
def test_planted_drift_is_found_where_it_is(
    column: str, make: Callable[[pa.Table, np.random.Generator], pa.Array], measures: set[Measure]
) -> None:
    """At 5,000 rows small drifts are found, in the one column that moved and by the measure that fits."""
    random = np.random.default_rng(1)
    old, new = rows(random, 20_000), rows(random, 5_000)
    shift = compared(old, change(column, make, new))
    assert shift.drifted_columns == (column,)
    assert {answer.test for answer in shift.drifted} == measures


def test_large_samples_do_not_make_trifles_matter() -> None:
    """A shift of 0.02 deviations is certain at 400,000 rows and still no drift."""
    random = np.random.default_rng(3)
    shift = compared(
        pa.table({"x": random.normal(size=400_000)}), pa.table({"x": random.normal(0.02, size=400_000)})
    )
    assert min(answer.adjusted for answer in shift.columns) < 0.001 and not shift.drifted


def test_many_levels_are_compared_without_favour() -> None:
    """5,000 equally likely values: the frequent ones of one sample are no drift in the next; a real move is."""
    random = np.random.default_rng(5)
    old, new = (pa.table({"id": [f"id{i}" for i in random.integers(0, 5_000, 20_000)]}) for _ in range(2))
    assert compared(old, new, OPEN).columns[1].p_value > 0.01
    moved = pa.table({"id": [f"id{i}" for i in random.integers(0, 5_000, 18_000)] + ["id7"] * 2_000})
    assert compared(old, moved).drifted_columns == ("id",)


@given(st.lists(st.integers(-20, 20), min_size=30, max_size=60), st.lists(st.integers(-20, 20), min_size=30))
def test_the_distance_is_that_of_kolmogorov_and_smirnov(old: list[int], new: list[int]) -> None:
    """Where the edges are all of the reference's values, the distance is at most the exact one, and equal on a grid."""
    reference = profile(pa.table({"x": [*old, *range(-20, 21)]}))
    current = profile(pa.table({"x": new}), edges=reference.edges())
    exact = stats.ks_2samp([*old, *range(-20, 21)], new).statistic
    assert ks_distance("x", reference.columns["x"], current.columns["x"]) == pytest.approx(exact)


@given(st.lists(st.floats(0, 1), min_size=1))
def test_the_correction_is_that_of_benjamini_and_hochberg(p_values: list[float]) -> None:
    """Adjusted p-values agree with scipy's."""
    assert benjamini_hochberg(p_values) == pytest.approx(list(stats.false_discovery_control(p_values)))


@pytest.mark.parametrize(("rows_a", "rows_b"), [(30, 30), (200, 200), (1_000, 100)])
@pytest.mark.parametrize("share", [0.002, 0.03, 0.1, 0.5])
def test_proportions_keep_their_level(rows_a: int, rows_b: int, share: float) -> None:
    """Summed over every outcome: equal shares give p ≤ 5 % and p ≤ 1 % hardly more often than that, rare ones less."""
    a, b = (stats.binom.pmf(np.arange(rows + 1), rows, share) for rows in (rows_a, rows_b))
    level = {0.05: 0.0, 0.01: 0.0}
    for hits_a, hits_b in product(np.flatnonzero(a > 1e-6).tolist(), np.flatnonzero(b > 1e-6).tolist()):
        p_value = two_proportions(hits_a, rows_a, hits_b, rows_b)
        assert two_proportions(hits_b, rows_b, hits_a, rows_a) == pytest.approx(p_value)
        for alpha in level:
            level[alpha] += a[hits_a] * b[hits_b] * (p_value <= alpha)
    assert level[0.05] <= 0.05 * 1.1 and level[0.01] <= 0.01 * 1.4


def test_what_cannot_be_compared_is_named() -> None:
    """A column on one side only, and one that changed its kind, are asked nothing and listed."""
    old = pa.table({"x": [1.0] * 50, "gone": [1] * 50, "kind": [1] * 50, "gap": pa.nulls(50, pa.float64())})
    new = pa.table({"x": [1.0] * 50, "new": [1] * 50, "kind": ["a"] * 50, "gap": pa.nulls(50)})
    shift = compared(old, new)
    assert shift.unmatched == ("gone", "kind", "new")
    assert {answer.column for answer in shift.columns} == {"x", "gap"} and not shift.drifted


def test_other_edges_are_refused() -> None:
    """Histograms on different edges are never compared silently."""
    with pytest.raises(InvalidInput, match=r"edges=reference\.edges"):
        compare_profiles(profile(pa.table({"x": range(50)})), profile(pa.table({"x": range(9, 99)})))


@pytest.mark.parametrize("count", [0, 1, 29])
def test_few_rows_claim_nothing(count: int) -> None:
    """With too few values only missing ones are compared, and an empty table is no drift."""
    shift = compared(pa.table({"x": [1.0, 2.0] * 50}), pa.table({"x": pa.array([9.0] * count, pa.float64())}))
    assert not shift.drifted and {answer.test for answer in shift.columns} <= {Measure.MISSING}


def test_ignored_columns_are_not_asked() -> None:
    """Ignoring also takes a column out of the correction, so the others gain."""
    old, new = profile(pa.table({"x": range(50), "y": range(50)})), Profile(rows=0, columns={})
    assert compare_profiles(old, new, ignore={"x"}).unmatched == ("y",)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ([5.0] * 99, [7.0] * 99, "x: mean 5 → 7, where it never varied"),
        (["a"] * 60 + ["b"] * 40, ["a"] * 20 + ["b"] * 80, "x: shares moved by 40 %, most in a 60 % → 20 %"),
        ([1.0] * 99 + [None], [None] * 60 + [1.0] * 40, "x: missing in 1 % → 60 % of rows"),
        (
            [True] * 90 + [False] * 10,
            [True] * 50 + [False] * 50,
            "x: shares moved by 40 %, most in true 90 % → 50 %",
        ),
    ],
)
def test_findings_read_well(old: list[object], new: list[object], told: str) -> None:
    """A message names the column, what it was, what it is, and how much that is."""
    assert told in [answer.message for answer in compared(pa.table({"x": old}), pa.table({"x": new})).drifted]


def test_every_number_in_an_answer_is_finite() -> None:
    """Constants, huge values and total changes give effects that JSON can carry."""
    cases = [([0.0] * 50, [1e300] * 50), ([1e308, -1e308] * 25, [1e308] * 50), (["a"] * 50, ["b"] * 50)]
    for old, new in cases:
        for answer in compared(pa.table({"x": old}), pa.table({"x": new})).columns:
            assert np.isfinite([answer.effect, answer.p_value, answer.adjusted]).all()


def test_times_and_nested_columns_are_only_counted() -> None:
    """Kinds without values are compared by what is missing."""
    table = pa.table({"x": [[1]] * 40, "t": pa.array(range(40), pa.timestamp("s"))})
    assert {profile(table).columns[name].kind for name in "xt"} == {Kind.OTHER, Kind.TIME}
    assert {answer.test for answer in compared(table, table).columns} == {Measure.MISSING}
