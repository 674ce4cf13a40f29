"""A helper that several projects share is linked into this one (`helper.py -> elsewhere/helper.py`) and edited; ADR 0004 says a link is not followed, `provenance._python_files` that it is."""

import kit

kit.inside()
import os, tempfile

SRC = """
from everloop import pipeline, step
from helper import size
@step
def work() -> int:
    return size()
@step(cache=False)
def show(n: int) -> None:
    print("GOT", n)
@pipeline
def flow() -> None:
    show(work())
"""
lib = tempfile.mkdtemp(prefix="case_lib_")
kit._DIRS.append(lib)
kit.put(lib, "helper.py", "def size():\n    return 1\n")
root = kit.project(SRC)
os.symlink(f"{lib}/helper.py", root / "helper.py")


def run():
    return [l for l in kit.cli(root, "run", "flow").stdout.splitlines() if "GOT" in l][0].split()[-1]


first = run()
kit.put(lib, "helper.py", "def size():\n    return 2\n")
second = run()
kit.verdict((first, second) == ("1", "2"), f"{first}, {second}")
