"""A metric is a row: of ours in a table, of the user's beside it, and whoever measures asks the row."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import pytest
from scipy.special import stdtrit

from everloop.errors import InvalidInput
from everloop.evaluation.binary import auc_difference, auc_estimate
from everloop.evaluation.compare import compare
from everloop.evaluation.gates import at_least, at_most, beats, holds_on_slices, not_worse
from everloop.evaluation.measure import bounded_losses, evaluate_metrics
from everloop.evaluation.metric import METRICS, Metric, check_names, get_metric, metrics_of
from everloop.evaluation.records import Estimate, Evaluation
from everloop.monitoring.performance import decayed, performance, reference
from everloop.records.models import Task
from everloop.records.serving import Arm
from everloop.rollout.judge import Verdict, quality
from tests.support.scored import ScoredRequest, evidence_of

ROWS = 2_000
PRICE = 5.0


def _cost(score: Any, label: Any) -> Any:
    return PRICE * (score - label) ** 2


COST = Metric("cost", losses=_cost, bound=PRICE)
HITS = Metric("hits", losses=lambda score, label: (score >= 0.5) == (label == 1), higher_is_better=True)


def _world(seed: int = 0, rows: int = ROWS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.beta(2, 5, size=rows)
    other = np.clip(truth + rng.normal(0, 0.2, size=rows), 0, 1)
    return truth, other, (rng.uniform(size=rows) < truth).astype(float)


def _compared(*metrics: Metric, swapped: bool = False) -> Evaluation:
    truth, other, labels = _world()
    one, two = (other, truth) if swapped else (truth, other)
    return compare(
        one,
        labels,
        champion_scores=two,
        baselines={"constant": np.full(ROWS, labels.mean())},
        slices={"half": ["a", "b"] * (ROWS // 2)},
        metrics=metrics,
    )


def _student(values: np.ndarray, confidence: float) -> Estimate:
    spread = float(values.std(ddof=1)) / len(values) ** 0.5
    half = float(stdtrit(len(values) - 1, 0.5 + confidence / 2)) * spread
    return Estimate(
        value=float(values.mean()), low=float(values.mean()) - half, high=float(values.mean()) + half
    )


def _log_losses(scores: np.ndarray, labels: np.ndarray, clip: float) -> np.ndarray:
    return -np.log(np.clip(np.where(labels == 1, scores, 1 - scores), clip, 1 - clip))  # type: ignore[no-any-return]


def test_every_number_is_that_of_a_plain_reading_to_the_last_bit() -> None:
    """Metrics, paired differences and slices are what their definitions say, computed here without any table."""
    truth, other, labels = _world()
    found = _compared()
    log, log_other = _log_losses(truth, labels, 1e-6), _log_losses(other, labels, 1e-6)
    assert found.candidate == {
        "log_loss": _student(log, 0.95),
        "log_loss_capped": _student(_log_losses(truth, labels, 1 - 0.99), 0.95),
        "brier": _student((truth - labels) ** 2, 0.95),
        "auc": auc_estimate(truth, labels, 0.95),
    }
    assert found.against_champion is not None
    assert found.against_champion["log_loss"] == _student(log - log_other, 0.95)
    assert found.against_champion["brier"] == _student((truth - labels) ** 2 - (other - labels) ** 2, 0.95)
    assert found.against_champion["auc"] == auc_difference(truth, other, labels, 0.95)
    level = found.slices[1]
    assert level.metrics["log_loss"] == float(log[1::2].mean())
    assert level.differences["log_loss"] == _student((log - log_other)[1::2], 1 - (1 - 0.95) / 2)


def test_the_numbers_of_a_run_keep_their_names_and_get_those_of_the_users_metric() -> None:
    """The candidate's with both ends, the others' value; a user's metric beside ours, and never over them."""
    sly = Metric("champion_brier", losses=_cost)
    numbers = _compared(COST, sly).metrics()
    for name in ("log_loss", "brier", "auc", "cost"):
        assert numbers[f"{name}_low"] < numbers[name] < numbers[f"{name}_high"]
        assert {f"constant_{name}"} <= set(numbers)
    assert numbers["champion_brier"] == numbers["cost"]  # the candidate's own number stands
    assert numbers["test_rows"] == ROWS
    found = _compared(COST)
    assert found.metrics()["champion_cost"] == float(_cost(*_world()[1:]).mean())
    assert msgspec.json.decode(msgspec.json.encode(found), type=Evaluation) == found


