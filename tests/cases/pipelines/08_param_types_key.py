"""streamlit#1608: 1, 1.0 and True must not share a cache entry."""

import kit

kit.inside()
SRC = """
from everloop import pipeline, step
@step
def kind(v: int | float | bool | str) -> str:
    return type(v).__name__
@step(cache=False)
def show(a: str, b: str, c: str, d: str) -> None:
    print("GOT", a, b, c, d)
@pipeline
def flow() -> None:
    show(kind(1), kind(1.0), kind(True), kind("1"))
"""
root = kit.project(SRC)
got = []
for _ in range(2):
    got.append([l.split()[1:] for l in kit.cli(root, "run", "flow").stdout.splitlines() if "GOT" in l][0])
kit.verdict(got == [["int", "float", "bool", "str"]] * 2, got)
