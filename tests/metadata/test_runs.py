"""Runs: one for each key, one worker at a time, and a worker that lost its run writes nothing more."""

import threading
from dataclasses import replace

import pytest
from sqlalchemy.exc import StatementError

from everloop.errors import Conflict, NotFound
from everloop.metadata.runs import (
    check_epoch,
    claim_run,
    end_run,
    get_run,
    has_work,
    list_runs,
    pin_run,
    request_run,
    run_metrics,
)
from everloop.metadata.steps import begin_step, end_step
from everloop.records.data import DatasetPin
from everloop.records.runs import CodeVersion, Run, RunState, StepRun
from everloop.storage import ledger
from everloop.storage.workspace import Workspace
from tests.support.runs import CODE, ENVIRONMENT, claim, pin, request, running, step
from tests.support.work import counting
from tests.support.workspaces import HandClock


def kept(workspace: Workspace, run: Run) -> Run:
    """The run as the database has it."""
    with workspace.database.read() as tx:
        return get_run(tx, run.id)


def told(workspace: Workspace) -> list[str]:
    """Types of all events so far."""
    with workspace.database.read() as tx:
        return [event.short_type for event in ledger.read(tx)]


def end(workspace: Workspace, run: Run, state: RunState = RunState.COMPLETE, error: str | None = None) -> Run:
    """End a run after two seconds of work."""
    with workspace.database.write() as tx:
        return end_run(tx, workspace, run, state, seconds=2.0, error=error)


def dead(worker: str) -> bool:
    """No worker is alive."""
    return False


def test_a_request_is_kept_as_it_was_made(workspace: Workspace) -> None:
    """With every param as it was, whatever JSON it is."""
    asked = request(workspace, rows=10, rate=0.5, names=["a", "b"], deep={"x": None}, none=None)
    assert kept(workspace, asked) == asked
    assert asked.state is RunState.START
    assert asked.params == {"rows": 10, "rate": 0.5, "names": ["a", "b"], "deep": {"x": None}, "none": None}
    assert told(workspace) == ["run.requested"]


def test_a_request_may_ask_for_older_data_and_for_no_registration(workspace: Workspace) -> None:
    """Both are kept with the run; one that says neither registers, and reads the newest."""
    with workspace.database.write() as tx:
        asked = request_run(
            tx,
            workspace,
            pipeline="train",
            key="k",
            trigger="on_demand",
            reason="",
            who="ann",
            values={},
            register=False,
            data={"flights": 3, "planes": 0},
        )
    assert kept(workspace, asked) == asked
    assert (asked.register, asked.data) == (False, {"flights": 3, "planes": 0})
    plain = kept(workspace, request(workspace, "other"))
    assert (plain.register, plain.data) == (True, {})


def test_the_same_key_is_the_same_run(workspace: Workspace) -> None:
    """Whatever else the second request says; one event tells of it."""
    first = request(workspace, "k", rows=1)
    assert request(workspace, "k", rows=2) == first
    assert request(workspace, "other").id != first.id
    assert told(workspace) == ["run.requested", "run.requested"]


