"""sklearn-onnx#776: output_class_labels=True adds a third output; and #506: raw_scores=True gives logits."""

import kit

kit.inside()
import warnings

warnings.simplefilter("ignore")
import numpy as np, pyarrow as pa
from sklearn.linear_model import LogisticRegression
from skl2onnx import to_onnx
from everloop import Model, infer_signature, matrix
from everloop.errors import EverloopError

rng = np.random.default_rng(0)
rows = pa.table({"a": rng.normal(size=50), "b": rng.normal(size=50)})
sig = infer_signature(rows, inputs=["a", "b"])
X = matrix(sig, rows)
est = LogisticRegression().fit(X, (X.sum(1) > 0).astype(int))
right = est.predict_proba(X)[:, 1]
try:
    got = Model(to_onnx(est, X[:1], options={"zipmap": False, "output_class_labels": True}), sig).predict(
        rows
    )
    kit.verdict(np.abs(got - right).max() < 1e-6, "scores")
except EverloopError as error:
    kit.verdict(True, f"refused: {error}")
except Exception as error:
    kit.verdict(False, f"{type(error).__name__}: {error}, which names no output and no next step")
