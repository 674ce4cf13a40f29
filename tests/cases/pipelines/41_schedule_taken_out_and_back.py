"""airflow PR#38168, #39867, #19126 (catchup=False, and a run starts at once on unpausing): a schedule that is taken out for a month and put back must not make up for times that nobody promised."""

import kit

kit.inside()
import trig

daily, other = 'on_schedule("0 6 * * *")', 'on_schedule("0 12 1 1 *")'
root = trig.make(trig.source(daily), "2025-03-01T00:00:00Z")


def loop(seconds=3):
    with kit.up(root) as (child, lines):
        lines.until(lambda g: g.get("type") == "up", 60)
        lines.until(lambda g: False, seconds)


loop(2)
kit.put(root, "proj.py", trig.source(other))
trig.clock(root, "2025-03-01T01:00:00Z")
loop(2)
trig.clock(root, "2025-04-10T12:00:00Z")
loop(2)  # a month without the schedule
before = len(trig.runs(root))
kit.put(root, "proj.py", trig.source(daily))
loop(3)  # put back at 12:00, six hours after the slot
after = trig.runs(root)
kit.verdict(
    len(after) == before,
    f"runs before {before}; after it was put back {len(after)}: {[r['reason'] for r in after]}",
)
