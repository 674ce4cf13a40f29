"""Seen in: no report looked up (negative epochs in windows). Right: a window is (at - over, at] at any time."""

from _case import *

from everloop import Aggregate, FeatureService, FeatureView, historical_features


def day(d: int, h: int = 0, year: int = 2024) -> datetime:
    return datetime(year, 1, d, h, tzinfo=UTC)


def joined(ask: pa.Table, source: pa.Table, **view: object) -> dict:
    given = {"source": "s", "join_key": "k", "event_time": "e", "columns": ["x"]} | view
    v = FeatureView("v", **given)
    out = historical_features(FeatureService("f", [v]), ask, at="at", sources={"s": source})
    return {n: out[n].to_pylist() for n in v.features}


src = pa.table(
    {
        "k": ["a"] * 3,
        "e": [day(2, year=1960), day(1, year=1960), datetime(1959, 12, 31, tzinfo=UTC)],
        "x": [1, 2, 4],
    }
)
got = joined(
    pa.table({"k": ["a"], "at": [day(3, year=1960)]}),
    src,
    columns=[],
    aggregates=[
        Aggregate(None, "count", over=timedelta(days=2)),
        Aggregate("x", "sum", over=timedelta(days=2)),
    ],
)
tell(list(got.values()) == [[1], [1]], str(got))