def test_a_gate_asks_the_row_which_side_is_better() -> None:
    """The better candidate passes and the worse is refused, by a loss of one's own, by AUC, and by a share of hits."""
    good, bad = _compared(COST, HITS), _compared(COST, HITS, swapped=True)
    for metric, margin in ((COST, 0.01), (HITS, 0.03), ("auc", 0.01), ("brier", 0.001)):
        for check in (not_worse(margin, metric=metric), holds_on_slices(margin, metric=metric)):
            assert check(good).passed, check(good).because
        assert not not_worse(margin, metric=metric)(bad).passed
    assert not holds_on_slices(0.0, metric="auc")(bad).passed
    assert (
        beats("constant", metric="auc")(good).passed
        and not beats("constant", by=0.5, metric="auc")(good).passed
    )
    assert beats("constant", metric="brier")(good).passed
    assert (at_most(COST, 5.0) & at_least(HITS, 0.5))(good).passed and not at_most(COST, 0.1)(good).passed
    told = (not_worse(0.01, metric=COST) & at_most(COST, 5.0))(good).leaves()
    assert [leaf.name for leaf in told] == ["not_worse(margin=0.01, metric=cost)", "cost <= 5"]
    assert told[0].because.startswith("cost less the champion's: -0.")


def test_a_metric_that_was_not_evaluated_or_by_another_version_fails() -> None:
    """The gate never passes for want of a number, nor on the number of another metric of that name."""
    checks = [
        beats("constant", metric=COST),
        not_worse(9.0, metric=COST),
        holds_on_slices(9.0, metric=COST),
        at_least(COST, -9.0),
        at_most(COST, 9.0),
    ]
    for check in checks:
        assert check(_compared(COST)).passed or check is checks[0], check.name
        assert check(_compared()).because == "no metric named 'cost' was computed"
        other = _compared(Metric("cost", losses=lambda score, label: _cost(score, label) / 2))
        assert check(other).because == "cost was evaluated by another version of its source"
        assert not check(other).passed and not check(_compared()).passed


def test_a_champion_that_could_not_be_evaluated_is_not_no_champion() -> None:
    """Nobody knows whether the candidate is worse, so the gate refuses it and says why."""
    truth, _, labels = _world()
    alone = compare(truth, labels)
    left_out = replace(alone, champion_left_out="it was trained on rows of this window")
    for check in (not_worse(9.0), holds_on_slices(9.0)):
        assert check(alone).passed
        answer = check(left_out)
        assert not answer.passed
        assert answer.because == "the champion could not be evaluated: it was trained on rows of this window"


def test_a_metric_that_is_no_mean_says_its_own_numbers() -> None:
    """Estimate and difference of the user's own are asked, on the slices too; where they are not known they are left out."""

    def share(outputs: Any, labels: Any, confidence: float) -> Estimate | None:
        value = float((outputs[labels == 1] >= 0.5).mean()) if labels.sum() >= 2 else None
        return None if value is None else Estimate(value=value, low=value - 0.1, high=value + 0.1)

    def less(outputs: Any, others: Any, labels: Any, confidence: float) -> Estimate | None:
        one, two = share(outputs, labels, confidence), share(others, labels, confidence)
        return None if one is None or two is None else replace(one, value=one.value - two.value)

    recall = Metric("recall", estimate=share, difference=less, higher_is_better=True)
    found = _compared(recall)
    truth, other, labels = _world()
    assert found.candidate["recall"] == share(truth, labels, 0.95)
    assert found.against_champion is not None
    assert found.against_champion["recall"] == less(truth, other, labels, 0.95)
    assert set(found.slices[0].metrics) == set(found.slices[0].differences) == {*METRICS, "recall"}
    none = compare(
        truth[:200], np.zeros(200), champion_scores=other[:200], slices={"s": ["a"] * 200}, metrics=[recall]
    )
    means = set(METRICS) - {"auc"}
    assert set(none.candidate) == set(none.slices[0].metrics) == set(none.slices[0].differences) == means


