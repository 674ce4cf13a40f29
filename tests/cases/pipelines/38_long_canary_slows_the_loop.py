"""argo-rollouts#1107 / apscheduler#526 (the controller drowns): all rows of the rollout are read again at every look; a canary that runs for days on a busy endpoint."""

import kit

kit.inside()
import json, os, time

SRC = (
    kit.TINY
    + """
model = RegisteredModel("m", gate=anything)
@step
def train(c: float) -> Model:
    x = np.linspace(-2, 2, 80); t = pa.table({"a": x}); s = infer_signature(t, inputs=["a"])
    return Model(LogisticRegression(C=c).fit(matrix(s, t), (x > 0).astype(int)), s)
@step
def evaluate(m: Model) -> str:
    return "not looked at"
@pipeline
def flow(c: float) -> None:
    m = train(c); register(model, m, evaluate(m))
@step(cache=False)
def nothing() -> None: pass
@pipeline
def other() -> None: nothing()
endpoint = Endpoint("m", model=model, rollout=Canary(steps=[20, 50]))
triggers = Triggers(other, on_schedule("* * * * *"), cooldown=timedelta(0), budget=Budget(10_000, per=timedelta(days=1)))
"""
)
root = kit.project(SRC, toml='[worker]\npoll_seconds = 0.2\n[clock]\nfile = "clock.txt"')
import trig

trig.clock(root, "2025-03-01T00:00:30Z")
for c in ("1", "2"):
    kit.cli(root, "run", "flow", "-p", f"c={c}")


def rss(pid):
    return int(next(l for l in open(f"/proc/{pid}/status") if l.startswith("VmRSS")).split()[1]) // 1024


with kit.up(root) as (child, lines):
    url = lines.until(lambda g: g.get("type") == "serving", 60)["url"].removeprefix("http://")
    lines.until(lambda g: False, 2)

    def look(minute):
        begin = time.time()
        trig.clock(root, f"2025-03-01T00:{minute:02}:30Z")
        got = lines.until(lambda g: "trigger.started" in str(g), 120)
        return None if got is None else time.time() - begin

    notes = [(0, round(look(1) or -1, 1), rss(child.pid))]
    sent = 0
    for rounds in (5, 10):
        for _ in range(rounds):
            s, a = kit.http_(
                url, "POST", "/v1/models/m:predict", {"instances": [[0.5]] * 10_000}, timeout=120
            )
            sent += 10_000
        lines.until(lambda g: False, 6)
        notes.append((sent, round(look(len(notes) + 1) or -1, 1), rss(child.pid)))
print("rows answered, seconds until a due schedule starts, MiB of `everloop up`:", notes)
kit.verdict(notes[-1][1] < 4 * max(notes[0][1], 0.5) and notes[-1][2] < notes[0][2] + 300, notes)
