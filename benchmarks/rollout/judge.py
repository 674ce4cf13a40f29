"""How often the judge is wrong, how soon it is right, and what it costs to ask it.

    python benchmarks/rollout/judge.py --runs 1000 --json judge.json

Rollouts are simulated with known truth. The judge looks after every `--every` requests until it says pass or fail, which is
the kind of peeking that makes an ordinary test roll back a healthy model in 21 to 39 % of canaries. Rates come with exact
95 % bounds (Clopper & Pearson). The cost is that of the whole judge on stored outcomes against a plain loop that keeps
running means of the same outcomes, which is the least that any judge could do.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from scipy.special import betaincinv

from everloop.records.serving import Arm
from everloop.rollout.evidence import Evidence, of_pairs
from everloop.rollout.judge import Judge, Judgement, Verdict, error_rate, quality, weigh_errors

ALPHA = 0.01
Request = tuple[str, int, Arm, bool]
"""Unit, canary's percent, arm, failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What the two revisions are really like, and the traffic they get."""

    name: str
    stable: float
    canary: float
    percents: tuple[int, ...] = (50,)
    """Share of the canary, one after the other in equal parts of the rollout."""
    drift: float = 1.0
    """Factor by which both error rates have grown at the end of the rollout."""
    users: int = 0
    """Sticky users, each with an error rate of its own; 0 makes every request its own unit."""
    requests: int = 2_000
    margin: float = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A share of runs with its exact 95 % bounds."""

    of: int
    runs: int
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What came out of one scenario."""

    name: str
    rolled_back: Rate
    promoted: Rate
    median_requests: float | None
    """Requests until the verdict, in the runs that got one."""
    ninetieth: float | None


def bounded(of: int, runs: int) -> Rate:
    """Clopper and Pearson's bounds."""
    low = float(betaincinv(of, runs - of + 1, 0.025)) if of else 0.0
    high = float(betaincinv(of + 1, runs - of, 0.975)) if of < runs else 1.0
    return Rate(of=of, runs=runs, low=low, high=high)


