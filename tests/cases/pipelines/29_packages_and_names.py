"""prefect/dagster style: a project that is a package with relative imports, helpers whose names are those of installed or standard modules, and a test folder."""

import kit

kit.inside()
SRC = """
from everloop import pipeline, step
from .features import size
from .sub.deep import more
import pipelines.extra
@step
def work() -> int:
    from .late import late
    return size() + more() + late() + pipelines.extra.five()
@step(cache=False)
def show(n: int) -> None:
    print("GOT", n)
@pipeline
def flow() -> None:
    show(work())
"""
files = {
    "proj/__init__.py": SRC,
    "proj/features.py": "def size():\n    return 1\n",
    "proj/sub/__init__.py": "",
    "proj/sub/deep.py": "from ..features import size\ndef more():\n    return size() + 1\n",
    "proj/late.py": "def late():\n    return 10\n",
    "pipelines/extra.py": "def five():\n    return 5\n",
    "tests/test_x.py": "raise RuntimeError('never import me')\n",
    "metrics.py": "X = 1\n",
    "serving.py": "Y = 1\n",
    "skops.py.bak": "no",
}
root = kit.project("", files)
(root / "proj.py").unlink()
got = []


def run():
    done = kit.cli(root, "run", "flow")
    got.append(
        ([l.split()[-1] for l in done.stdout.splitlines() if "GOT" in l] or [kit.oneline(done.stderr, 200)])[
            0
        ]
    )


run()
kit.put(root, "pipelines/extra.py", "def five():\n    return 50\n")
run()
kit.put(root, "proj/sub/deep.py", "def more():\n    return 100\n")
run()
kit.verdict(got == ["18", "63", "161"], got)
