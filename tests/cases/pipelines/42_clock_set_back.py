"""apscheduler#351, #752, schedule PR#323: the clock was wrong (a year ahead) and is corrected; runs must not wait for a year."""

import kit

kit.inside()
import trig

root = trig.make(
    trig.source('on_schedule("*/10 * * * *")', cooldown="timedelta(minutes=5)"), "2026-03-01T00:01:00Z"
)
with kit.up(root) as (child, lines):
    lines.until(lambda g: g.get("type") == "up", 60)
    lines.until(lambda g: False, 1.5)
    trig.clock(root, "2026-03-01T00:10:30Z")
    first = lines.until(lambda g: "run.completed" in str(g), 15)
    trig.clock(root, "2025-03-01T00:11:00Z")
    lines.until(lambda g: False, 1.5)  # NTP has corrected it
    got = None
    for minute in (20, 30, 40):
        trig.clock(root, f"2025-03-01T00:{minute}:30Z")
        got = got or lines.until(lambda g: "run.completed" in str(g), 3)
status = kit.cli(root, "status").stdout
kit.verdict(
    first is not None and got is not None,
    f"first run: {first is not None}; a run in the half hour after the correction: {got is not None}; status: {[l for l in status.splitlines() if 'schedule' in l][:2]}",
)
