"""MLServer#504, #1625, seldon-core#5188, MLServer#185: datatypes and shapes over v2: the right score or a 400 that says why, never another number."""

import kit

kit.inside()
import math

SRC = (
    kit.TINY
    + """
model = RegisteredModel("m", gate=anything)
@step
def train() -> Model:
    rng = np.random.default_rng(0); n = 200
    t = pa.table({"count": rng.integers(0, 50, n), "price": rng.normal(20, 5, n), "vip": rng.integers(0, 2, n).astype(bool), "plan": rng.choice(["é-basic", "team"], n)})
    s = infer_signature(t, inputs=["count", "price", "vip", "plan"])
    X = matrix(s, t)
    return Model(LogisticRegression(max_iter=500).fit(X, (X[:, 0] > 25).astype(int)), s)
@step
def evaluate(m: Model) -> str:
    return "not looked at"
@pipeline
def flow() -> None:
    m = train(); register(model, m, evaluate(m))
endpoint = Endpoint("m", model=model)
"""
)
root = kit.project(SRC)
kit.cli(root, "run", "flow")


def t(name, dt, data, shape=None):
    return {"name": name, "datatype": dt, "shape": shape or [len(data)], "data": data}


base = [
    t("count", "INT64", [7]),
    t("price", "FP64", [20.5]),
    t("vip", "BOOL", [True]),
    t("plan", "BYTES", ["é-basic"]),
]
bad = []
with kit.serving(root) as (host, _):

    def ask(*change, **more):
        inputs = [next((c for c in change if c["name"] == b["name"]), b) for b in base]
        s, a = kit.http_(host, "POST", "/v2/models/m/infer", {"inputs": inputs, **more})
        return (s, a["outputs"][0]["data"]) if s == 200 else (s, a["error"])

    s, right = ask()
    assert s == 200, right
    for what, change in {
        "uint8": t("count", "UINT8", [7]),
        "int32": t("count", "INT32", [7]),
        "fp32 price": t("price", "FP32", [20.5]),
        "shape [1,1] nested": t("price", "FP64", [[20.5]], [1, 1]),
        "shape [1,1] flat": t("price", "FP64", [20.5], [1, 1]),
    }.items():
        s, a = ask(change)
        if (s, a) != (200, right):
            bad.append((what, s, a))
    for what, change in {
        "int as FP64": t("count", "FP64", [7.0]),
        "float in INT64": t("count", "INT64", [7.5]),
        "text in FP64": t("price", "FP64", ["20.5"]),
        "1 for true": t("vip", "BOOL", [1]),
        "bool for int": t("count", "INT64", [True]),
        "int8 overflow": t("count", "INT8", [300]),
        "uint64 beyond": t("count", "UINT64", [2**64 - 1]),
        "null": t("price", "FP64", [None]),
        "too many values": t("price", "FP64", [1.0, 2.0], [1]),
        "other n": t("price", "FP64", [1.0, 2.0]),
        "empty": t("price", "FP64", []),
        "shape [1,2]": t("price", "FP64", [1.0, 2.0], [1, 2]),
        "negative shape": t("count", "INT64", [], [-1]),
        "number for text": t("plan", "BYTES", [1]),
        "FP16": t("price", "FP16", [20.5]),
        "lower case": t("price", "fp64", [20.5]),
        "2^53+1 in INT64 for FP64": t("price", "INT64", [2**53 + 1]),
    }.items():
        s, a = ask(change)
        if s != 400 or not isinstance(a, str):
            bad.append((what, s, a))
    s, a = ask(t("plan", "BYTES", ["unseen"]))
    if s not in (200, 400, 500):
        bad.append(("unseen category", s, a))
    print("unseen category:", s, kit.oneline(a, 150))
    s, a = kit.http_(
        host,
        "POST",
        "/v2/models/m/infer",
        '{"inputs": [{"name": "price", "datatype": "FP64", "shape": [1], "data": [NaN]}]}',
    )
    if s != 400:
        bad.append(("NaN", s, a))
    n = 10_000
    s, a = kit.http_(
        host,
        "POST",
        "/v2/models/m/infer",
        {
            "inputs": [
                t("count", "INT64", list(range(n))),
                t("price", "FP64", [20.5] * n),
                t("vip", "BOOL", [True] * n),
                t("plan", "BYTES", ["é-basic"] * n),
            ]
        },
    )
    if s != 200 or len(a["outputs"][0]["data"]) != n or a["outputs"][0]["data"][7] != right[0]:
        bad.append(("10,000 rows", s, a["outputs"][0]["data"][7] if s == 200 else a, right))
    s, a = kit.http_(
        host,
        "POST",
        "/v1/models/m:predict",
        {
            "instances": [
                {"count": 7, "price": 20.5, "vip": True, "plan": "é-basic"},
                [7, 20.5, True, "é-basic"],
            ]
        },
    )
    if s != 200 or a["predictions"] != right * 2:
        bad.append(("v1", s, a))
    s, a = kit.http_(host, "POST", "/v1/models/m:predict", {"instances": [[7, 20, True, "é-basic"]]})
    if s != 200:
        bad.append(("v1 whole number for a float", s, a))
kit.verdict(not bad, bad or "all right or refused with a reason")
