"""Looks: what they add up is what the log and the labels say, in whatever pieces and whatever order it came."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, event, func, select, update

from everloop.errors import Corrupted
from everloop.monitoring.labels import record_labels
from everloop.records.events import Event
from everloop.records.models import CHALLENGER, CHAMPION
from everloop.records.serving import (
    Arm,
    Label,
    Prediction,
    Rollout,
    RolloutState,
    Traffic,
    TrafficSplit,
)
from everloop.rollout import controller, looks
from everloop.rollout.canary import Canary
from everloop.rollout.controller import reconcile, settle
from everloop.rollout.endpoint import Endpoint
from everloop.rollout.endpoints import find_traffic, list_rollouts
from everloop.rollout.evidence import Evidence
from everloop.rollout.judge import Judge, error_rate, quality
from everloop.rollout.looks import is_same, keep, look, recount
from everloop.storage import ledger
from everloop.storage.schema import predictions, rollout_evidence, rollout_pairs, rollout_units
from everloop.storage.workspace import Workspace
from tests.support.scored import evidence_of, gather
from tests.support.traffic import ask, label, log, point, prediction, register

JUDGE = error_rate(margin=0.3) & quality(margin=0.3)
PLAN = Canary(steps=(50,), min_requests=60, judge=JUDGE)
ENDPOINT = Endpoint("late", model="late", rollout=PLAN)
_fresh = count()


@pytest.fixture
def rolling(workspace: Workspace) -> Workspace:
    """Version 1 is champion, and version 2 has half of its traffic; on each database."""
    register(workspace, 1, alias=CHAMPION)
    settle(workspace, ENDPOINT)
    register(workspace, 2, alias=CHALLENGER)
    settle(workspace, ENDPOINT)
    return workspace


def _rollout(workspace: Workspace) -> Rollout:
    with workspace.database.read() as tx:
        return list_rollouts(tx, "late")[-1]


def _traffic(workspace: Workspace) -> Traffic:
    with workspace.database.read() as tx:
        found = find_traffic(tx, "late")
    assert found is not None
    return found


def _events(workspace: Workspace, kind: str) -> list[Event]:
    with workspace.database.read() as tx:
        return ledger.read(tx, types=[kind])


def look_on(workspace: Workspace, judge: Judge, *, most: int) -> Evidence:
    """Look and keep, in pieces of so many rows, until there is nothing new."""
    rollout = _rollout(workspace)
    while True:
        with workspace.database.write() as tx:
            seen = look(tx, rollout, judge, most=most)
            assert keep(tx, rollout, judge, seen)
        if seen.whole:
            return seen.now.evidence


def _slow(workspace: Workspace, judge: Judge) -> Evidence:
    with workspace.database.read() as tx:
        return evidence_of(gather(tx, _rollout(workspace), judge.metric), judge)


# A request: who asks, which arm it meets at which share, what becomes of it.
REQUESTS = st.tuples(
    st.integers(0, 5),
    st.sampled_from([20, 50]),
    st.booleans(),
    st.booleans(),
    st.floats(0, 1),
    st.floats(0, 1),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), REQUESTS),
        st.tuples(st.just("label"), st.tuples(st.integers(0, 30), st.sampled_from([0.0, 1.0, "none"]))),
        st.tuples(st.just("look"), st.integers(1, 7)),
        st.tuples(st.just("other"), st.integers(0, 3)),
    ),
    max_size=40,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
@pytest.mark.parametrize("judge", [JUDGE, error_rate()], ids=["labels", "errors"])
def test_looks_add_up_to_what_a_slow_reading_finds_in_one(
    rolling: Workspace, judge: Judge, steps: list[tuple[str, Any]]
) -> None:
    """Late and corrected labels, repeats, looks of any size: kept, counted anew and read slowly are one to the bit."""
    asked: list[str] = []
    name = f"case-{next(_fresh)}"
    for place, (what, given_) in enumerate(steps):
        if what == "ask":
            asked.append(f"{name}-{place}")
            log(rolling, _rows(rolling, asked[-1], *given_))
        elif what == "label" and asked:
            which, value = given_
            _label(rolling, asked[which % len(asked)], value)
        elif what == "look":
            look_on(rolling, judge, most=given_)
        elif what == "other":
            log(rolling, _foreign(rolling, f"{name}-{place}")[given_ : given_ + 1])
    kept = look_on(rolling, judge, most=1_000)
    with rolling.database.read() as tx:
        counted = recount(tx, _rollout(rolling), judge)
    assert kept == counted == _slow(rolling, judge)
    assert is_same(kept, counted)


def _label(workspace: Workspace, id: str, value: Any) -> None:
    with workspace.database.write() as tx:
        record_labels(tx, [Label(prediction_id=id, value=value, time=workspace.now())], workspace.now())


def _rows(
    workspace: Workspace,
    id: str,
    unit: int,
    percent: int,
    on_canary: bool,
    fails: bool,
    mine: float,
    others: float,
) -> list[Prediction]:
    """What a server logs of one request: the arm that was met, and who answered for it or looked on."""
    at = workspace.now()
    arm, version, share = (Arm.CANARY, 2, percent) if on_canary else (Arm.STABLE, 1, 100 - percent)

    def row(version: int, arm: Arm, share: int, output: float | None) -> Prediction:
        return prediction(
            id,
            time=at,
            version=version,
            arm=arm,
            share=share,
            unit=f"unit-{unit}",
            output=output,
            failed=output is None,
        )

    first = row(version, arm, share, None if fails else mine)
    if on_canary and fails:
        return [first, row(1, Arm.STABLE, 100 - percent, others)]
    return [first] if fails else [first, row(3 - version, Arm.SHADOW, share, others)]


def _foreign(workspace: Workspace, id: str) -> list[Prediction]:
    """What is no part of it: a version that was named, one endpoint and one model further, and what came too early."""
    at = workspace.now()
    return [
        prediction(f"{id}-named", time=at, version=2, arm=Arm.CANARY, share=0),
        prediction(f"{id}-elsewhere", time=at, version=1, share=50, endpoint="other"),
        prediction(f"{id}-model", time=at, version=1, share=50, model="other"),
        prediction(f"{id}-early", time=at, version=1, share=50, arrived_at=at - timedelta(days=1)),
    ]


def test_evidence_is_what_each_request_met(rolling: Workspace) -> None:
    """A canary that failed counts as failed though another answered; shadows and late labels pair; the rest is left out."""
    at = rolling.now()

    def row(id: str, version: int, arm: Arm, share: int, **other: Any) -> None:
        log(rolling, [prediction(id, time=at, version=version, arm=arm, share=share, **other)])

    row("stable", 1, Arm.STABLE, 80, output=0.1)
    row("stable", 2, Arm.SHADOW, 80, output=0.4)
    row("canary", 2, Arm.CANARY, 20, output=0.2)
    row("canary", 1, Arm.SHADOW, 20, output=0.3)
    row("fallback", 2, Arm.CANARY, 20, output=None, failed=True, error="it broke")
    row("fallback", 1, Arm.STABLE, 80, output=0.6)
    row("alone", 1, Arm.STABLE, 80, output=0.9)
    row("unlabelled", 2, Arm.CANARY, 20, output=0.9)
    row("whole", 1, Arm.STABLE, 100, output=0.9)  # before the server had followed
    row("stranger", 7, Arm.STABLE, 80, output=0.9)
    log(rolling, _foreign(rolling, "foreign"))
    label(rolling, dict.fromkeys(("stable", "canary", "fallback", "alone", "whole"), 0.0))
    found = look_on(rolling, JUDGE, most=100)
    assert found.firsts == {
        (20, Arm.STABLE, False): 2,
        (20, Arm.CANARY, False): 2,
        (20, Arm.CANARY, True): 1,
    }
    assert (found.failures, found.requests, found.pairs) == ({(20, Arm.CANARY): 1}, {20: 5}, {20: 3})
    extra = (0.16 - 0.01) + (0.04 - 0.09) + (1.0 - 0.36)
    assert found.sums[0][0] == pytest.approx(extra)
    blind = look_on(rolling, error_rate(), most=100)
    assert (blind.firsts, blind.pairs, blind.sums) == (found.firsts, {}, ())


def test_a_corrected_label_takes_its_old_factor_out(rolling: Workspace) -> None:
    """What is left is the evidence of the label that counts, to the last bit, and of none when it is no number any more."""
    nothing = look_on(rolling, JUDGE, most=10)
    log(rolling, _rows(rolling, "a", 1, 50, True, False, 0.1, 0.7))
    label(rolling, {"a": 1.0})
    first = look_on(rolling, JUDGE, most=10)
    label(rolling, {"a": 0.0})
    second = look_on(rolling, JUDGE, most=10)
    assert first.pairs == second.pairs == {50: 1} and first.sums != second.sums
    label(rolling, {"a": 1.0})
    assert look_on(rolling, JUDGE, most=10) == first
    _label(rolling, "a", "none")
    assert look_on(rolling, JUDGE, most=10) == replace(nothing, **_asked(first))


def _asked(evidence: Evidence) -> dict[str, Any]:
    return {"firsts": evidence.firsts, "requests": evidence.requests, "unit": evidence.unit}


def test_a_judge_with_another_margin_counts_anew(rolling: Workspace) -> None:
    """Its stakes are others: nothing that was added up for the judge before is taken for its own."""
    other = error_rate(margin=0.3) & quality(margin=0.2)
    for place in range(5):
        log(rolling, _rows(rolling, f"r{place}", place, 50, place % 2 == 0, False, 0.2, 0.6))
        label(rolling, {f"r{place}": 1.0})
        look_on(rolling, JUDGE, most=3)
    assert look_on(rolling, other, most=2) == _slow(rolling, other) != _slow(rolling, JUDGE)


def test_whoever_comes_second_writes_nothing(rolling: Workspace) -> None:
    """Two controllers that looked at the same moment: one look counts, and nothing is added twice."""
    log(rolling, _rows(rolling, "a", 1, 50, True, False, 0.1, 0.7))
    rollout = _rollout(rolling)
    with rolling.database.read() as tx:
        one, other = look(tx, rollout, JUDGE), look(tx, rollout, JUDGE)
    with rolling.database.write() as tx:
        assert keep(tx, rollout, JUDGE, one)
        assert not keep(tx, rollout, JUDGE, other)
    assert look_on(rolling, JUDGE, most=10) == _slow(rolling, JUDGE)


def test_nothing_is_kept_of_a_rollout_that_is_over(rolling: Workspace) -> None:
    """Its verdict stays, and what looks have counted goes."""
    _play(rolling, 120, output=0.9)
    assert _rollout(rolling).state is RolloutState.PROMOTED
    with rolling.database.read() as tx:
        for table in (rollout_evidence, rollout_units, rollout_pairs):
            assert tx.execute(select(func.count()).select_from(table)).scalar_one() == 0
    assert _events(rolling, "rollout.recounted") == []


def _play(workspace: Workspace, number: int, *, output: float) -> None:
    """So many labelled requests, with a look after every ten."""
    for start in range(0, number, 10):
        names = [f"r{place}" for place in range(start, start + 10)]
        label(workspace, dict.fromkeys(ask(workspace, _traffic(workspace), names, outputs={2: output}), 1.0))
        settle(workspace, ENDPOINT)


@pytest.mark.parametrize("wrong", ["failures", "pairs"])
def test_the_log_decides_where_looks_have_counted_something_else(rolling: Workspace, wrong: str) -> None:
    """Evidence that was tampered with ends nothing: the log is counted, and an event says that it differs."""
    names = ask(rolling, _traffic(rolling), [f"r{n}" for n in range(30)], outputs={2: 0.6})
    label(rolling, dict.fromkeys(names, 1.0))
    settle(rolling, ENDPOINT)
    with rolling.database.write() as tx:
        packed = dict(tx.execute(select(rollout_evidence.c.evidence)).scalar_one())
        if wrong == "failures":
            packed["failures"] = [[50, "canary", 25], [50, "stable", 1]]
        else:
            packed["pairs"], packed["sums"] = [[50, 500]], [[400.0]] + [[30.0]] * 8 + [[-9.0]] * 8
        tx.execute(update(rollout_evidence).values(evidence=packed))
    assert reconcile(rolling, ENDPOINT) is False
    assert _rollout(rolling).state is RolloutState.RUNNING, "by the log there is too little to say"
    (told,) = _events(rolling, "rollout.recounted")
    assert told.subject == "late@2" and "the log decides" in str(told.data["because"])
    assert told.data["kept"] != told.data["log"]
    assert look_on(rolling, JUDGE, most=7) == _slow(rolling, JUDGE)
    assert reconcile(rolling, ENDPOINT) is False
    assert len(_events(rolling, "rollout.recounted")) == 1


def _statements(workspace: Workspace, endpoint: Endpoint) -> list[str]:
    """What a look asks the database when ten labelled requests are new."""
    names = [f"new-{next(_fresh)}" for _ in range(10)]
    label(workspace, dict.fromkeys(ask(workspace, _traffic(workspace), names), 1.0))
    asked: list[str] = []

    def hear(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        asked.append(statement)

    event.listen(workspace.database.engine, "before_cursor_execute", hear)
    try:
        reconcile(workspace, endpoint)
    finally:
        event.remove(workspace.database.engine, "before_cursor_execute", hear)
    return asked


def test_a_look_asks_the_same_whatever_was_before(rolling: Workspace) -> None:
    """The very statements after 2,000 requests are those after none, and what was read is not read again."""
    endpoint = Endpoint("late", model="late", rollout=replace(PLAN, min_requests=10_000))
    settle(rolling, endpoint)
    first = _statements(rolling, endpoint)
    label(
        rolling,
        dict.fromkeys(ask(rolling, _traffic(rolling), [f"old-{n}" for n in range(1_000)]), 1.0),
    )
    settle(rolling, endpoint)
    assert _statements(rolling, endpoint) == first
    with rolling.database.read() as tx:
        seen = look(tx, _rollout(rolling), JUDGE)
    assert (seen.now, seen.units, seen.pairs) == (seen.before, {}, {})


@contextmanager
def _heard(workspace: Workspace) -> Iterator[list[tuple[str, Any]]]:
    """Every statement of a block, with its values."""
    asked: list[tuple[str, Any]] = []

    def hear(_connection: object, _cursor: object, statement: str, values: Any, *_: object) -> None:
        asked.append((statement, values))

    event.listen(workspace.database.engine, "before_cursor_execute", hear)
    try:
        yield asked
    finally:
        event.remove(workspace.database.engine, "before_cursor_execute", hear)


def test_a_look_reads_no_log_whole(rolling: Workspace) -> None:
    """Also of a database that has never counted its rows: each statement goes along the numbers or by an index."""
    endpoint = Endpoint("late", model="late", rollout=replace(PLAN, min_requests=10_000))
    names = ask(rolling, _traffic(rolling), [f"old-{n}" for n in range(1_500)])
    label(rolling, dict.fromkeys(names, 1.0))
    settle(rolling, endpoint)
    label(rolling, dict.fromkeys(ask(rolling, _traffic(rolling), [f"new-{n}" for n in range(5)]), 1.0))
    with rolling.database.read() as tx:
        with _heard(rolling) as asked:
            look(tx, _rollout(rolling), JUDGE)
        selects = [(text, values) for text, values in asked if text.startswith("SELECT")]
        assert len(selects) >= 6
        for text, values in selects:
            plan = _plan(tx, text, values)
            # Of a few thousand labels PostgreSQL may think that it is quicker to read them than to look them up.
            assert not re.search(r"Seq Scan on predictions|SCAN (predictions|labels)(?! USING)", plan), plan
            if tx.dialect.name == "sqlite":
                assert "ix_predictions_endpoint_time" not in plan, "all that the endpoint was ever asked"


def _plan(tx: Connection, statement: str, values: Any) -> str:
    explain = "EXPLAIN QUERY PLAN" if tx.dialect.name == "sqlite" else "EXPLAIN"
    return "\n".join(str(row[-1]) for row in tx.exec_driver_sql(f"{explain} {statement}", values))


def test_what_is_moved_by_hand_is_followed_whatever_is_left_to_read(rolling: Workspace) -> None:
    """Not behind a backlog, and not behind evidence that cannot be read at all."""
    names = ask(rolling, _traffic(rolling), [f"r{n}" for n in range(3)])
    label(rolling, dict.fromkeys(names, 1.0))
    with rolling.database.write() as tx:
        tx.execute(update(predictions).values(outputs=b"no outputs"))
    with pytest.raises(Corrupted):
        reconcile(rolling, ENDPOINT)
    register(rolling, 3)
    point(rolling, CHAMPION, 3)
    assert reconcile(rolling, ENDPOINT)
    assert (_traffic(rolling).stable, _rollout(rolling).state) == (3, RolloutState.INCONCLUSIVE)


def test_a_harmful_canary_serves_nobody_while_many_requests_are_counted(
    rolling: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its share is taken at the first look that finds harm; the count that ends the rollout comes after that."""
    monkeypatch.setattr(controller, "_MANY", 50)
    names = ask(rolling, _traffic(rolling), [f"r{n}" for n in range(120)], outputs={2: 0.0})
    label(rolling, dict.fromkeys(names, 1.0))
    assert reconcile(rolling, ENDPOINT)
    held = _traffic(rolling)
    assert (held.split, held.shadow, held.canary) == (TrafficSplit(stable=100), False, 2)
    assert _rollout(rolling).state is RolloutState.RUNNING
    assert reconcile(rolling, ENDPOINT)
    assert _rollout(rolling).state is RolloutState.ROLLED_BACK
    assert _traffic(rolling).canary is None


