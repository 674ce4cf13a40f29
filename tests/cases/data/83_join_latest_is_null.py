"""Seen in: duckdb#18303 (the last value that is not null is taken). Right: the latest row counts, its null too."""

from _case import *

from everloop import FeatureService, FeatureView, historical_features


def day(d: int, h: int = 0, year: int = 2024) -> datetime:
    return datetime(year, 1, d, h, tzinfo=UTC)


def joined(ask: pa.Table, source: pa.Table, **view: object) -> dict:
    given = {"source": "s", "join_key": "k", "event_time": "e", "columns": ["x"]} | view
    v = FeatureView("v", **given)
    out = historical_features(FeatureService("f", [v]), ask, at="at", sources={"s": source})
    return {n: out[n].to_pylist() for n in v.features}


src = pa.table({"k": ["a", "a"], "e": [day(1), day(2)], "x": [42, None]})
got = joined(pa.table({"k": ["a"], "at": [day(3)]}), src)
tell(got == {"v_x": [None]}, str(got))
