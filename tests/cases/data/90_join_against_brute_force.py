"""Seen in: feast#2960 (two stores, two answers). Right: what a plain loop over all rows finds, for 40 random tables with nulls, ties, late rows, ttl and windows."""

from _case import *

from everloop import Aggregate, FeatureService, FeatureView, historical_features


def day(d: int, h: int = 0, year: int = 2024) -> datetime:
    return datetime(year, 1, d, h, tzinfo=UTC)


def joined(ask: pa.Table, source: pa.Table, **view: object) -> dict:
    given = {"source": "s", "join_key": "k", "event_time": "e", "columns": ["x"]} | view
    v = FeatureView("v", **given)
    out = historical_features(FeatureService("f", [v]), ask, at="at", sources={"s": source})
    return {n: out[n].to_pylist() for n in v.features}


import numpy as np

rng, bad = np.random.default_rng(11), 0
for trial in range(40):
    n, m = int(rng.integers(0, 30)), int(rng.integers(1, 20))

    def times(k: int) -> pa.Array:
        return pa.array(
            [
                None
                if rng.random() < 0.08
                else 1_704_067_200_000_000 + int(rng.integers(0, 12)) * 3_600_000_000
                for _ in range(k)
            ],
            pa.timestamp("us", "UTC"),
        )

    def keys(k: int) -> pa.Array:
        return pa.array(
            [None if rng.random() < 0.1 else "abc"[rng.integers(3)] for _ in range(k)], pa.string()
        )

    src = pa.table(
        {
            "k": keys(n),
            "e": times(n),
            "c": times(n),
            "x": pa.array(
                [None if rng.random() < 0.2 else int(rng.integers(0, 9)) for _ in range(n)], pa.int64()
            ),
        }
    )
    ask = pa.table({"k": keys(m), "at": times(m)})
    ttl, over = timedelta(hours=int(rng.integers(0, 8))), timedelta(hours=int(rng.integers(1, 8)))
    got = list(
        zip(
            *joined(
                ask,
                src,
                created_time="c",
                ttl=ttl,
                aggregates=[
                    Aggregate(None, "count", over=over),
                    Aggregate("x", "sum", over=over),
                    Aggregate("x", "mean", over=over),
                ],
            ).values()
        )
    )
    for a, g in zip(ask.to_pylist(), got):
        seen = [
            (r["e"], r["c"], i, r["x"])
            for i, r in enumerate(src.to_pylist())
            if None not in (r["k"], r["e"], r["c"], a["k"], a["at"])
            and r["k"] == a["k"]
            and r["e"] <= a["at"]
            and r["c"] <= a["at"]
        ]
        best = max(seen, key=lambda q: q[:3], default=None)
        window = [q[3] for q in seen if q[0] > a["at"] - over]
        xs = [x for x in window if x is not None]
        want = (
            best[3] if best and a["at"] - best[0] <= ttl else None,
            len(window) if a["at"] else None,
            sum(xs) if xs else None,
            sum(xs) / len(xs) if xs else None,
        )
        bad += want != g
tell(bad == 0, f"{bad} rows differ")