@pytest.mark.parametrize(
    ("losses", "told"),
    [
        (lambda score, label: 0.5, "float64 of shape ()"),
        (lambda score, label: score[:-1], "float64 of shape (1999,) for 2000 rows"),
        (lambda score, label: np.outer(score, label), "of shape (2000, 2000)"),
        (lambda score, label: score.astype(str), "<U32 of shape"),
        (lambda score, label: np.where(label == 1, np.nan, score), "are nan for output"),
        (lambda score, label: np.where(label == 1, np.inf, score), "are inf for output"),
        (lambda score, label: np.where(label == 1, 1.5, score), "are 1.5 for output"),
        (lambda score, label: -score - 1, "which is not from 0 to 1"),
        (lambda score, label: 1 / 0, "cannot be computed: ZeroDivisionError"),
        (lambda score: score, "cannot be computed: TypeError"),
    ],
)
def test_a_loss_that_is_no_loss_is_refused_by_name(losses: Callable[..., Any], told: str) -> None:
    """By the evaluation and by whoever weighs a rollout, with what was returned and what is wanted."""
    wrong = Metric("cost", losses=losses, bound=1.0)
    truth, _, labels = _world()
    for ask in (
        lambda: evaluate_metrics(truth, labels, [wrong]),
        lambda: compare(truth, labels, metrics=[wrong]),
        lambda: bounded_losses(wrong, truth.tolist(), labels.tolist()),
    ):
        with pytest.raises(InvalidInput, match="metric cost") as error:
            ask()
        assert told in error.value.reason
        assert error.value.next_step


@pytest.mark.parametrize("found", [0.5, (0.5, 0.4, 0.6), "0.5", Task.BINARY])
def test_an_estimate_that_is_none_is_refused_by_name(found: Any) -> None:
    """By the metric's name and with what to return; an estimate that is no number is one that is not known."""
    nan = Estimate(value=float("nan"), low=0.0, high=1.0)
    for estimate, difference in ((found, None), (None, found)):
        wrong = Metric("share", estimate=lambda *_, e=estimate: e, difference=lambda *_, d=difference: d)
        with pytest.raises(InvalidInput, match="metric share estimated") as error:
            _compared(wrong)
        assert "ev.Estimate(" in error.value.next_step
    unknown = _compared(Metric("share", estimate=lambda *_: nan, difference=lambda *_: nan))
    assert unknown.against_champion is not None
    assert "share" not in unknown.candidate and "share" not in unknown.against_champion


def test_a_function_that_changes_its_arrays_changes_nobody_elses() -> None:
    """Neither those of the metrics beside it nor the caller's own."""

    def greedy(score: Any, label: Any) -> Any:
        score *= 0
        label *= 0
        return score + label

    def estimate(score: Any, label: Any, confidence: float) -> Estimate:
        return Estimate(value=float(greedy(score, label).mean()), low=0.0, high=0.0)

    def difference(score: Any, other: Any, label: Any, confidence: float) -> Estimate:
        return estimate(score, label, confidence)

    greed = Metric("greed", losses=greedy, bound=1.0)
    shares = Metric("shares", estimate=estimate, difference=difference)
    truth, other, labels = _world()
    found = compare(truth, labels, champion_scores=other, metrics=[greed, shares, COST])
    assert found.candidate["cost"] == _compared(COST).candidate["cost"]
    assert found.against_champion is not None and _compared(COST).against_champion is not None
    assert found.against_champion["auc"] == _compared(COST).against_champion["auc"]  # type: ignore[index]
    for now, before in zip((truth, other, labels), _world(), strict=True):
        assert (now == before).all()


