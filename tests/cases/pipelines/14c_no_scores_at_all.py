"""sklearn-onnx#990 (a number that is no probability): estimators that are neither classifiers nor regressors are taken, and cluster numbers or -1/1 are served as scores."""

import kit

kit.inside()
import numpy as np, pyarrow as pa
from sklearn.cluster import KMeans
from sklearn.ensemble import IsolationForest
from everloop import Model, infer_signature, matrix
from everloop.errors import EverloopError

rows = pa.table({"a": np.random.default_rng(0).normal(size=60)})
s = infer_signature(rows, inputs=["a"])
X = matrix(s, rows)
taken = []
for est in (KMeans(3, n_init=1), IsolationForest(n_estimators=5)):
    try:
        taken.append((type(est).__name__, sorted(set(Model(est.fit(X), s).predict(rows).tolist()))))
    except EverloopError as e:
        print("refused:", e)
kit.verdict(not taken, f"Model says it takes classifiers and regressors; taken: {taken}")
