"""Will this flight arrive more than 15 minutes late? Asked at scheduled departure, and kept fresh through the year.

Read it from top to bottom beside the picture of the loop: data, features, the training pipeline, the endpoint,
the monitors, the triggers. Any part can be taken out, and what is left still works.
"""

from datetime import timedelta
from typing import NamedTuple

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
    FeatureService,
    FeatureView,
    History,
    Model,
    PerformanceMonitor,
    RegisteredModel,
    Split,
    Triggers,
    beats,
    between,
    compare,
    constant,
    decay,
    drift,
    error_rate,
    holds_on_slices,
    infer_signature,
    logistic,
    matrix,
    mean,
    new_data,
    newest,
    not_null,
    not_worse,
    one_of,
    pipeline,
    quality,
    register,
    require,
    schedule,
    share,
    step,
)

# ---- data: what arrives, and what is expected of every batch ------------------------------------------------

flights = Dataset(
    "flights",
    keys=["flight_id"],
    event_time="scheduled_departure",
    expect=[
        one_of("origin", "EWR", "JFK", "LGA"),
        not_null("carrier"),
        between("distance", 10, 6000),
        between("arrival_delay", -180, 1800),
    ],
)
weather = Dataset(
    "weather",
    keys=["origin", "observed_at"],
    event_time="observed_at",
    created_time="published_at",
    expect=[between("temp", -30, 120), between("humid", 0, 100.5), between("visib", 0, 20)],
)
planes = Dataset("planes", keys=["tailnum"], event_time=None)

# ---- features: what may be known of a flight at a moment -----------------------------------------------------

weather_then = FeatureView(
    "weather",
    source=weather,
    join_key="origin",
    event_time="observed_at",
    created_time="published_at",
    columns=["temp", "dewp", "wind_speed", "precip", "visib"],
    ttl=timedelta(hours=4),
)
plane = FeatureView("plane", source=planes, join_key="tailnum", event_time=None, columns=["built", "seats"])

lately = [mean("arrival_delay", over=timedelta(hours=3)), share("late", over=timedelta(hours=24))]
carrier, origin, destination = (
    FeatureView(key, source=flights, join_key=key, event_time="landed_at", aggregates=lately)
    for key in ("carrier", "origin", "destination")
)

late_features = FeatureService("late", [weather_then, plane, carrier, origin, destination])

LOOKED_UP = [*(name for name in late_features.features if name != "plane_built"), "plane_age"]
INPUTS = ["hour", "weekday", "distance", "planned_minutes", *LOOKED_UP]


def known_of(rows: pa.Table, history: History, at: str = "scheduled_departure") -> pa.Table:
    """What the model sees of each flight: one function, for training and for every request."""
    joined = history.join(rows, at=at)
    age = pc.subtract(pc.year(joined["scheduled_departure"]), joined["plane_built"])
    return joined.append_column("plane_age", age)


# ---- the training pipeline -----------------------------------------------------------------------------------

late = RegisteredModel("late")
gate = beats("constant") & beats("logistic") & not_worse(margin=0.002) & holds_on_slices(margin=0.02)


class Baselines(NamedTuple):
    """Models that everybody could have made."""

    constant: Model
    logistic: Model


@step
def extract(flights: pa.Table) -> pa.Table:
    """Flights that landed: a cancelled one has no label."""
    return flights.filter(pc.is_valid(flights["late"])).sort_by("scheduled_departure")


@step
def validate(rows: pa.Table) -> pa.Table:
    """Stop the run if the rows break their promises."""
    return require(flights, rows)


@step
def prepare(rows: pa.Table, history: History, at: str) -> pa.Table:
    """Join the features point in time: an arrival that has not happened yet is not seen."""
    return known_of(rows, history, at).select([*INPUTS, "late", "scheduled_departure", "origin", "carrier"])


@step
def split(rows: pa.Table, test_days: int) -> Split:
    """The newest days are for judging, everything before them for learning."""
    return newest(rows, "scheduled_departure", test_days)


@step
def train(rows: pa.Table, trees: int, seed: int) -> Model:
    """Gradient-boosted trees."""
    signature = infer_signature(rows, inputs=INPUTS, output="late", optional=LOOKED_UP)
    params = {
        "objective": "binary",
        "num_leaves": 15,
        "learning_rate": 0.1,
        "min_data_in_leaf": 100,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    booster = lgb.train(params, lgb.Dataset(matrix(signature, rows), rows["late"].to_numpy()), trees)
    return Model(booster, signature, trained_until=pc.max(rows["scheduled_departure"]).as_py())


@step
def simple(rows: pa.Table, seed: int) -> Baselines:
    """What the trees must beat."""
    return Baselines(
        constant(rows, label="late", inputs=INPUTS),
        logistic(rows, label="late", inputs=INPUTS, seed=seed),
    )


@step
def evaluate(candidate: Model, champion: Model | None, baselines: Baselines, rows: pa.Table) -> Evaluation:
    """Candidate, champion and baselines on the same newest flights, which none of them has seen."""
    return compare(
        candidate.predict_unseen(rows, time="scheduled_departure"),
        rows["late"].to_numpy(),
        champion_scores=champion.predict_unseen(rows, time="scheduled_departure") if champion else None,
        baselines={
            "constant": baselines.constant.predict(rows),
            "logistic": baselines.logistic.predict(rows),
        },
        slices={"origin": rows["origin"].to_pylist(), "carrier": rows["carrier"].to_pylist()},
    )


@step
def judge(evaluation: Evaluation) -> CheckResult:
    """May it be registered as challenger?"""
    return gate(evaluation)


@pipeline
def keep_fresh(test_days: int = 7, trees: int = 80, seed: int = 7, at: str = "scheduled_departure") -> None:
    """From the newest data to a registered challenger; `at` is the moment whose knowledge the features hold."""
    landed = validate(extract(flights))
    train_rows, test_rows = split(prepare(landed, late_features, at), test_days)
    candidate = train(train_rows, trees, seed)
    evaluation = evaluate(candidate, late.champion, simple(train_rows, seed), test_rows)
    register(late, candidate, judge(evaluation))


# ---- the endpoint: how a challenger becomes champion ---------------------------------------------------------

endpoint = Endpoint(
    "late",
    model=late,
    rollout=Canary(steps=[20, 50], at_least=100, judge=error_rate(margin=0.05) & quality(margin=0.02)),
)

# ---- the monitors --------------------------------------------------------------------------------------------

performance = PerformanceMonitor(
    "late_performance", endpoint, metric="log_loss", worse_by=0.1, window=timedelta(days=14)
)
inputs = DriftMonitor(
    "late_inputs",
    endpoint,
    window=timedelta(days=14),
    effect=0.25,
    deviations=0.8,
    ignore=[
        name for name in INPUTS if name.startswith("weather_") or name.endswith("24h")
    ],  # seasons are no news
)

# ---- the triggers: when to train again -----------------------------------------------------------------------

triggers = Triggers(
    keep_fresh,
    schedule("0 9 1 5,8,11 *", zone="America/New_York"),
    new_data(flights, rows=50_000, or_changed=True),
    decay(performance),
    drift(inputs),
    cooldown=timedelta(days=12),
    at_most=3,
    per=timedelta(days=30),
)
