"""xgboost#6158, scikit-learn#7242: a LightGBM booster that knows its feature names, in another order than the signature's inputs."""

import kit

kit.inside()
import numpy as np, pandas as pd, pyarrow as pa, lightgbm as lgb
from everloop import Model, infer_signature
from everloop.errors import EverloopError

rng = np.random.default_rng(1)
df = pd.DataFrame({"visits": rng.integers(0, 30, 400), "price": rng.normal(40, 9, 400)})
y = (df.visits / 10 - df.price / 30 + rng.normal(size=400) > 0).astype(int)
given = df[["price", "visits"]]
booster = lgb.train({"objective": "binary", "verbosity": -1, "num_threads": 1}, lgb.Dataset(given, y), 30)
rows = pa.Table.from_pandas(df)
right = booster.predict(given)
try:
    got = Model(booster, infer_signature(rows, inputs=["visits", "price"])).predict(rows)
    kit.verdict(
        np.abs(got - right).max() < 1e-9,
        f"feature_name() {booster.feature_name()}, inputs visits, price: off by up to {np.abs(got - right).max():.2f}",
    )
except EverloopError as error:
    kit.verdict(True, f"refused: {error}")
