"""Seen in: feast#6787 (rows that share key and time are collapsed). Right: one row back for each row that asks."""

from _case import *

from everloop import FeatureService, FeatureView, historical_features


def day(d: int, h: int = 0, year: int = 2024) -> datetime:
    return datetime(year, 1, d, h, tzinfo=UTC)


def joined(ask: pa.Table, source: pa.Table, **view: object) -> dict:
    given = {"source": "s", "join_key": "k", "event_time": "e", "columns": ["x"]} | view
    v = FeatureView("v", **given)
    out = historical_features(FeatureService("f", [v]), ask, at="at", sources={"s": source})
    return {n: out[n].to_pylist() for n in v.features}


got = joined(
    pa.table({"k": ["a"] * 3, "at": [day(3)] * 3, "order": [1, 2, 3]}),
    pa.table({"k": ["a"], "e": [day(1)], "x": [7]}),
)
tell(got == {"v_x": [7, 7, 7]}, str(got))
