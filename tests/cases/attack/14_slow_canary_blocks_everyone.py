"""The challenger needs about 0.2 s for a row. Requests answered by the champion must not become slower than 2x + 20 ms."""

import time
from _h import *

FOREST = """    from sklearn.ensemble import RandomForestClassifier
    estimator = RandomForestClassifier(n_estimators=1500, max_depth=3, random_state=1)
"""
root, port = project(swap("    return ev.fit(", FOREST + "    return ev.fit("))
server = serve(root, port)


def measure(n):
    took = []
    for _ in range(n):
        t = time.monotonic()
        status, answer = ask(port, 20)
        took.append(
            (time.monotonic() - t, answer.get("parameters", {}).get("arm") if status == 200 else status)
        )
    return sorted(t for t, a in took if a == "stable"), sorted(t for t, a in took if a == "canary")


before, _ = measure(100)
server.terminate()
server.wait(20)
ran = cli(root, "run", "keep_fresh", timeout=120)
if "challenger" not in ran.stdout:
    verdict(False, "no challenger: " + ran.stdout[-300:] + ran.stderr[-300:])
loop = start(root, "up")
wait_ready(port)
up_to(lambda: "rollout.started" in said(loop), 40)
up_to(lambda: ask(port, 20)[1]["parameters"]["arm"] == "canary", 40, 0.05)
stable, canary_times = measure(40)
mid = lambda v: v[len(v) // 2] if v else float("nan")
verdict(
    stable[len(stable) // 2] < 2 * mid(before) + 0.02,
    f"champion's answers, median: {mid(before) * 1e3:.1f} ms alone, {mid(stable) * 1e3:.1f} ms while the slow canary has 20 % and shadows the rest (canary itself {mid(canary_times) * 1e3:.0f} ms)",
)
