"""Seen in: polars#10264 (panic), duckdb#23933. Right: null keys match nothing, and every row comes back."""

from _case import *

from everloop import FeatureService, FeatureView, historical_features


def day(d: int, h: int = 0, year: int = 2024) -> datetime:
    return datetime(year, 1, d, h, tzinfo=UTC)


def joined(ask: pa.Table, source: pa.Table, **view: object) -> dict:
    given = {"source": "s", "join_key": "k", "event_time": "e", "columns": ["x"]} | view
    v = FeatureView("v", **given)
    out = historical_features(FeatureService("f", [v]), ask, at="at", sources={"s": source})
    return {n: out[n].to_pylist() for n in v.features}


src = pa.table({"k": ["a", None, "b"], "e": [day(1)] * 3, "x": [1, 2, 3]})
got = joined(pa.table({"k": [None, "a", None, "b"], "at": [day(2)] * 3 + [None]}), src)
tell(got == {"v_x": [None, 1, None, None]}, str(got))
