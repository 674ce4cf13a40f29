"""pipefunc#964, streamlit#2728, flyte#2899: an edit of a helper that a cached step calls must not give the old result."""

import kit

kit.inside()
SRC = """
from everloop import pipeline, step
from lib.helpers import size
from lib.consts import Conf
@step
def work() -> int:
    return size() * Conf.factor
@step(cache=False)
def show(n: int) -> None:
    print("GOT", n)
@pipeline
def flow() -> None:
    show(work())
"""
root = kit.project(
    SRC,
    {
        "lib/__init__.py": "",
        "lib/helpers.py": "def size(n=2):\n    def inner():\n        return n\n    return inner()\n",
        "lib/consts.py": "class Conf:\n    factor = 10\n",
    },
)
got = []


def run():
    out = kit.cli(root, "run", "flow").stdout
    got.append([l for l in out.splitlines() if "GOT" in l][0].split()[-1])


run()
run()
kit.put(root, "lib/helpers.py", "def size(n=3):\n    def inner():\n        return n\n    return inner()\n")
run()
kit.put(root, "lib/consts.py", "class Conf:\n    factor = 100\n")
run()
kit.put(root, "lib/helpers.py", "def size(n=2):\n    def inner():\n        return n\n    return inner()\n")
kit.put(root, "lib/consts.py", "class Conf:\n    factor = 10\n")
run()
kit.verdict(got == ["20", "20", "30", "300", "20"], got)
