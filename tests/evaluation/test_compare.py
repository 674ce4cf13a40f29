"""The paired comparison and the gate that reads it."""

import math
import subprocess
import sys
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from everloop.errors import InvalidInput
from everloop.evaluation.compare import compare
from everloop.evaluation.gates import at_least, at_most, beats, holds_on_slices, not_worse
from everloop.evaluation.measure import evaluate_metrics
from everloop.evaluation.records import Estimate, Evaluation

ROWS = 3_000


def _world(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.beta(2, 5, size=ROWS)
    other = np.clip(truth + rng.normal(0, 0.05, size=ROWS), 0.01, 0.99)
    return truth, other, (rng.uniform(size=ROWS) < truth).astype(float)


def _evaluation(**changes: object) -> Evaluation:
    truth, other, labels = _world()
    origins = np.array(["EWR", "JFK", "LGA"])[np.arange(ROWS) % 3].tolist()
    whole = compare(
        truth,
        labels,
        champion_scores=other,
        baselines={"constant": np.full(ROWS, labels.mean())},
        slices={"origin": origins},
    )
    return replace(whole, **changes)  # type: ignore[arg-type]


def test_every_number_is_that_of_the_rows_it_names() -> None:
    """Metrics are those of each scorer alone, and each slice's loss is that of its own rows."""
    truth, other, labels = _world()
    found = _evaluation()
    assert found.candidate == evaluate_metrics(truth, labels)
    assert found.champion == evaluate_metrics(other, labels)
    assert found.against_champion is not None
    assert found.champion is not None
    gap = found.candidate["log_loss"].value - found.champion["log_loss"].value
    assert found.against_champion["log_loss"].value == pytest.approx(gap)
    assert [(level.level, level.rows) for level in found.slices] == [
        ("EWR", 1000),
        ("JFK", 1000),
        ("LGA", 1000),
    ]
    alone = evaluate_metrics(truth[1::3], labels[1::3])
    assert found.slices[1].metrics == pytest.approx({name: one.value for name, one in alone.items()})


def test_pairing_sees_what_separate_intervals_cannot() -> None:
    """The paired interval is less than a third as wide as that of the metric itself."""
    found = _evaluation()
    assert found.against_champion is not None
    paired, alone = found.against_champion["log_loss"], found.candidate["log_loss"]
    assert (paired.high - paired.low) * 3 < alone.high - alone.low


def test_an_evaluation_survives_json() -> None:
    """What is read back from JSON equals what was written, with and without the optional parts."""
    truth, _, labels = _world()
    for found in (_evaluation(), compare(truth, labels), compare(truth[:4], np.zeros(4))):
        assert msgspec.json.decode(msgspec.json.encode(found), type=Evaluation) == found


def test_slices_widen_with_their_number_and_small_ones_are_not_judged() -> None:
    """Intervals are wider the more levels are judged; a level with too few rows has none."""
    truth, other, labels = _world()
    half = ["a"] * 1_500 + ["b"] * 1_450 + ["rare"] * 50
    many = [str(row % 1_500) if row >= 1_500 else "a" for row in range(ROWS)]
    few = compare(truth, labels, champion_scores=other, slices={"half": half})
    more = compare(truth, labels, champion_scores=other, slices={"half": half, "row": many})
    sixteen = compare(
        truth, labels, champion_scores=other, slices={"half": half, "mod": [row % 15 for row in range(ROWS)]}
    )
    assert [level.differences == {} for level in few.slices] == [False, False, True]
    a, more_a, sixteen_a = (
        next(s for s in found.slices if s.level == "a").differences["log_loss"]
        for found in (few, more, sixteen)
    )
    assert a.high - a.low < more_a.high - more_a.low < sixteen_a.high - sixteen_a.low


def test_slices_rarely_cry_wolf_together() -> None:
    """With twenty levels and a champion just as good, some level is called worse in at most about 2.5 % of evaluations."""
    cries = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        truth = rng.beta(2, 5, size=ROWS)
        labels = rng.uniform(size=ROWS) < truth
        one, other = (np.clip(truth + rng.normal(0, 0.05, size=ROWS), 0.01, 0.99) for _ in range(2))
        found = compare(
            one, labels, champion_scores=other, slices={"level": [row % 20 for row in range(ROWS)]}
        )
        cries += not holds_on_slices(margin=0.0)(found).passed
    assert cries <= 12  # 2.5 % of 200 are 5; more than 12 would happen once in 500 such tests


def test_the_gate_lets_a_good_candidate_through_and_says_why() -> None:
    """A candidate that is at least as good as everybody passes every check, and the reasons carry the numbers."""
    gate = (
        beats("constant")
        & not_worse(0.005)
        & holds_on_slices(0.02)
        & at_least("auc", 0.6)
        & at_most("log_loss", 0.7)
    )
    answer = gate(_evaluation())
    assert answer.passed
    assert len(answer.leaves()) == 5
    assert all("(" in leaf.because for leaf in answer.leaves())


def test_a_worse_candidate_is_refused_by_each_check_that_can_see_it() -> None:
    """A candidate that is much worse on one origin is refused over all and named there."""
    truth, other, labels = _world()
    broken = truth.copy()
    broken[1::3] = 0.9
    found = compare(
        broken,
        labels,
        champion_scores=other,
        baselines={"constant": np.full(ROWS, 0.3)},
        slices={"n": [r % 3 for r in range(ROWS)]},
    )
    assert not not_worse(0.005)(found).passed
    assert not beats("constant")(found).passed
    told = holds_on_slices(0.01)(found)
    assert not told.passed
    assert "n=1 " in told.because and "n=0 " not in told.because


def test_too_few_rows_prove_nothing() -> None:
    """A candidate as good as the champion is refused when twenty rows are all there is."""
    truth, other, labels = _world()
    found = compare(truth[:20], labels[:20], champion_scores=other[:20], slices={"all": ["a"] * 20})
    assert not not_worse(0.005)(found).passed
    assert holds_on_slices(0.005)(found).because == "none of 1 levels had enough rows to tell"


def test_the_first_model_has_nobody_to_be_compared_with() -> None:
    """Without a champion the comparisons with it pass, and those with a baseline still count."""
    truth, _, labels = _world()
    found = compare(truth, labels, baselines={"constant": np.full(ROWS, 0.3)})
    assert not_worse(0.0)(found).because == holds_on_slices(0.0)(found).because == "there is no champion yet"
    assert (not_worse(0.0) & beats("constant"))(found).passed


def test_what_is_not_there_or_not_a_number_fails() -> None:
    """An unknown baseline or metric, a lost comparison and NaN all fail: the gate never passes for want of evidence."""
    lost = Estimate(value=math.nan, low=math.nan, high=math.nan)
    whole = _evaluation()
    assert whole.against_champion is not None
    nothing = replace(
        whole,
        candidate={**whole.candidate, "auc": lost, "log_loss": lost},
        against_champion={**whole.against_champion, "log_loss": lost},
        against_baselines={"constant": {**whole.against_champion, "log_loss": lost}},
        slices=tuple(replace(level, differences={"log_loss": lost}) for level in whole.slices),
    )
    checks = [
        beats("constant"),
        not_worse(9.0),
        holds_on_slices(9.0),
        at_least("auc", 0.0),
        at_most("log_loss", 9.0),
    ]
    assert not any(check(nothing).passed for check in checks)
    assert not beats("nobody")(whole).passed
    without = replace(whole, candidate={}, against_champion={}, against_baselines={"constant": {}})
    for check in checks:
        assert check(without).because.startswith("no metric named")
        assert not check(without).passed
    with pytest.raises(InvalidInput, match="there is no metric named 'f1'"):
        at_least("f1", 0.0)
    with pytest.raises(InvalidInput, match="there is no metric named 'latency'"):
        at_most("latency", 9.0)
    assert not not_worse(9.0)(replace(whole, against_champion=None)).passed
    assert not holds_on_slices(9.0)(replace(whole, slices=())).passed


@pytest.mark.parametrize("number", [math.nan, math.inf, "0.1", None, True])
@pytest.mark.parametrize(
    "check",
    [
        not_worse,
        holds_on_slices,
        lambda number: beats("constant", by=number),
        lambda number: at_least("auc", number),
        lambda number: at_most("auc", number),
    ],
)
def test_a_check_that_no_number_could_pass_is_refused_where_it_is_declared(
    check: Any, number: object
) -> None:
    """And not by every candidate there will ever be."""
    with pytest.raises(InvalidInput, match="is no finite number"):
        check(number)


def test_rows_that_do_not_match_are_refused() -> None:
    """Scorers and slices of another length are an error and never cut to fit."""
    truth, other, labels = _world()
    with pytest.raises(InvalidInput, match="do not go with"):
        compare(truth, labels, champion_scores=other[:-1])
    with pytest.raises(InvalidInput, match="slice 'origin' has 1 values"):
        compare(truth, labels, slices={"origin": ["EWR"]})
    with pytest.raises(InvalidInput, match="confidence"):
        compare(truth, labels, confidence=95)


def test_a_project_can_name_its_gate_without_loading_numpy() -> None:
    """Importing the gates and their records loads no numerical library."""
    code = "import sys, everloop.evaluation.gates; print({'numpy', 'scipy', 'pyarrow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