def test_a_function_that_ends_its_process_is_refused_by_name() -> None:
    """A controller that watches by it goes on."""
    with pytest.raises(InvalidInput, match="metric cost cannot be computed: SystemExit"):
        _compared(Metric("cost", losses=lambda score, label: sys.exit(3)))


@pytest.mark.parametrize("own", ["auc", ["auc"], [None]])
def test_what_is_no_metric_is_refused(own: Any) -> None:
    """With what it is and what to give."""
    with pytest.raises(InvalidInput, match="is no metric of your own"):
        compare([0.2, 0.7], [0, 1], metrics=own)


def test_a_loss_may_exceed_its_bound_by_rounding() -> None:
    """0.1 + 0.2 is a little more than 0.3, and no reason to end a rollout; a judge still gets the bound."""
    metric = Metric("cost", losses=lambda score, label: score * 0 + 0.1 + 0.2, bound=0.3)
    assert bounded_losses(metric, [0.5, None], [1.0, 0.0]) == [0.3, 0.3]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Metric("Cost", losses=_cost),
        lambda: Metric("", losses=_cost),
        lambda: Metric("cost_low", losses=_cost),
        lambda: Metric("c" * 61, losses=_cost),
        lambda: Metric("cost"),
        lambda: Metric("cost", estimate=auc_estimate),
        lambda: Metric("cost", losses=_cost, tasks=()),
        lambda: Metric("cost", losses=_cost, bound=0.0),
        lambda: Metric("cost", losses=_cost, bound=float("nan")),
        lambda: Metric("cost", losses=_cost, bound=float("inf")),
        lambda: Metric("cost", losses=_cost, bound=1.0, higher_is_better=True),
        lambda: Metric("auc_2", estimate=auc_estimate, difference=auc_difference, bound=1.0),
    ],
)
def test_a_metric_that_means_nothing_is_refused_where_it_is_declared(make: Callable[[], Metric]) -> None:
    """With its name and what to do."""
    with pytest.raises(InvalidInput, match=r"^metric '") as error:
        make()
    assert error.value.next_step


def test_names_are_told_apart_and_the_closest_is_offered() -> None:
    """Two metrics of one name, and one of ours under another meaning, are refused; the same one twice is one."""
    with pytest.raises(InvalidInput, match="there is no metric named 'logloss'") as error:
        get_metric("logloss", asked_by="monitor m")
    assert "did you mean 'log_loss'?" in error.value.next_step
    assert error.value.reason.startswith("monitor m: ")
    with pytest.raises(InvalidInput, match="there is no metric named 'zzz'"):
        get_metric("zzz")
    ours = Metric("brier", losses=_cost)
    twins = [COST, Metric("cost", losses=lambda score, label: score)]
    for ask in (
        lambda: get_metric(ours),
        lambda: not_worse(0.1, metric=ours),
        lambda: check_names(twins),
        lambda: _compared(*twins),
        lambda: evaluate_metrics([0.5, 0.5], [0, 1], twins),
    ):
        with pytest.raises(InvalidInput, match="there are two metrics named"):
            ask()
    assert metrics_of(own=[COST, COST, METRICS["auc"]]) == (*METRICS.values(), COST)
    with pytest.raises(InvalidInput, match="not one of binary models"):
        metrics_of(own=[Metric("rmse", losses=_cost, tasks=(Task.REGRESSION,))])


