"""Profile and gate of a batch beside DuckDB's SUMMARIZE of the same rows: prints a ratio, below 1 when faster.

    python benchmarks/data/profile.py --rows 1000000

Thirty columns: 20 numbers (normal, lognormal, gamma, counts, a flag), 10 categories of 2 to 50,000 levels, 1 % nulls.
Both run in one process and use every core they like. SUMMARIZE gives minimum, maximum, mean, deviation,
quartiles and a rough number of distinct values; the profile gives the same and a histogram, exact counts of
values, and the gate its verdict.
"""

import argparse
import resource
import time
from collections.abc import Callable

import duckdb
import numpy as np
import pyarrow as pa

from everloop.data.gate import judge_batch
from everloop.data.profile import profile
from everloop.data.schema import infer
from everloop.records.data import DataVerdict
from everloop.records.datasets import Dataset

LEVELS = (2, 3, 5, 10, 16, 50, 100, 1_000, 5_000, 50_000)


def columns(rows: int, seed: int) -> pa.Table:
    """The batch: the same seed gives the same rows."""
    random = np.random.default_rng(seed)
    numbers = {f"normal_{i}": random.normal(size=rows) for i in range(10)}
    numbers |= {f"lognormal_{i}": random.lognormal(size=rows) for i in range(5)}
    numbers |= {f"gamma_{i}": random.gamma(2.0, size=rows) for i in range(3)}
    whole = {"count": random.poisson(4, rows), "flag": random.integers(0, 2, rows)}
    arrays = {
        name: pa.array(values, mask=random.random(rows) < 0.01) for name, values in (numbers | whole).items()
    }
    for levels in LEVELS:
        codes = pa.array(random.integers(0, levels, rows), mask=random.random(rows) < 0.01)
        names = pa.array([f"level-{i:05d}" for i in range(levels)])
        arrays[f"category_{levels}"] = names.take(codes)
    return pa.table(arrays)


def best(work: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Least wall and CPU seconds of several runs."""
    seen = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        seen.append((time.perf_counter() - wall, time.process_time() - cpu))
    return min(seen)


def main() -> None:
    """Measure both in turn and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    last, batch = columns(options.rows, seed=1), columns(options.rows, seed=2)
    dataset, schema = Dataset("rows", keys=(), event_time=None), infer(last)
    history = [profile(last)]

    def ours() -> None:
        seen = profile(batch, edges=history[0].edges())
        verdict, findings = judge_batch(dataset, schema, seen, infer(batch), history)
        assert verdict is DataVerdict.PASS, findings

    def theirs() -> None:
        with duckdb.connect() as connection:
            connection.register("batch", batch)
            connection.sql("SUMMARIZE batch").fetchall()

    def told(name: str, seconds: tuple[float, float]) -> None:
        print(f"{name:28} {seconds[0]:7.3f} s  {seconds[1]:7.3f} s CPU")

    print(f"{options.rows:,} rows x {batch.num_columns} columns, best of {options.repeats}")
    mine = best(ours, options.repeats)
    told("everloop profile + gate", mine)
    other = best(theirs, options.repeats)
    told("DuckDB SUMMARIZE", other)
    print(f"ratio {mine[0] / other[0]:.2f} wall, {mine[1] / other[1]:.2f} CPU")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB, tables included")


if __name__ == "__main__":
    main()
