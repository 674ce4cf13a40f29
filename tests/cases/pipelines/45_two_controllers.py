"""airflow/dagster style (two schedulers start each run twice): a second `everloop up`, and a second one right after the first is killed."""

import kit

kit.inside()
import json, time, trig

root = trig.make(trig.source('on_schedule("*/5 * * * *")'), "2025-03-01T00:01:00Z")
with kit.up(root) as (child, lines):
    lines.until(lambda g: g.get("type") == "up", 60)
    second = kit.cli(root, "up", "--json", timeout=60)
    lines.until(lambda g: False, 1)
    trig.clock(root, "2025-03-01T00:05:01Z")
    lines.until(lambda g: "run.completed" in str(g), 15)
    child.kill()
    child.wait()
with kit.up(root) as (again, lines):
    up = lines.until(lambda g: g.get("type") == "up", 60)
    lines.until(lambda g: False, 3)
    trig.clock(root, "2025-03-01T00:10:01Z")
    lines.until(lambda g: "run.completed" in str(g), 15)
n = len(trig.runs(root))
kit.verdict(
    second.returncode == 1 and up is not None and n == 2,
    f"second: rc {second.returncode} {kit.oneline(second.stderr, 120)}; after the kill: up {up is not None}; {n} runs for two slots",
)
