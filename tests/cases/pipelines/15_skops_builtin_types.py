"""skops#498 (KNN), skops#432: scikit-learn's own estimators that skops does not trust; is it said, when, and does following the advice work?"""

import kit

kit.inside()
import re

SRC = """
import numpy as np, pyarrow as pa, time
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.linear_model import LogisticRegression
from everloop import Model, infer_signature, matrix, pipeline, step
KINDS = {"knn": lambda: KNeighborsClassifier(), "grid": lambda: GridSearchCV(LogisticRegression(), {"C": [.1, 1]}, cv=3),
         "hist": lambda: HistGradientBoostingClassifier(categorical_features=[1], max_iter=5)}
@step
def rows() -> pa.Table:
    rng = np.random.default_rng(0)
    return pa.table({"a": rng.normal(size=90), "b": rng.integers(0, 4, 90), "y": rng.integers(0, 2, 90)})
@step
def train(t: pa.Table, kind: str) -> Model:
    s = infer_signature(t, inputs=["a", "b"])
    return Model(KINDS[kind]().fit(matrix(s, t), t["y"].to_numpy()), s)
@step(cache=False)
def ask(m: Model, t: pa.Table) -> None:
    print("GOT", len(m.predict(t)))
@pipeline
def flow(kind: str) -> None:
    t = rows()
    ask(train(t, kind), t)
"""
root = kit.project(SRC)
notes = []
ok = True
for kind in ("knn", "grid", "hist"):
    first = kit.cli(root, "run", "flow", "-p", f"kind={kind}")
    advice = re.search(r"skops = (\[.*?\])", first.stderr)
    if not advice:
        ok, note = False, "no advice: " + kit.oneline(first.stderr)
    else:
        toml = (root / "everloop.toml").read_text()
        (root / "everloop.toml").write_text(toml + f"\n[trust]\nskops = {advice[1]}\n")
        second = kit.cli(root, "run", "flow", "-p", f"kind={kind}")
        (root / "everloop.toml").write_text(toml)
        steps, _ = kit.steps(root)
        note = f"{kind}: refused in a step after training, advice works: {'GOT 90' in second.stdout}, training taken from the cache: {bool(steps['train'].get('cached_from'))}"
        ok = ok and "GOT 90" in second.stdout
    notes.append(note)
kit.verdict(ok, notes)
