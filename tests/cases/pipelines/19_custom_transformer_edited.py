"""mlflow custom code / skops custom types: the class of a trusted custom transformer is edited; the scores of the champion, a version that never changes, change with it."""

import kit

kit.inside()
SRC = (
    kit.TINY
    + """
from sklearn.pipeline import make_pipeline
from shared import Scale
model = RegisteredModel("m", gate=anything)
@step
def train() -> Model:
    x = np.linspace(-2, 2, 80); t = pa.table({"a": x}); s = infer_signature(t, inputs=["a"])
    return Model(make_pipeline(Scale(), LogisticRegression()).fit(matrix(s, t), (x > 0).astype(int)), s)
@step
def evaluate(m: Model) -> str:
    return "not looked at"
@pipeline
def flow() -> None:
    m = train(); register(model, m, evaluate(m))
endpoint = Endpoint("m", model=model, rollout=AllAtOnce())
"""
)
CLS = "from sklearn.base import BaseEstimator, TransformerMixin\nclass Scale(TransformerMixin, BaseEstimator):\n    def fit(self, X, y=None):\n        self.n_features_in_ = X.shape[1]; return self\n    def transform(self, X):\n        return X * %s\n"
root = kit.project(SRC, {"shared.py": CLS % "1.0"}, toml='[trust]\nskops = ["shared.Scale"]')
first = kit.cli(root, "run", "flow")


def ask():
    with kit.serving(root) as (host, _):
        return kit.http_(host, "POST", "/v1/models/m:predict", {"instances": [[1.0]]})


a = ask()
kit.put(root, "shared.py", CLS % "-1.0")
b = ask()
if a[0] != 200:
    kit.verdict(False, f"{kit.oneline(first.stderr, 300)} {a}")
kit.verdict(
    b[0] != 200 or a[1]["predictions"] == b[1]["predictions"],
    f"m@1 before the edit {a[1]['predictions']}, after it {b[1].get('predictions')} as version {b[1].get('model_version')}, nothing said",
)