def test_threads_that_ask_for_the_same_run_get_one(workspace: Workspace) -> None:
    """One firing makes one run, however many see it fire."""
    asked: list[Run] = []
    threads = [threading.Thread(target=lambda: asked.append(request(workspace))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(asked) == 8
    assert len({run.id for run in asked}) == 1
    assert told(workspace) == ["run.requested"]


def test_a_claim_takes_the_oldest(workspace: Workspace, clock: HandClock) -> None:
    """In the order of asking, also within one moment of the clock."""
    asked = [request(workspace, key, pipeline=key) for key in ("c", "a", "b")]
    clock.move(seconds=1)
    asked.append(request(workspace, "0", pipeline="0"))
    taken = [claim(workspace, alive=lambda worker: True) for _ in range(5)]
    assert [run and run.id for run in taken] == [run.id for run in asked] + [None]


def test_a_claimed_run_says_who_has_it(workspace: Workspace, clock: HandClock) -> None:
    """State, worker, epoch and the time of its start, in the record and in the database."""
    asked = request(workspace)
    clock.move(seconds=5)
    claimed = claim(workspace, "ann")
    assert claimed == replace(asked, state=RunState.RUNNING, worker="ann", epoch=1, started_at=clock())
    assert kept(workspace, asked) == claimed
    assert told(workspace) == ["run.requested", "run.started"]


def test_a_pipeline_runs_once_at_a_time(workspace: Workspace) -> None:
    """While one of its runs is under way the next one waits, also when it is asked for by name; others do not wait."""
    first, second, other = (
        request(workspace, "1"),
        request(workspace, "2"),
        request(workspace, "3", pipeline="p"),
    )
    assert claim(workspace, only=first.id) is not None
    assert claim(workspace, only=second.id) is None
    taken = claim(workspace)
    assert taken is not None
    assert taken.id == other.id
    assert claim(workspace) is None
    end(workspace, kept(workspace, first))
    taken = claim(workspace)
    assert taken is not None
    assert taken.id == second.id


def test_only_the_named_run_is_taken(workspace: Workspace) -> None:
    """Nothing older, and nothing at all once it has ended."""
    request(workspace, "1", pipeline="p")
    second = request(workspace, "2", pipeline="q")
    taken = claim(workspace, only=second.id)
    assert taken is not None
    assert taken.id == second.id
    end(workspace, taken)
    assert claim(workspace, only=second.id) is None


def test_a_dead_workers_run_is_taken_over_first(workspace: Workspace, clock: HandClock) -> None:
    """With a higher epoch, its first start kept, before anything that waits; a live worker keeps its own."""
    request(workspace, "1", pipeline="waits")
    left = running(workspace, "2")
    started = clock()
    clock.move(seconds=60)
    taken = claim(workspace, "new", alive=dead)
    assert taken == replace(left, worker="new", epoch=2, resumed=1, started_at=started)
    assert kept(workspace, left) == taken
    assert told(workspace)[-1] == "run.resumed"
    again = claim(workspace, "third", alive=lambda worker: worker == "new")
    assert again is not None
    assert again.pipeline == "waits"


def test_threads_that_claim_at_once_never_get_the_same_run(workspace: Workspace) -> None:
    """Eight workers, five pipelines with two runs each: five runs are taken, one of each pipeline."""
    for n in range(10):
        request(workspace, str(n), pipeline=f"p{n % 5}")
    taken: list[Run | None] = []
    threads = [threading.Thread(target=lambda n=n: taken.append(claim(workspace, f"w{n}"))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(run.pipeline for run in taken if run) == [f"p{n}" for n in range(5)]


def test_a_worker_that_lost_its_run_writes_nothing_more(workspace: Workspace) -> None:
    """Neither pins nor steps nor its end: another one has it, whatever the slow one believes."""
    slow = running(workspace)
    fast = claim(workspace, "fast", alive=dead)
    assert fast is not None
    begun = StepRun(
        run_id=slow.id,
        step="s",
        position=0,
        state=RunState.RUNNING,
        cache_key="k",
        started_at=workspace.now(),
    )
    before = told(workspace)
    with workspace.database.write() as tx:
        for write in (
            lambda: check_epoch(tx, slow),
            lambda: begin_step(tx, slow, begun),
            lambda: end_step(tx, workspace, slow, begun),
            lambda: end_run(tx, workspace, slow, RunState.COMPLETE, seconds=1.0),
            lambda: pin_run(tx, slow, code=CODE, env=ENVIRONMENT, datasets=(), models=()),
        ):
            with pytest.raises(Conflict, match="taken over or ended"):
                write()
    assert kept(workspace, slow) == fast
    assert told(workspace) == before
    assert end(workspace, fast).state is RunState.COMPLETE


def test_a_run_ends_once(workspace: Workspace, clock: HandClock) -> None:
    """How, when, and after how long; a second end is refused, and so is a claim."""
    run = running(workspace)
    clock.move(seconds=10)
    ended = end(workspace, run, RunState.FAIL, "no data")
    assert ended == replace(run, state=RunState.FAIL, ended_at=clock(), seconds=2.0, error="no data")
    assert kept(workspace, run) == ended
    assert told(workspace)[-1] == "run.failed"
    with pytest.raises(Conflict, match="taken over or ended"):
        end(workspace, run)
    with workspace.database.write() as tx:
        assert claim_run(tx, workspace, worker="w", alive=dead) is None


@pytest.mark.parametrize("error", ["a NUL \0 inside", "half a character \udc80", "ünï\u2028", "x" * 100_000])
def test_any_error_text_can_be_kept(workspace: Workspace, error: str) -> None:
    """What a user's code raises may hold anything, and the run must end all the same."""
    ended = end(workspace, running(workspace), RunState.FAIL, error)
    assert kept(workspace, ended) == ended
    assert len(ended.error or "") == len(error)


def test_what_a_run_reads_is_fixed_once(workspace: Workspace) -> None:
    """A worker that takes it over cannot move it to newer data, models or code."""
    first = pin(workspace, running(workspace), datasets={"flights": 3, "weather": 5}, models=2)
    assert first.code == CODE
    assert first.environment == ENVIRONMENT
    assert first.datasets == (
        DatasetPin(dataset="flights", version=3, rows=10),
        DatasetPin(dataset="weather", version=5, rows=10),
    )
    assert [(model.alias, model.version, model.digest) for model in first.models] == [
        ("champion", 2, "m" * 64)
    ]
    resumed = claim(workspace, "new", alive=dead)
    assert resumed is not None
    with workspace.database.write() as tx:
        again = pin_run(
            tx,
            resumed,
            code=CodeVersion(commit=None, dirty=True, digest="0" * 64),
            env=replace(ENVIRONMENT, digest="1" * 64),
            datasets=[DatasetPin(dataset="flights", version=9), DatasetPin(dataset="planes", version=1)],
            models=(),
        )
    assert (again.code, again.environment) == (first.code, first.environment)
    assert (again.datasets, again.models) == (first.datasets, first.models)
    assert kept(workspace, again) == again


def test_a_champion_that_is_not_there_yet_is_pinned_as_none(workspace: Workspace) -> None:
    """It stays none although one appears meanwhile."""
    run = pin(workspace, running(workspace))
    assert [(model.version, model.digest) for model in run.models] == [(None, None)]


def test_runs_are_found_by_a_part_of_their_id(workspace: Workspace) -> None:
    """Its beginning or its end, at least four letters; what matches several, or none, is told."""
    one = request(workspace, "1")
    with workspace.database.read() as tx:
        assert get_run(tx, one.id[:8]) == get_run(tx, one.id[-12:]) == one
        for part in ("", one.id[-3:], "____", "%%%%", one.id.replace("-", "_")):
            with pytest.raises(NotFound, match="everloop runs"):
                get_run(tx, part)
    request(workspace, "2")
    with workspace.database.read() as tx, pytest.raises(Conflict, match="2 runs match"):
        get_run(tx, one.id[:8])


def test_runs_are_listed_newest_first(workspace: Workspace, clock: HandClock) -> None:
    """Of one pipeline, in one state, so many."""
    asked = []
    for n in range(4):
        asked.append(request(workspace, str(n), pipeline=f"p{n % 2}"))
        clock.move(seconds=n % 2)
    taken = claim(workspace, only=asked[0].id)
    with workspace.database.read() as tx:
        assert [run.id for run in list_runs(tx)] == [run.id for run in reversed(asked)]
        assert [run.id for run in list_runs(tx, pipeline="p0")] == [asked[2].id, asked[0].id]
        assert list_runs(tx, state=RunState.RUNNING) == [taken]
        assert [run.id for run in list_runs(tx, limit=1)] == [asked[3].id]


def test_a_list_of_runs_asks_no_more_than_one_run(workspace: Workspace) -> None:
    """Each run of it is whole, and as it is by itself."""
    for number in range(7):
        request(workspace, f"k{number}", pipeline=f"p{number}", number=number, name=f"n{number}")
        run = claim(workspace)
        assert run is not None
        if number % 2 == 0:
            pin(workspace, run, datasets={"rows": number, "other": 1}, models=number or None)
    with workspace.database.read() as tx:
        with counting(workspace.database) as one:
            list_runs(tx, limit=1)
        with counting(workspace.database) as all:
            found = list_runs(tx)
        assert len(found) == 7 and found == [get_run(tx, run.id) for run in found]
        assert {run.state for run in found} == {RunState.RUNNING}
    assert all.statements == one.statements
    assert found[1].params == {"number": 5, "name": "n5"}


def test_there_is_work_until_all_has_ended(workspace: Workspace) -> None:
    """A run that is under way is work too: its worker may be dead."""

    def work() -> bool:
        with workspace.database.read() as tx:
            return has_work(tx)

    assert not work()
    request(workspace)
    assert work()
    run = claim(workspace)
    assert run is not None
    assert work()
    end(workspace, run)
    assert not work()


def test_metrics_are_kept_as_they_were_measured(workspace: Workspace) -> None:
    """What is not a number is not a number on every database; of two steps with one name the later one counts."""
    run = running(workspace)
    step(workspace, run, "late", place=1, metrics={"auc": 0.75, "nan": float("nan")})
    step(workspace, run, "early", place=0, metrics={"auc": 0.5, "inf": float("inf"), "zero": 0.0})
    with workspace.database.read() as tx:
        found = run_metrics(tx, run.id)
    assert str(sorted(found.items())) == "[('auc', 0.75), ('inf', inf), ('nan', nan), ('zero', 0.0)]"


def test_a_param_that_json_cannot_hold_is_refused(workspace: Workspace) -> None:
    """And no run is made."""
    with pytest.raises((TypeError, StatementError)):
        request(workspace, bad=object())  # type: ignore[arg-type]
    assert told(workspace) == []


def test_an_id_may_be_written_in_capitals(workspace: Workspace) -> None:
    """On every database, also when only a part of it is given."""
    one = request(workspace, "one")
    with workspace.database.read() as tx:
        assert get_run(tx, one.id.upper()) == get_run(tx, one.id[-12:].upper()) == one
