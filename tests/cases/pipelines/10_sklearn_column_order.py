"""scikit-learn#7242, #12936, mlflow#695: fitted on a DataFrame whose columns stand in another order than the signature's inputs; scores are silently wrong."""

import kit

kit.inside()
import warnings

warnings.simplefilter("ignore")
import numpy as np, pandas as pd, pyarrow as pa
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from everloop import Model, infer_signature
from everloop.errors import EverloopError

rng = np.random.default_rng(0)
df = pd.DataFrame({"age": rng.integers(18, 90, 300), "income": rng.normal(3000, 900, 300)})
y = (df.age / 20 - df.income / 1000 + rng.normal(size=300) > 0).astype(int)
rows = pa.Table.from_pandas(df)
signature = infer_signature(rows, inputs=["age", "income"])
bad = []
for name, est in {
    "plain": LogisticRegression(max_iter=500),
    "pipeline": make_pipeline(StandardScaler(), LogisticRegression()),
}.items():
    given = df[["income", "age"]]
    est.fit(given, y)
    right = est.predict_proba(given)[:, 1]
    try:
        got = Model(est, signature).predict(rows)
        if np.abs(got - right).max() > 1e-9:
            bad.append(
                f"{name}: feature_names_in_ {list(est.feature_names_in_)}, off by up to {np.abs(got - right).max():.2f}"
            )
    except EverloopError as error:
        print("refused:", error)
kit.verdict(not bad, bad or "right, or refused")
