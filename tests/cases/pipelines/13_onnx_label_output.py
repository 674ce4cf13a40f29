"""sklearn-onnx#974, #506: an ONNX classifier whose last output is the class label, not a probability."""

import kit

kit.inside()
import warnings

warnings.simplefilter("ignore")
import copy, numpy as np, pyarrow as pa
from sklearn.linear_model import LogisticRegression
from skl2onnx import to_onnx
from skl2onnx.helpers.onnx_helper import select_model_inputs_outputs
from everloop import Model, infer_signature, matrix
from everloop.errors import EverloopError

rng = np.random.default_rng(0)
rows = pa.table({"a": rng.normal(size=200), "b": rng.normal(size=200)})
sig = infer_signature(rows, inputs=["a", "b"])
X = matrix(sig, rows)
est = LogisticRegression().fit(X, (X.sum(1) + rng.normal(size=200) > 0).astype(int))
right = est.predict_proba(X)[:, 1]
graph = to_onnx(est, X[:1], options={"zipmap": False})
swapped = copy.deepcopy(graph)
outs = list(swapped.graph.output)
del swapped.graph.output[:]
swapped.graph.output.extend(outs[::-1])
bad = []
for name, g in {
    "label only": select_model_inputs_outputs(graph, "label"),
    "probabilities first": swapped,
}.items():
    try:
        got = Model(g, sig).predict(rows)
        if np.abs(got - right).max() > 1e-6:
            bad.append(
                f"{name}: scores are {sorted(set(got.tolist()))[:3]}, off by up to {np.abs(got - right).max():.2f}"
            )
    except EverloopError as error:
        print("refused:", error)
kit.verdict(not bad, bad or "right, or refused")
