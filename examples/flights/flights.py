"""Will this flight arrive more than 15 minutes late? Asked at scheduled departure, and kept fresh through the year.

Read it from top to bottom beside the picture of the loop: data, features, the training pipeline, the endpoint,
the monitors, the triggers. Any part can be taken out, and what is left still works.
"""

from datetime import timedelta

import pyarrow as pa
import pyarrow.compute as pc
from lightgbm import LGBMClassifier

import everloop as ev

# ---- data: what arrives, and what is expected of every batch ------------------------------------------------

flights = ev.Dataset(
    "flights",
    keys=["flight_id"],
    event_time="scheduled_departure",
    expect=[
        ev.one_of("origin", "EWR", "JFK", "LGA"),
        ev.not_null("carrier"),
        ev.between("distance", 10, 6000),
        ev.between("arrival_delay", -180, 1800),
    ],
)
weather = ev.Dataset(
    "weather",
    keys=["origin", "observed_at"],
    event_time="observed_at",
    created_time="published_at",
    expect=[ev.between("temp", -30, 120), ev.between("humid", 0, 100.5), ev.between("visib", 0, 20)],
)
planes = ev.Dataset("planes", keys=["tailnum"], event_time=None)

# ---- features: what may be known of a flight at a moment -----------------------------------------------------

weather_then = ev.FeatureView(
    "weather",
    source=weather,
    join_key="origin",
    event_time="observed_at",
    created_time="published_at",
    columns=["temp", "dewp", "wind_speed", "precip", "visib"],
    ttl=timedelta(hours=4),
)
plane = ev.FeatureView(
    "plane", source=planes, join_key="tailnum", event_time=None, columns=["built", "seats"]
)

lately = [
    ev.Aggregate("arrival_delay", "mean", over=timedelta(hours=3)),
    ev.Aggregate("late", "share", over=timedelta(hours=24)),
]
carrier, origin, destination = (
    ev.FeatureView(key, source=flights, join_key=key, event_time="landed_at", aggregates=lately)
    for key in ("carrier", "origin", "destination")
)

late_features = ev.FeatureService("late", [weather_then, plane, carrier, origin, destination])

LOOKED_UP = [*(name for name in late_features.features if name != "plane_built"), "plane_age"]
INPUTS = ["hour", "weekday", "distance", "planned_minutes", *LOOKED_UP]


def known_of(rows: pa.Table, history: ev.History, at: str = "scheduled_departure") -> pa.Table:
    """What the model sees of each flight: one function, for training and for every request."""
    joined = history.join(rows, at=at)
    age = pc.subtract(pc.year(joined["scheduled_departure"]), joined["plane_built"])
    return joined.append_column("plane_age", age)


# ---- the model and its gate: what every version must pass, whoever made it -----------------------------------

late = ev.RegisteredModel(
    "late",
    gate=ev.beats("constant")
    & ev.beats("logistic")
    & ev.not_worse(margin=0.002)
    & ev.holds_on_slices(margin=0.02),
)

# ---- the training pipeline -----------------------------------------------------------------------------------


@ev.step
def extract(flights: pa.Table) -> pa.Table:
    """Flights that landed: a cancelled one has no label."""
    return flights.filter(pc.is_valid(flights["late"])).sort_by("scheduled_departure")


@ev.step
def prepare(rows: pa.Table, history: ev.History, at: str) -> pa.Table:
    """Join the features point in time: an arrival that has not happened yet is not seen."""
    return known_of(rows, history, at).select([*INPUTS, "late", "scheduled_departure", "origin", "carrier"])


@ev.step
def split(rows: pa.Table, test_days: int) -> ev.Split:
    """The newest days are for judging, everything before them for learning."""
    return ev.split_by_time(rows, "scheduled_departure", test=timedelta(days=test_days))


@ev.step
def train(rows: pa.Table, trees: int, seed: int) -> ev.Model:
    """Gradient-boosted trees."""
    estimator = LGBMClassifier(n_estimators=trees, num_leaves=15, min_child_samples=100, random_state=seed)
    # The same trees, in the same words, on every machine.
    estimator.set_params(n_jobs=0, deterministic=True, force_row_wise=True, verbosity=-1)
    return ev.fit(
        estimator,
        rows,
        inputs=INPUTS,
        label="late",
        time="scheduled_departure",
        optional=["plane_age"],
        features=late_features,
    )


@ev.step
def evaluate(
    candidate: ev.Model, champion: ev.Model | None, train_rows: pa.Table, rows: pa.Table, seed: int
) -> ev.Evaluation:
    """Candidate, champion and baselines on the same newest flights, which none of them has seen."""
    return ev.evaluate(
        candidate,
        rows,
        champion=champion,
        baselines=["constant", "logistic"],
        train=train_rows,
        slices=["origin", "carrier"],
        seed=seed,
    )


@ev.pipeline
def keep_fresh(test_days: int = 7, trees: int = 80, seed: int = 7, at: str = "scheduled_departure") -> None:
    """From the newest data to a registered challenger; `at` is the moment whose knowledge the features hold."""
    train_rows, test_rows = split(prepare(extract(flights.rows), late_features.history, at), test_days)
    candidate = train(train_rows, trees, seed)
    ev.register(late, candidate, evaluate(candidate, late.champion, train_rows, test_rows, seed))


# ---- the endpoint: how a challenger becomes champion ---------------------------------------------------------

endpoint = ev.Endpoint(
    model=late,
    rollout=ev.Canary(
        steps=[20, 50], min_requests=100, judge=ev.error_rate(margin=0.05) & ev.quality(margin=0.02)
    ),
)

# ---- the monitors --------------------------------------------------------------------------------------------

performance = ev.PerformanceMonitor(
    "late_performance", endpoint, metric="log_loss", worse_by=0.1, window=timedelta(days=14)
)
inputs = ev.DriftMonitor(
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

triggers = ev.Triggers(
    keep_fresh,
    ev.on_schedule("0 9 1 5,8,11 *", timezone="America/New_York"),
    ev.on_new_data(flights, rows=50_000, or_changed=True),
    ev.on_decay(performance),
    ev.on_drift(inputs),
    cooldown=timedelta(days=12),
    budget=ev.Budget(3, per=timedelta(days=30)),
)
