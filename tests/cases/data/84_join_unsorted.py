"""Seen in: polars#18014, #20882 (unsorted sides give wrong values). Right: order is free."""

from _case import *

from everloop import FeatureService, FeatureView, historical_features


def day(d: int, h: int = 0, year: int = 2024) -> datetime:
    return datetime(year, 1, d, h, tzinfo=UTC)


def joined(ask: pa.Table, source: pa.Table, **view: object) -> dict:
    given = {"source": "s", "join_key": "k", "event_time": "e", "columns": ["x"]} | view
    v = FeatureView("v", **given)
    out = historical_features(FeatureService("f", [v]), ask, at="at", sources={"s": source})
    return {n: out[n].to_pylist() for n in v.features}


src = pa.table({"k": ["a", "b", "a"], "e": [day(5), day(1), day(2)], "x": [1, 3, 2]})
got = joined(pa.table({"k": ["a", "b", "a"], "at": [day(6), day(2), day(3)]}), src)
tell(got == {"v_x": [1, 3, 2]}, str(got))
