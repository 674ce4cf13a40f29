"""apscheduler#526, #1066: the clock jumps 175 years ahead with a schedule of every minute: one run, and no hanging."""

import kit

kit.inside()
import time, trig

root = trig.make(trig.source('on_schedule("* * * * *")', 'on_schedule("0 0 29 2 1")'), "2025-03-01T00:00:30Z")
with kit.up(root) as (child, lines):
    lines.until(lambda g: g.get("type") == "up", 60)
    lines.until(lambda g: False, 1.5)
    begin = time.time()
    trig.clock(root, "2200-01-01T00:00:30Z")
    got = lines.until(lambda g: "run.completed" in str(g), 30)
    took = time.time() - begin
    lines.until(lambda g: False, 2)
n = len(trig.runs(root))
kit.verdict(got is not None and took < 10 and n <= 2, f"{n} runs after {took:.1f} s")
