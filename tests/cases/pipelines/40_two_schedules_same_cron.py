"""dagster#21697 and prefect#719 (time zones of schedules): the same cron line in two zones is two schedules."""

import kit

kit.inside()
SRC = """
from everloop import Triggers, on_schedule, pipeline, step
@step
def work() -> int:
    return 1
@pipeline
def flow() -> None:
    work()
triggers = Triggers(flow, on_schedule("0 9 * * 1-5", timezone="Europe/Vienna"), on_schedule("0 9 * * 1-5", timezone="America/New_York"))
"""
done = kit.cli(kit.project(SRC), "run", "flow")
kit.verdict(done.returncode == 0, kit.oneline(done.stdout + done.stderr))
