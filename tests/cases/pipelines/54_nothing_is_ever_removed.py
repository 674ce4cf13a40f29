"""dvc/mlflow/zenml style (the store only grows): a scheduled pipeline over an unchanged size of data; is there any command that removes what nobody needs, or a word about it?"""

import kit

kit.inside()
import pathlib

REPO = pathlib.Path(__file__).resolve().parents[3]
SRC = """
import numpy as np, time
from everloop import pipeline, step
@step(cache=False)
def big() -> np.ndarray:
    return np.random.default_rng().normal(size=250_000)
@pipeline
def flow() -> None: big()
"""
root = kit.project(SRC)
sizes = []
for _ in range(3):
    kit.cli(root, "run", "flow")
    sizes.append(sum(p.stat().st_size for p in root.rglob("*") if p.is_file()) // 1_000_000)
help_ = kit.cli.__wrapped__ if hasattr(kit.cli, "__wrapped__") else None
import subprocess

words = subprocess.run([kit.PY, "-m", "everloop", "--help"], capture_output=True, text=True).stdout.lower()
readme = (REPO / "README.md").read_text().lower() + "".join(
    p.read_text().lower() for p in (REPO / "docs").rglob("*.md")
)
told = [w for w in ("prune", "garbage", "retention", "gc ") if w in words or w in readme]
kit.verdict(
    bool(told), f"MB after each of three runs: {sizes}; a command or a word about removing: {told or 'none'}"
)
