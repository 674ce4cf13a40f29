"""clearml#336: the keys of a dict artifact come back in another order."""

import kit

kit.inside()
SRC = """
from everloop import pipeline, step
@step
def weights() -> dict[str, float]:
    return {"zeta": 3.0, "alpha": 1.0, "mid": 2.0}
@step(cache=False)
def show(w: dict[str, float]) -> None:
    print("GOT", *w)
@pipeline
def flow() -> None:
    show(weights())
"""
out = kit.cli(kit.project(SRC), "run", "flow").stdout
got = [l for l in out.splitlines() if "GOT" in l][0].split()[1:]
kit.verdict(
    got == ["zeta", "alpha", "mid"], f"returned in the order zeta, alpha, mid; the next step sees {got}"
)
