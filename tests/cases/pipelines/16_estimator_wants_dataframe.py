"""seldon-core#2113, mlflow#4827: a ColumnTransformer that names its columns, or was fitted on text; it gets a matrix of numbers."""

import kit

kit.inside()
SRC = """
import numpy as np, pandas as pd, pyarrow as pa
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from everloop import Model, infer_signature, pipeline, step
@step
def rows() -> pa.Table:
    rng = np.random.default_rng(0)
    return pa.table({"a": rng.normal(size=90), "c": rng.choice(["x", "y"], 90), "y": rng.integers(0, 2, 90)})
@step
def train(t: pa.Table, by: str) -> Model:
    df = t.to_pandas()[["a", "c"]]
    n, c = (["a"], ["c"]) if by == "name" else ([0], [1])
    est = make_pipeline(ColumnTransformer([("n", StandardScaler(), n), ("c", OneHotEncoder(handle_unknown="ignore"), c)]), LogisticRegression())
    return Model(est.fit(df, t["y"].to_numpy()), infer_signature(t, inputs=["a", "c"]))
@step(cache=False)
def ask(m: Model, t: pa.Table) -> None:
    print("GOT", len(m.predict(t)))
@pipeline
def flow(by: str) -> None:
    t = rows()
    ask(train(t, by), t)
"""
root = kit.project(SRC)
notes = []
ok = True
for by in ("name", "place"):
    done = kit.cli(root, "run", "flow", "-p", f"by={by}")
    steps, _ = kit.steps(root)
    told = steps.get("ask", steps["train"]).get("error") or ""
    good = "GOT 90" in done.stdout or "fit" in told and "matrix" in told
    ok = ok and good
    notes.append(f"by {by}: {kit.oneline(told, 160)}")
kit.verdict(ok, notes)
