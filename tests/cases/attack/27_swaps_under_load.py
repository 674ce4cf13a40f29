"""Regression, held: N=20 promotions by hand under keep-alive load: none lost, none labelled with the wrong version, the old one is gone within 0.5 s."""

import threading, time
from _h import *

root, port = project(swap("trees: int = 60", "trees: int = 25"))
cli(root, "run", "keep_fresh")
cli(root, "promote", "churn@2", "--why", "x")
cli(root, "promote", "churn@1", "--why", "x")
serve(root, port)
answers, failed, stop = [], [], threading.Event()


def load():
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    body = json.dumps({"instances": [list(ROWS.values())]})
    while not stop.is_set():
        try:
            c.request("POST", "/v1/models/churn:predict", body)
            a = json.load(c.getresponse())
            answers.append((a["model_version"], a["predictions"][0], time.time()))
        except Exception as e:
            failed.append(repr(e))
            return
        time.sleep(0.003)


threads = [threading.Thread(target=load) for _ in range(3)]
[t.start() for t in threads]
drive = """
import time
import everloop as ev
with ev.open() as project:
    for i in range(20):
        v = 2 - i % 2
        project.promote(f"churn@{v}", why="swap"); print(v, time.time(), flush=True); time.sleep(.6)
"""
out = subprocess.run([PY, "-c", drive], cwd=root, capture_output=True, text=True).stdout.split("\n")[:-1]
stop.set()
[t.join() for t in threads]
swaps = [(l.split()[0], float(l.split()[1])) for l in out]
worst = max(
    max(
        [
            t - at
            for v, _, t in answers
            if at < t < (swaps[i + 1][1] if i + 1 < len(swaps) else at + 0.6) and v != to
        ],
        default=0,
    )
    for i, (to, at) in enumerate(swaps)
)
kinds = {(v, s) for v, s, _ in answers}
verdict(
    not failed and len(kinds) == 2 and worst < 0.5,
    f"{len(swaps)} swaps, {len(answers)} answers, {len(failed)} failed, {len(kinds)} pairs of version and score, last old answer {worst * 1e3:.0f} ms after the commit",
)