def test_what_others_are_asked_is_no_news(rolling: Workspace) -> None:
    """A look that finds only rows of other endpoints writes nothing, so an idle rollout costs no transaction."""
    settle(rolling, ENDPOINT)
    log(rolling, [prediction("elsewhere", time=rolling.now(), version=1, share=50, endpoint="other")])
    with _heard(rolling) as asked:
        assert not reconcile(rolling, ENDPOINT)
    assert not [text for text, _ in asked if re.match("INSERT|UPDATE|DELETE", text)]


def test_what_is_kept_of_a_long_rollout_goes_in_pieces(
    rolling: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody who writes waits for all of it: each transaction takes so many rows, and in the end all are gone."""
    monkeypatch.setattr(looks, "MOST", 25)
    names = ask(rolling, _traffic(rolling), [f"r{n}" for n in range(120)], outputs={2: 0.9})
    label(rolling, dict.fromkeys(names, 1.0))
    while _rollout(rolling).state is RolloutState.RUNNING:
        reconcile(rolling, ENDPOINT)
    left = [_left(rolling)]
    while left[-1]:
        is_more = reconcile(rolling, ENDPOINT)
        left.append(_left(rolling))
        assert is_more == (left[-1] > 0)
        assert 0 < left[-2] - left[-1] <= 25
    assert not reconcile(rolling, ENDPOINT)


def _left(workspace: Workspace) -> int:
    kept = (rollout_evidence, rollout_units, rollout_pairs)
    with workspace.database.read() as tx:
        return sum(tx.execute(select(func.count()).select_from(table)).scalar_one() for table in kept)


def test_names_of_any_length_have_a_rollout(workspace: Workspace) -> None:
    """A rollout is called after its endpoint and its model, and each may have a hundred letters."""
    name, model = "e" * 100, "m" * 100
    endpoint = Endpoint(name, model=model, rollout=PLAN)
    register(workspace, 1, model=model, alias=CHAMPION)
    settle(workspace, endpoint)
    register(workspace, 2, model=model, alias=CHALLENGER)
    settle(workspace, endpoint)
    with workspace.database.read() as tx:
        (rollout,) = list_rollouts(tx, name)
        traffic = find_traffic(tx, name)
    assert traffic is not None and traffic.salt == rollout.id