def test_one_metric_of_the_users_own_goes_all_the_way() -> None:
    """Compared, asked for by the gate, kept with the run, watched in use, and weighed by the judge of a rollout."""
    evaluation = _compared(COST)
    gate = at_most(COST, 2.0) & not_worse(0.05, metric=COST) & holds_on_slices(0.2, metric=COST)
    assert gate(evaluation).passed
    kept = evaluation.metrics()
    offline = Estimate(value=kept["cost"], low=kept["cost_low"], high=kept["cost_high"])
    assert offline == evaluation.candidate["cost"]

    truth, _, labels = _world(seed=1)
    live = performance(truth, labels, predictions=ROWS, metrics=[COST])
    assert not decayed(offline, live.metrics["cost"], 0.05, higher_is_better=COST.higher_is_better).passed
    broken = performance(1 - truth, labels, predictions=ROWS, metrics=[COST])
    assert decayed(offline, broken.metrics["cost"], 0.05, higher_is_better=COST.higher_is_better).passed
    nobody = reference(COST, None, "", lambda: None)
    anew = reference(COST, offline, "of another version", lambda: _world()[::2])
    assert (nobody, reference(COST, offline, str(COST.digest), lambda: None), anew) == (
        None,
        offline,
        offline,
    )

    judge = quality(margin=0.1, metric=COST)
    assert judge.metric is COST and judge.name == "quality(margin=0.1, alpha=0.01, metric=cost)"
    for canary, verdict in ((truth, Verdict.PASS), (1 - truth, Verdict.FAIL)):
        mine, others = (bounded_losses(COST, scores.tolist(), labels.tolist()) for scores in (canary, truth))
        drawn = [
            ScoredRequest(
                seq=place,
                request_id=f"r{place:05}",
                unit=f"r{place:05}",
                arm=Arm.CANARY,
                share=50,
                failed=False,
                loss=loss,
                other_loss=other_loss,
            )
            for place, (loss, other_loss) in enumerate(zip(mine, others, strict=True))
        ]
        assert judge(evidence_of(drawn, judge)).verdict is verdict


# ---- the digest of a metric's source

_MODULE = """
import functools
import numpy as np
from everloop.evaluation.metric import Metric
RATE = {rate}
def helper(score):
    return score * {factor}
def losses(score, label):{comment}
    return np.where(label == 1, helper(score), RATE)
def made(weight):
    return lambda score, label: score * weight
cost = Metric("cost", losses=losses)
held = Metric("held", losses=made({weight}))
bound = Metric("bound", losses=functools.partial(lambda score, label, by: score * by, by={weight}))
two = [Metric("one", losses=lambda s, l: s * {left}), Metric("other", losses=lambda s, l: s * {right})]
"""
_USUAL = {"rate": "2.0", "factor": "3", "comment": "", "weight": "4.0", "left": "1", "right": "1"}


def _digests(tmp_path: Path, **changes: str) -> dict[str, str]:
    file = tmp_path / f"m{len(list(tmp_path.iterdir()))}.py"
    file.write_text(_MODULE.format(**{**_USUAL, **changes}))
    module = ModuleType("m")
    exec(compile(file.read_text(), str(file), "exec"), vars(module))  # noqa: S102
    found = [module.cost, module.held, module.bound, *module.two]
    return {metric.name: str(metric.digest) for metric in found}


def test_the_digest_changes_with_what_a_metric_does_and_not_with_how_it_is_written(tmp_path: Path) -> None:
    """Its own lines, the helpers and constants of its module, and what it closes over count; a comment does not."""
    usual = _digests(tmp_path)
    assert _digests(tmp_path) == usual == _digests(tmp_path, comment="  # in euros\n")
    for change, touched in (
        ({"rate": "2.5"}, {"cost"}),
        ({"factor": "7"}, {"cost"}),
        ({"weight": "5.0"}, {"held", "bound"}),
    ):
        changed = _digests(tmp_path, **change)
        assert {name for name in usual if usual[name] != changed[name]} == touched
    apart = _digests(tmp_path, right="2")
    assert apart["one"] != apart["other"]
    assert all(metric.digest == "" for metric in METRICS.values())


