"""Seen in: feast PR 1475, PR 1466 (zones other than UTC). Right: instants are compared; naive times are refused."""

from _case import *

from everloop import FeatureService, FeatureView, historical_features


def day(d: int, h: int = 0, year: int = 2024) -> datetime:
    return datetime(year, 1, d, h, tzinfo=UTC)


def joined(ask: pa.Table, source: pa.Table, **view: object) -> dict:
    given = {"source": "s", "join_key": "k", "event_time": "e", "columns": ["x"]} | view
    v = FeatureView("v", **given)
    out = historical_features(FeatureService("f", [v]), ask, at="at", sources={"s": source})
    return {n: out[n].to_pylist() for n in v.features}


from everloop.errors import InvalidInput

src = pa.table(
    {"k": ["a", "a"], "e": pa.array([day(1), day(2)]).cast(pa.timestamp("s", "Asia/Kathmandu")), "x": [1, 2]}
)
ask = pa.table(
    {"k": ["a", "a"], "at": pa.array([day(1, 23), day(2)]).cast(pa.timestamp("ns", "America/New_York"))}
)
got = joined(ask, src)
try:
    joined(pa.table({"k": ["a"], "at": [datetime(2024, 1, 3)]}), src)
    naive = "taken"
except InvalidInput as error:
    naive = "refused"
tell(got == {"v_x": [1, 2]} and naive == "refused", f"{got}, naive {naive}")
