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

import pyarrow as pa
from lightgbm import LGBMClassifier

import everloop as ev

# ---- data: what arrives, and what is expected of every batch ------------------------------------------------

renewals = ev.Dataset(
    "renewals",
    keys=["customer", "renews_at"],
    event_time="renews_at",
    expect=[ev.one_of("plan", "basic", "plus", "team"), ev.between("price", 1, 500), ev.not_null("left")],
    files="data/*.csv",
)

# ---- features: what the model sees of a renewal --------------------------------------------------------------

INPUTS = ["plan", "price", "months", "visits", "tickets"]

# ---- the model and its gate: what every version must pass, whoever made it -----------------------------------

churn = ev.RegisteredModel("churn", gate=ev.beats("constant") & ev.not_worse(margin=0.03))

# ---- the training pipeline -----------------------------------------------------------------------------------


@ev.step
def split(rows: pa.Table, test_days: int) -> ev.Split:
    """The newest days are for judging, everything before them for learning."""
    return ev.split_by_time(rows, "renews_at", test=timedelta(days=test_days))


@ev.step
def train(rows: pa.Table, trees: int, seed: int) -> ev.Model:
    """Gradient-boosted trees."""
    estimator = LGBMClassifier(n_estimators=trees, num_leaves=7, min_child_samples=30, random_state=seed)
    # The same trees, in the same words, on every machine.
    estimator.set_params(n_jobs=0, deterministic=True, force_row_wise=True, verbosity=-1)
    return ev.fit(estimator, rows, inputs=INPUTS, label="left", time="renews_at")


@ev.step
def evaluate(
    candidate: ev.Model, champion: ev.Model | None, train_rows: pa.Table, rows: pa.Table
) -> ev.Evaluation:
    """Candidate, champion and the share of customers who left, on the newest renewals, which none of them has seen."""
    return ev.evaluate(
        candidate, rows, champion=champion, baselines=["constant"], train=train_rows, slices=["plan"]
    )


@ev.pipeline
def keep_fresh(test_days: int = 28, trees: int = 60, seed: int = 7) -> None:
    """From the newest data to a registered challenger."""
    train_rows, test_rows = split(renewals.rows, test_days)
    candidate = train(train_rows, trees, seed)
    ev.register(churn, candidate, evaluate(candidate, churn.champion, train_rows, test_rows))


# ---- the endpoint: how a challenger becomes champion ---------------------------------------------------------

endpoint = ev.Endpoint(model=churn, rollout=ev.Canary(steps=[20, 50], min_requests=100))

# ---- the monitors --------------------------------------------------------------------------------------------

performance = ev.PerformanceMonitor("churn_performance", endpoint, metric="log_loss", worse_by=0.05)
inputs = ev.DriftMonitor("churn_inputs", endpoint, effect=0.2)

# ---- the triggers: when to train again -----------------------------------------------------------------------

triggers = ev.Triggers(
    keep_fresh,
    ev.on_schedule("0 6 1 * *"),
    ev.on_new_data(renewals, rows=300),
    ev.on_decay(performance),
    ev.on_drift(inputs),
    cooldown=timedelta(minutes=10),
)