def traffic(truth: Truth, seed: int) -> Iterator[Request]:
    """The requests of one rollout."""
    rng = random.Random(seed)
    places = [rng.random() for _ in range(truth.users)]
    # Errors of users are spread so that the average stays and a few users have most of them.
    luck = [rng.gammavariate(0.2, 5.0) for _ in range(truth.users)]
    for number in range(truth.requests):
        percent = truth.percents[number * len(truth.percents) // truth.requests]
        user = rng.randrange(truth.users) if truth.users else -1
        place = places[user] if truth.users else rng.random()
        where = Arm.CANARY if place < percent / 100 else Arm.STABLE
        grown = 1 + (truth.drift - 1) * number / truth.requests
        rate = (
            (truth.canary if where is Arm.CANARY else truth.stable)
            * grown
            * (luck[user] if truth.users else 1.0)
        )
        yield (f"user-{user}" if truth.users else f"r{number}"), percent, where, rng.random() < rate


def looks(requests: Iterable[Request], margin: float, every: int) -> Iterator[tuple[int, Judgement]]:
    """The shipped verdict on errors after every so many requests; only the counting is done as they come."""
    first: Counter[tuple[int, Arm, bool]] = Counter()
    failures: Counter[tuple[int, Arm]] = Counter()
    met: set[str] = set()
    failed_before: set[str] = set()
    for number, (unit, percent, where, failed) in enumerate(requests, 1):
        if unit not in met:
            met.add(unit)
            first[percent, where, failed] += 1
        if failed and unit not in failed_before:
            failed_before.add(unit)
            failures[percent, where] += 1
        if number % every == 0:
            yield number, weigh_errors(Evidence(firsts=first, failures=failures), margin, ALPHA)


def of_errors(truth: Truth, runs: int, every: int) -> Found:
    """The judge of errors on one truth."""
    return told(truth.name, [looks(traffic(truth, seed), truth.margin, every) for seed in range(runs)])


def of_quality(
    name: str, harm: float, margin: float, spread: float, count: int, runs: int, every: int
) -> Found:
    """The judge of quality on pairs whose difference in Brier loss has this mean and roughly this spread."""
    return told(name, [pair_looks(seed, harm, margin, spread, count, every) for seed in range(runs)])


def pair_looks(
    seed: int, harm: float, margin: float, spread: float, count: int, every: int
) -> Iterator[tuple[int, Judgement]]:
    """The shipped verdict on quality after every so many pairs."""
    judge, seen = quality(margin), Evidence()
    extra = list(extra_losses(seed, count, harm=harm, spread=spread))
    for number in range(every, count + 1, every):
        seen += added_up(judge, extra[number - every : number])
        yield number, judge(seen)


def told(name: str, rollouts: list[Iterator[tuple[int, Judgement]]]) -> Found:
    """Follow each rollout to its first decisive verdict, and count."""
    ends = [decided for rollout in rollouts if (decided := decision(rollout)) is not None]
    when = sorted(number for number, _ in ends)
    verdicts = Counter(verdict for _, verdict in ends)
    return Found(
        name=name,
        rolled_back=bounded(verdicts[Verdict.FAIL], len(rollouts)),
        promoted=bounded(verdicts[Verdict.PASS], len(rollouts)),
        median_requests=statistics.median(when) if when else None,
        ninetieth=when[len(when) * 9 // 10] if when else None,
    )


def decision(rollout: Iterator[tuple[int, Judgement]]) -> tuple[int, Verdict] | None:
    """The first verdict that is not marginal, and after how many requests it came."""
    for number, judgement in rollout:
        if judgement.verdict is not Verdict.MARGINAL:
            return number, judgement.verdict
    return None


def extra_losses(seed: int, count: int, *, harm: float, spread: float) -> Iterator[float]:
    """How much more the canary loses on each of so many requests: `harm` on average."""
    rng = random.Random(seed)
    return (min(max(harm + rng.gauss(0.0, spread), -1.0), 1.0) for _ in range(count))


def added_up(judge: Judge, extra: Iterable[float]) -> Evidence:
    """The evidence of these pairs, as a look makes it."""
    assert judge.terms is not None
    terms = [judge.terms(more) for more in extra]
    return of_pairs([50] * len(terms), terms)


def running_means(stored: tuple[tuple[Request, float], ...]) -> tuple[float, float, float]:
    """The floor: error rates of both arms and the mean difference in loss, and no judgement."""
    requests, failed = {Arm.STABLE: 0, Arm.CANARY: 0}, {Arm.STABLE: 0, Arm.CANARY: 0}
    total = 0.0
    for (_, _, arm, fails), extra in stored:
        requests[arm] += 1
        failed[arm] += fails
        total += extra
    canary, stable = (failed[arm] / max(requests[arm], 1) for arm in (Arm.CANARY, Arm.STABLE))
    return canary, stable, total / max(len(stored), 1)


def cost(count: int, rounds: int) -> dict[str, float]:
    """Microseconds per outcome, medians of interleaved rounds."""
    truth = Truth(name="cost", stable=0.01, canary=0.01, requests=count)
    extra = list(extra_losses(0, count, harm=0.0, spread=0.06))
    stored = tuple(zip(traffic(truth, 0), extra, strict=True))
    judge = error_rate() & quality()
    evidence = added_up(judge, extra)
    work: dict[str, Callable[[], object]] = {
        "running means (the floor)": partial(running_means, stored),
        "adding up pairs": partial(added_up, judge, extra),
        "a verdict on the sums": partial(judge, evidence),
    }
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, do in work.items():
            start = time.perf_counter()
            do()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(took) / count * 1e6 for name, took in seconds.items()}


TRUTHS = (
    Truth(name="equal, 2 %, canary 50 %", stable=0.02, canary=0.02),
    Truth(name="equal, 2 %, canary 10 %", stable=0.02, canary=0.02, percents=(10,)),
    Truth(
        name="equal, 0.5 -> 2 % drift, ramp 5 -> 50 %",
        stable=0.005,
        canary=0.005,
        percents=(5, 20, 50),
        drift=4.0,
    ),
    Truth(
        name="equal, 150 sticky users, 2 % on average", stable=0.02, canary=0.02, percents=(10, 50), users=150
    ),
    Truth(name="equal, no errors at all, canary 50 %", stable=0.0, canary=0.0),
    Truth(name="equal, no errors at all, canary 20 %", stable=0.0, canary=0.0, percents=(20,)),
    Truth(name="worse by the margin, 1 -> 3 %", stable=0.01, canary=0.03),
    Truth(name="worse by the margin, 1 -> 3 %, ramp 20 -> 50 %", stable=0.01, canary=0.03, percents=(20, 50)),
    Truth(name="worse by the margin, 0 -> 2 %", stable=0.0, canary=0.02),
    Truth(name="+5 points, 1 -> 6 %, canary 50 %", stable=0.01, canary=0.06, requests=8_000),
    Truth(name="+5 points, 1 -> 6 %, canary 10 %", stable=0.01, canary=0.06, percents=(10,), requests=12_000),
)


def report(found: Iterable[Found], costs: dict[str, float]) -> None:
    """Print what was found."""
    print(f"{'truth':50} {'rolled back %':>22} {'promoted %':>22} {'requests: median':>17} {'90 %':>7}")
    for one in found:
        shown = [
            f"{100 * rate.of / rate.runs:.2f} ({100 * rate.low:.2f}-{100 * rate.high:.2f})"
            for rate in (one.rolled_back, one.promoted)
        ]
        times = ["-" if value is None else f"{value:,.0f}" for value in (one.median_requests, one.ninetieth)]
        print(f"{one.name:50} {shown[0]:>22} {shown[1]:>22} {times[0]:>17} {times[1]:>7}", flush=True)
    print()
    for name, micros in costs.items():
        print(f"{name:30} {micros:8.3f} µs per outcome")


def main() -> None:
    """Read the arguments, simulate, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=1_000, help="rollouts per truth for errors")
    parser.add_argument("--pair-runs", type=int, default=300, help="rollouts per truth for quality")
    parser.add_argument("--every", type=int, default=10, help="look after every so many requests")
    parser.add_argument("--outcomes", type=int, default=5_000, help="stored outcomes to time the judge on")
    parser.add_argument("--json", type=Path, help="also write the results here")
    given = parser.parse_args()
    found = [of_errors(truth, given.runs, given.every) for truth in TRUTHS]
    found += [
        of_quality("quality: equal, spread 0.06", 0.0, 0.01, 0.06, 1_500, given.pair_runs, 50),
        of_quality("quality: worse by the margin, spread 0.06", 0.01, 0.01, 0.06, 1_500, given.pair_runs, 50),
        of_quality("quality: worse by 5 margins, spread 0.06", 0.05, 0.01, 0.06, 1_500, given.pair_runs, 10),
    ]
    costs = cost(given.outcomes, rounds=9)
    report(found, costs)
    if given.json:
        given.json.write_text(
            json.dumps({"truths": [asdict(one) for one in found], "micros": costs}, indent=1)
        )


if __name__ == "__main__":
    main()
