"""Not a case: a project with a clock file and a schedule, for the cases 41 to 45."""

import json, time
import kit


def source(*rules, cooldown="timedelta(0)", more=""):
    return f"""
from datetime import timedelta
from everloop import Budget, Triggers, on_schedule, pipeline, step
@step(cache=False)
def work() -> int:
    return 1
@pipeline
def flow() -> None:
    work()
{more}
triggers = Triggers(flow, {", ".join(rules)}, cooldown={cooldown}, budget=Budget(10_000, per=timedelta(days=1)))
"""


def clock(root, text):
    fresh = root / "clock.new"
    fresh.write_text(text)
    fresh.replace(root / "clock.txt")


def make(src, at):
    root = kit.project(src, toml='[clock]\nfile = "clock.txt"\n[worker]\npoll_seconds = 0.1')
    clock(root, at)
    return root


def runs(root):
    found = json.loads(kit.cli(root, "runs", "--limit", "500", "--json").stdout)
    return found if isinstance(found, list) else found["runs"]
