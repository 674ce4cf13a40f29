"""Will this customer leave at the next renewal? The whole loop in one file, to be made yours from top to bottom.

    everloop run keep_fresh     read data/*.csv, train, and put the first model behind the endpoint
    everloop serve              answer at http://127.0.0.1:8080
    everloop up                 keep it fresh: new files, decay and drift start the pipeline again

Ask it, and tell it later what was true:

    curl 127.0.0.1:8080/v1/models/churn:predict \
        -d '{"instances": [{"plan": "basic", "price": 12.0, "months": 3, "visits": 1, "tickets": 2}]}'
    curl 127.0.0.1:8080/labels -d '{"prediction_id": "…", "label": 1}'
"""

from datetime import timedelta

import lightgbm as lgb
import pyarrow as pa
import pyarrow.compute as pc

from everloop import (
    Canary,
    CheckResult,
    Dataset,
    DriftMonitor,
    Endpoint,
    Evaluation,
    Model,
    PerformanceMonitor,
    RegisteredModel,
    Split,
    Triggers,
    beats,
    between,
    categorical_places,
    compare,
    constant,
    decay,
    drift,
    infer_signature,
    matrix,
    new_data,
    newest,
    not_null,
    not_worse,
    one_of,
    pipeline,
    register,
    require,
    schedule,
    step,
)

# ---- data: what arrives, and what is expected of every batch ------------------------------------------------

renewals = Dataset(
    "renewals",
    keys=["customer", "renews_at"],
    event_time="renews_at",
    expect=[one_of("plan", "basic", "plus", "team"), between("price", 1, 500), not_null("left")],
    files="data/*.csv",
)

# ---- features: what the model sees of a renewal --------------------------------------------------------------

INPUTS = ["plan", "price", "months", "visits", "tickets"]

# ---- the training pipeline -----------------------------------------------------------------------------------

churn = RegisteredModel("churn")
gate = beats("constant") & not_worse(margin=0.03)


@step
def validate(rows: pa.Table) -> pa.Table:
    """Stop the run if the rows break their promises."""
    return require(renewals, rows)


@step
def split(rows: pa.Table, test_days: int) -> Split:
    """The newest days are for judging, everything before them for learning."""
    return newest(rows, "renews_at", test_days)


@step
def train(rows: pa.Table, trees: int, seed: int) -> Model:
    """Gradient-boosted trees."""
    signature = infer_signature(rows, inputs=INPUTS, output="left")
    params = {"objective": "binary", "learning_rate": 0.1, "num_leaves": 7, "min_data_in_leaf": 30}
    fixed = {"seed": seed, "deterministic": True, "force_row_wise": True, "verbosity": -1}
    data = lgb.Dataset(
        matrix(signature, rows), rows["left"].to_numpy(), categorical_feature=categorical_places(signature)
    )
    booster = lgb.train(params | fixed, data, num_boost_round=trees)
    return Model(booster, signature, trained_until=pc.max(rows["renews_at"]).as_py())


@step
def simple(rows: pa.Table) -> Model:
    """What every candidate must beat: the share of customers who left."""
    return constant(rows, label="left", inputs=INPUTS)


@step
def evaluate(candidate: Model, champion: Model | None, baseline: Model, rows: pa.Table) -> Evaluation:
    """Candidate, champion and baseline on the same newest renewals, which none of them has seen."""
    return compare(
        candidate.predict_unseen(rows, time="renews_at"),
        rows["left"].to_numpy(),
        champion_scores=None if champion is None else champion.predict_unseen(rows, time="renews_at"),
        baselines={"constant": baseline.predict(rows)},
        slices={"plan": rows["plan"].to_pylist()},
    )


@step
def judge(evaluation: Evaluation) -> CheckResult:
    """May it be registered as challenger?"""
    return gate(evaluation)


@pipeline
def keep_fresh(test_days: int = 28, trees: int = 60, seed: int = 7) -> None:
    """From the newest data to a registered challenger."""
    train_rows, test_rows = split(validate(renewals), test_days)
    candidate = train(train_rows, trees, seed)
    evaluation = evaluate(candidate, churn.champion, simple(train_rows), test_rows)
    register(churn, candidate, judge(evaluation))


# ---- the endpoint: how a challenger becomes champion ---------------------------------------------------------

endpoint = Endpoint("churn", model=churn, rollout=Canary(steps=[20, 50], at_least=100))

# ---- the monitors --------------------------------------------------------------------------------------------

performance = PerformanceMonitor("churn_performance", endpoint, metric="log_loss", worse_by=0.05)
inputs = DriftMonitor("churn_inputs", endpoint, effect=0.2)

# ---- the triggers: when to train again -----------------------------------------------------------------------

triggers = Triggers(
    keep_fresh,
    schedule("0 6 1 * *"),
    new_data(renewals, rows=300),
    decay(performance),
    drift(inputs),
    cooldown=timedelta(minutes=10),
)
