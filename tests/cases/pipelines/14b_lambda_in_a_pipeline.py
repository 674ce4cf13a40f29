"""skops#450 (advice that does not lead to a loadable model): a FunctionTransformer with a lambda; is the advice one that can be followed?"""

import kit

kit.inside()
import re

SRC = """
import numpy as np, pyarrow as pa
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from everloop import Model, infer_signature, matrix, pipeline, step
@step
def rows() -> pa.Table:
    return pa.table({"a": np.arange(20.0), "y": [0, 1] * 10})
@step
def train(t: pa.Table) -> Model:
    s = infer_signature(t, inputs=["a"])
    return Model(make_pipeline(FunctionTransformer(lambda x: x * 2), LogisticRegression()).fit(matrix(s, t), t["y"].to_numpy()), s)
@step(cache=False)
def ask(m: Model, t: pa.Table) -> None:
    print("GOT", len(m.predict(t)))
@pipeline
def flow() -> None:
    t = rows(); ask(train(t), t)
"""
root = kit.project(SRC)
first = kit.cli(root, "run", "flow")
advice = re.search(r"skops = (\[.*?\])", first.stderr)
if not advice:
    kit.verdict("lambda" in first.stderr, kit.oneline(first.stderr))
(root / "everloop.toml").write_text(
    (root / "everloop.toml").read_text() + f"\n[trust]\nskops = {advice[1]}\n"
)
second = kit.cli(root, "run", "flow")
kit.verdict(
    "GOT 20" in second.stdout, f"advice: skops = {advice[1]}; followed: {kit.oneline(second.stderr, 250)}"
)
