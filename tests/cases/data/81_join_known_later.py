"""Seen in: feast#6615 (a row is used before it was known), feast#3360 (three copies of one event). Right: only what was known; of copies the one created last."""

from _case import *

from everloop import FeatureService, FeatureView, historical_features


def day(d: int, h: int = 0, year: int = 2024) -> datetime:
    return datetime(year, 1, d, h, tzinfo=UTC)


def joined(ask: pa.Table, source: pa.Table, **view: object) -> dict:
    given = {"source": "s", "join_key": "k", "event_time": "e", "columns": ["x"]} | view
    v = FeatureView("v", **given)
    out = historical_features(FeatureService("f", [v]), ask, at="at", sources={"s": source})
    return {n: out[n].to_pylist() for n in v.features}


src = pa.table({"k": ["a"] * 3, "e": [day(1)] * 3, "c": [day(3), day(1), day(8)], "x": [1, 2, 3]})
got = joined(pa.table({"k": ["a"] * 3, "at": [day(2), day(4), day(9)]}), src, created_time="c")
tell(got == {"v_x": [2, 1, 3]}, str(got))
