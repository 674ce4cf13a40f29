"""Which runs made models fresh: found along an index, and the same as whoever reads every run finds."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert

from everloop.metadata.freshness import count_requested, find_newest_fresh, get_version_read
from everloop.metadata.runs import list_open_runs, list_runs
from everloop.records.runs import Run, RunState
from everloop.storage.schema import run_datasets, run_pins, runs
from everloop.storage.workspace import Workspace

PIPELINES, DATASETS = ("a", "b"), ("x", "y")
RUNS = st.lists(
    st.fixed_dictionaries(
        {
            "pipeline": st.sampled_from(PIPELINES),
            "state": st.sampled_from(list(RunState)),
            "register": st.booleans(),
            "asked": st.booleans(),
            "read": st.sets(st.sampled_from(DATASETS)),
            "minutes": st.integers(0, 4),
            "trigger": st.sampled_from(["on_demand", "drift"]),
        }
    ),
    max_size=12,
)


def write(workspace: Workspace, given: list[dict[str, Any]]) -> list[Run]:
    """These runs and no others; newest first."""
    with workspace.database.write() as tx:
        for table in (run_datasets, run_pins, runs):
            tx.execute(delete(table))
        for number, one in enumerate(given):
            id = f"run-{number:02}"
            plain = {name: one[name] for name in ("pipeline", "register", "trigger")}
            time = workspace.now() + timedelta(minutes=one["minutes"])
            tx.execute(
                insert(runs).values(
                    id=id, key=id, state=one["state"].value, reason="", who="", requested_at=time, **plain
                )
            )
            for dataset in one["read"]:
                read = {"run_id": id, "dataset": dataset, "version": number, "rows": 10 * number}
                tx.execute(insert(run_datasets).values(**read))
            if one["asked"]:
                tx.execute(insert(run_pins).values(run_id=id, dataset="x", version=0))
        return list_runs(tx)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(given_runs=RUNS, states=st.sets(st.sampled_from(list(RunState)), min_size=1))
def test_the_newest_is_that_of_all_runs(
    workspace: Workspace, given_runs: list[dict[str, Any]], states: set[RunState]
) -> None:
    """Whatever its state, its pins and its time; of two that were asked for at one moment, the later id."""
    every = write(workspace, given_runs)
    since = workspace.now() + timedelta(minutes=2)
    with workspace.database.read() as tx:
        for pipeline in PIPELINES:
            mine = [run for run in every if run.pipeline == pipeline]
            fresh = [run for run in mine if run.freshens and run.state in states]
            found = find_newest_fresh(tx, pipeline, states=states)
            assert (found and found.id) == (fresh[0].id if fresh else None)
            for dataset in DATASETS:
                read = [run for run in fresh if dataset in {pin.dataset for pin in run.datasets}]
                found = find_newest_fresh(tx, pipeline, states=states, read=dataset)
                assert (found and found.id) == (read[0].id if read else None)
                if found is not None:
                    assert get_version_read(tx, found.id, dataset) in read[0].datasets
            late = [run for run in mine if run.requested_at > since and run.trigger != "on_demand"]
            assert count_requested(tx, pipeline, since=since, but="on_demand") == len(late)
            assert list_open_runs(tx, pipeline) == [run for run in mine if not run.state.ended][::-1]
