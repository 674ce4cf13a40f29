"""apscheduler#116, dagster#17547/#32250: days on which the clocks change, 29 February, the 31st, the year's end."""

import kit

kit.inside()
import trig, datetime as dt


def slots(rule, start, hours, step=30):
    root = trig.make(trig.source(rule), start)
    t = dt.datetime.fromisoformat(start)
    with kit.up(root) as (child, lines):
        lines.until(lambda g: g.get("type") == "up", 60)
        lines.until(lambda g: False, 1)
        for n in range(1, int(hours * 60 / step) + 1):
            t2 = t + dt.timedelta(minutes=step * n)
            trig.clock(root, t2.isoformat().replace("+00:00", "Z"))
            lines.until(lambda g: "run.completed" in str(g), 0.35)
        lines.until(lambda g: False, 1)
    return sorted(r["reason"].rpartition("says ")[2] for r in trig.runs(root))


got = {
    "spring 02:30 Vienna": slots(
        'on_schedule("30 2 * * *", timezone="Europe/Vienna")', "2025-03-29T23:00:00Z", 5
    ),
    "autumn 02:30 Vienna": slots(
        'on_schedule("30 2 * * *", timezone="Europe/Vienna")', "2025-10-25T22:00:00Z", 6
    ),
    "autumn hourly Lord Howe": slots(
        'on_schedule("0 * * * *", timezone="Australia/Lord_Howe")', "2025-04-05T13:45:00Z", 4, 15
    ),
    "31st": slots('on_schedule("0 0 31 * *")', "2025-01-30T12:00:00Z", 24 * 62, 720),
}
want = {"spring 02:30 Vienna": 1, "autumn 02:30 Vienna": 1, "autumn hourly Lord Howe": 4, "31st": 2}
bad = {k: v for k, v in got.items() if len(v) != want[k]}
print(got)
kit.verdict(not bad, bad or {k: len(v) for k, v in got.items()})
