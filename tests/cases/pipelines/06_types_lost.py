"""zenml#1182 (an index silently becomes another one): a value that equals another one but is of another type must come back as it was, or be refused."""

import kit

kit.inside()
SRC = """
import collections, enum
from typing import Any
from everloop import pipeline, step
class Color(enum.StrEnum):
    RED = "red"
class Bag:
    pass
@step
def a() -> dict: return collections.defaultdict(int, {"x": 1})
@step
def b() -> dict: return collections.Counter("banana")
@step
def c() -> str: return Color.RED
@step
def d() -> Any: return collections.OrderedDict(b=1, a=2)
@step(cache=False)
def show(a: dict, b: dict, c: str, d: Any) -> None:
    print("GOT", *(type(v).__name__ for v in (a, b, c, d)))
@pipeline
def flow() -> None:
    show(a(), b(), c(), d())
"""
done = kit.cli(kit.project(SRC), "run", "flow")
got = [l.split()[1:] for l in done.stdout.splitlines() if "GOT" in l]
ok = not got or got[0] == ["defaultdict", "Counter", "Color", "OrderedDict"]
kit.verdict(
    ok,
    f"returned defaultdict, Counter, Color, OrderedDict; the next step sees {got}; {kit.oneline(done.stderr, 200)}",
)