_HELD = [
    "import prices\ndef losses(score, label): return prices.rate(score)",
    "import prices\ndef losses(score, label): return prices.RATE * score",
    "import shop.prices\ndef losses(score, label): return shop.prices.RATE * score",
    "import numpy as np\nRATES = np.array([1.0, {}])\ndef losses(score, label): return RATES[1] * score",
    "from datetime import timedelta\nOVER = timedelta({})\ndef losses(score, label): return OVER.days * score",
    "class Price:\n  rate = {}\ndef losses(score, label): return Price.rate * score",
    "class Price:\n  @staticmethod\n  def of(score): return {} * score\ndef losses(score, label): return Price.of(score)",
    "class Price:\n  def __call__(self, score, label): return {} * score\nlosses = Price()",
    "class Price:\n  def __init__(self, rate): self.rate = rate\n  def of(self, s, l): return self.rate * s\n"
    "losses = Price({}).of",
    "from dataclasses import dataclass\n@dataclass\nclass Price:\n  rate: float\nPRICE = Price({})\n"
    "def losses(score, label): return PRICE.rate * score",
    "from enum import Enum\nclass Price(Enum):\n  FULL = {}\n"
    "def losses(score, label): return Price.FULL.value * score",
    "from functools import lru_cache\n@lru_cache\ndef rate(): return {}\ndef losses(score, label): return rate() * score",
]


def test_the_digest_covers_all_that_the_project_says(tmp_path: Path) -> None:
    """Other modules, classes, and values of any class, the same in every process; a module's other lines do not count."""

    def digests(number: int, other: int = 0) -> list[str]:
        (tmp_path / "shop").mkdir(exist_ok=True)
        for name in ("prices.py", "shop/prices.py"):
            prices = f"OTHER = {other}\nRATE = {number}\ndef rate(score):\n    return {number} * score\n"
            (tmp_path / name).write_text(prices)
        for place, code in enumerate(_HELD):
            (tmp_path / f"cost{place}.py").write_text(code.replace("{}", str(number)))
        names = [f"cost{place}" for place in range(len(_HELD))]
        run = (
            f"import importlib, everloop as ev\nfor name in {names}:\n"
            "    print(ev.Metric('cost', losses=importlib.import_module(name).losses).digest)"
        )
        command = [sys.executable, "-B", "-c", run]
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout.split()

    usual, changed = digests(1), digests(2)
    assert usual == digests(1, other=1)
    assert [code for code, one, two in zip(_HELD, usual, changed, strict=True) if one == two] == []


def test_the_digest_is_the_same_in_another_process_and_there_where_no_source_is() -> None:
    """A worker's is compared with a controller's; at a prompt there is no file to read."""
    code = (
        "from everloop.evaluation.metric import Metric\n"
        "print(Metric('cost', losses=lambda s, l: (s if s in {'a', 'b', 'c'} else l)).digest,"
        "Metric('cost', losses=lambda s, l: l - s).digest)"
    )
    done = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(2)
    ]
    assert done[0] == done[1]
    assert len({*done[0]}) == 2


def test_an_evaluation_remembers_whose_source_made_its_numbers() -> None:
    """Of metrics of the user's own; ours come with everloop."""
    assert _compared(COST, HITS).metric_digests == {"cost": COST.digest, "hits": HITS.digest}
    assert _compared().metric_digests == {}
    assert COST == Metric("cost", losses=_cost, bound=PRICE) != Metric("cost", losses=_cost)


def test_a_metric_is_declared_without_loading_numpy() -> None:
    """A command line starts at once, whatever the project declares."""
    code = (
        "import sys, everloop as ev\n"
        "cost = ev.Metric('cost', losses=lambda score, label: score, bound=2.0)\n"
        "ev.at_most(cost, 1.0), ev.not_worse(0.1, metric=cost), ev.quality(metric=cost)\n"
        "print({'numpy', 'scipy', 'pyarrow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
