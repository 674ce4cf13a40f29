"""Seen in: pandera#1048, feast (ids become floats beside nulls). Right: refused in a sentence, not matched by luck."""

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

try:
    got = joined(
        pa.table({"k": [1.0, None], "at": [day(2)] * 2}), pa.table({"k": [1], "e": [day(1)], "x": [7]})
    )
    tell(got == {"v_x": [7, None]}, str(got))
except InvalidInput as error:
    tell("k" in str(error), str(error))
