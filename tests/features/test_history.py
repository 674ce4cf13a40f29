"""History against a reference that is slow and obvious: for each row that asks, look at every row there is."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TypeAlias

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everloop.features.history import History, historical_features
from everloop.features.views import (
    Aggregate,
    FeatureService,
    FeatureView,
    Function,
)

Row: TypeAlias = dict[str, object]

START = datetime(2026, 3, 29, tzinfo=UTC)


def minute(number: int) -> datetime:
    """A minute of the day on which clocks change in Europe, which must not matter."""
    return START + timedelta(minutes=number)


# --- the reference -----------------------------------------------------------------------------------------------


def reference(
    service: FeatureService, entities: Sequence[Row], at: str, sources: Mapping[str, Sequence[Row]]
) -> list[Row]:
    """What the definition says, word by word."""
    return [
        row
        | {name: value for view in service.views for name, value in told(view, row, row[at], sources).items()}
        for row in entities
    ]


def told(view: FeatureView, entity: Row, now: object, sources: Mapping[str, Sequence[Row]]) -> Row:
    """The features of one view for one row."""
    if now is None:
        return dict.fromkeys(view.features)
    assert isinstance(now, datetime)
    known = [row for row in sources[view.source] if matches(view, row, entity) and is_known(view, row, now)]
    values = [newest(view, known, now).get(column) for column in view.columns]
    values += [aggregated(aggregate, view, known, now) for aggregate in view.aggregates]
    return dict(zip(view.features, values, strict=True))


def matches(view: FeatureView, row: Row, entity: Row) -> bool:
    """Equal keys, and no null among them."""
    return all(row[key] is not None and row[key] == entity[key] for key in view.join_key)


def is_known(view: FeatureView, row: Row, now: datetime) -> bool:
    """Happened and heard of by now."""
    times = [row[name] for name in (view.event_time, view.created_time) if name is not None]
    return all(isinstance(time, datetime) and time <= now for time in times)


def newest(view: FeatureView, known: Sequence[Row], now: datetime) -> Row:
    """Later rows of the table win what the two times leave open; `max` keeps the first, so go backwards."""
    if not known or view.event_time is None:
        return known[0] if known else {}
    times = [name for name in (view.event_time, view.created_time) if name is not None]
    last = max(reversed(known), key=lambda row: tuple(when(row, name) for name in times))
    if view.ttl is not None and now - when(last, view.event_time) > view.ttl:
        return {}
    return last


def when(row: Row, name: str) -> datetime:
    """One time of a row."""
    time = row[name]
    assert isinstance(time, datetime)
    return time


def aggregated(aggregate: Aggregate, view: FeatureView, known: Sequence[Row], now: datetime) -> object:
    """One aggregate over the rows known by now."""
    assert view.event_time is not None
    rows = [row for row in known if when(row, view.event_time) > now - aggregate.over]
    if aggregate.column is None:
        return len(rows)
    values = [value for row in rows if (value := row[aggregate.column]) is not None]
    numbers = [value for value in values if isinstance(value, int | float)]
    if aggregate.function is Function.COUNT:
        return len(values)
    if not numbers:
        return None
    if aggregate.function is Function.SUM:
        return exact_sum(numbers)
    return float(exact_sum(numbers)) / len(numbers)


def exact_sum(numbers: Sequence[int | float]) -> int | float:
    """Exact in fractions, rounded once at the end."""
    if all(isinstance(number, int) for number in numbers):
        return int(sum(numbers))
    special = {number for number in numbers if math.isinf(number)}
    if any(math.isnan(number) for number in numbers) or len(special) == 2:
        return math.nan
    if special:
        return special.pop()
    whole = sum(map(Fraction, numbers), Fraction(0))
    try:
        return float(whole)
    except OverflowError:
        return math.inf if whole > 0 else -math.inf


def shown(rows: Sequence[Row]) -> list[dict[str, str]]:
    """Rows as text, in which NaN equals NaN and every bit of a float counts, apart from the sign of zero."""
    return [{name: text(value) for name, value in row.items()} for row in rows]


def text(value: object) -> str:
    """One value as text."""
    if isinstance(value, datetime):
        return value.isoformat()
    return repr(abs(value) if value == 0 and isinstance(value, float) else value)


# --- random worlds -----------------------------------------------------------------------------------------------

KEYS = st.sampled_from(["a", "b", "c", None])
MINUTES = st.integers(0, 12).map(minute) | st.none()
DELAYS = st.sampled_from([-3, 0, 0, 1, 2, 5, 40])
FLOATS = st.floats() | st.sampled_from([0.1, 0.2, 1e16, -1e16, 1.0, 5e-324]) | st.none()
INTEGERS = st.integers(-(2**59), 2**59) | st.integers(-3, 3) | st.none()
SPANS = st.sampled_from([timedelta(minutes=m) for m in (1, 2, 3, 5, 30)])
TTLS = st.sampled_from([None, timedelta(0), timedelta(minutes=2), timedelta(minutes=5), timedelta.max])

ROWS = pa.schema(
    [
        ("key", pa.string()),
        ("gate", pa.int64()),
        ("event", pa.timestamp("us", "UTC")),
        ("created", pa.timestamp("us", "UTC")),
        ("word", pa.string()),
        ("whole", pa.int64()),
        ("real", pa.float64()),
        ("flag", pa.bool_()),
    ]
)
ASKING = pa.schema(
    [("key", pa.string()), ("gate", pa.int32()), ("t", pa.timestamp("us", "UTC")), ("id", pa.int64())]
)
LOOKUP = pa.schema([("key", pa.string()), ("seats", pa.int64())])


@st.composite
def fact(draw: st.DrawFn) -> Row:
    """One row of a source: few keys and few minutes, so that nearly everything collides."""
    event = draw(MINUTES)
    delay = timedelta(minutes=draw(DELAYS))
    late = None if event is None or draw(st.integers(0, 9)) == 0 else event + delay
    return {
        "key": draw(KEYS),
        "gate": draw(st.sampled_from([1, 2, None])),
        "event": event,
        "created": late,
        "word": draw(st.sampled_from(["x", "y", None])),
        "whole": draw(INTEGERS),
        "real": draw(FLOATS),
        "flag": draw(st.sampled_from([True, False, None])),
    }


ENTITIES = st.lists(
    st.fixed_dictionaries(
        {
            "key": st.sampled_from(["a", "b", "c", "unheard of", None]),
            "gate": st.sampled_from([1, 2, 3, None]),
            "t": MINUTES,
            "id": st.integers(0, 2),
        }
    ),
    max_size=12,
)


@st.composite
def views(draw: st.DrawFn) -> list[FeatureView]:
    """Up to three views of the same facts, each with its own keys, times, ttl and windows, and a lookup."""
    made = [
        FeatureView("plane", source="planes", join_key="key", event_time=None, columns=["seats"]),
    ]
    for number in range(draw(st.integers(1, 3))):
        spans = draw(st.lists(SPANS, min_size=1, max_size=2, unique=True))
        aggregates = [
            aggregate
            for span in spans
            for aggregate in (
                Aggregate(None, "count", over=span),
                Aggregate("word", "count", over=span),
                Aggregate("whole", "mean", over=span),
                Aggregate("whole", "sum", over=span),
                Aggregate("real", "mean", over=span),
                Aggregate("real", "sum", over=span),
                Aggregate("flag", "share", over=span),
                Aggregate("flag", "sum", over=span),
            )
        ]
        made.append(
            FeatureView(
                f"v{number}",
                source="facts",
                join_key=draw(st.sampled_from([["key"], ["gate"], ["key", "gate"], ["gate", "key"]])),
                event_time="event",
                created_time=draw(st.sampled_from([None, "created"])),
                columns=["word", "real"],
                aggregates=aggregates,
                ttl=draw(TTLS),
            )
        )
    return draw(st.permutations(made))


FACTS = st.lists(fact(), max_size=25)
PLANES = st.lists(
    st.fixed_dictionaries({"key": KEYS, "seats": st.integers(1, 9) | st.none()}),
    max_size=4,
    unique_by=lambda row: row["key"] if row["key"] is not None else id(row),
)


@settings(deadline=None)
@given(made=views(), entities=ENTITIES, facts=FACTS, planes=PLANES)
def test_history_equals_the_reference(
    made: list[FeatureView], entities: list[Row], facts: list[Row], planes: list[Row]
) -> None:
    """Any ties, late data, ttl edges, nulls and repeats: every cell is what the definition says, in the order asked."""
    service = FeatureService("all", made)
    sources = {"facts": facts, "planes": planes}
    expected = reference(service, entities, "t", sources)
    tables = {"facts": pa.Table.from_pylist(facts, ROWS), "planes": pa.Table.from_pylist(planes, LOOKUP)}
    found = historical_features(
        service, pa.Table.from_pylist(entities, ASKING), at="t", sources=tables, threads=1
    )
    assert found.column_names == [*ASKING.names, *service.features]
    assert shown(found.to_pylist()) == shown(expected)


@settings(deadline=None)
@given(
    made=views(),
    entities=ENTITIES,
    facts=FACTS,
    now=st.integers(0, 12).map(minute),
)
def test_what_is_not_known_yet_changes_nothing(
    made: list[FeatureView], entities: list[Row], facts: list[Row], now: datetime
) -> None:
    """Taking away every row that nobody could know by the last question leaves each answer as it is, bit for bit."""
    service = FeatureService(
        "all", [view for view in made if view.event_time is None or view.created_time is not None]
    )
    asking = pa.Table.from_pylist(
        [row for row in entities if row["t"] is None or when(row, "t") <= now], ASKING
    )
    known = [row for row in facts if row["created"] is None or when(row, "created") <= now]
    planes = pa.Table.from_pylist([], LOOKUP)
    everything, then = (
        historical_features(
            service,
            asking,
            at="t",
            sources={"facts": pa.Table.from_pylist(rows, ROWS), "planes": planes},
            threads=1,
        )
        for rows in (facts, known)
    )
    assert shown(everything.to_pylist()) == shown(then.to_pylist())


@settings(deadline=None)
@given(entities=ENTITIES, facts=FACTS, older=st.lists(fact(), max_size=10), pieces=st.integers(1, 4))
def test_a_window_depends_on_its_own_rows_alone(
    entities: list[Row], facts: list[Row], older: list[Row], pieces: int
) -> None:
    """Rows from before the window, NaN and 1e300 among them, and the table's chunks change no bit of an aggregate."""
    spans = (timedelta(minutes=5), timedelta(minutes=30))
    view = FeatureView(
        "v",
        source="facts",
        join_key="key",
        event_time="event",
        aggregates=[
            Aggregate("real", function, over=span)
            for span in spans
            for function in (Function.MEAN, Function.SUM, Function.COUNT)
        ],
    )
    history = FeatureService("all", [view])
    past = [
        row | {"event": when(row, "event") - timedelta(days=1)} for row in older if row["event"] is not None
    ]
    short = pa.Table.from_pylist(facts, ROWS)
    long = pa.Table.from_pylist(past + facts, ROWS)
    cuts = range(0, long.num_rows, max(1, long.num_rows // pieces))
    cut = pa.concat_tables([short.slice(0, 0), *(long.slice(at, cuts.step) for at in cuts)])
    asking = pa.Table.from_pylist(entities, ASKING)
    one, other = (History(history, {"facts": table}).join(asking, at="t") for table in (short, cut))
    assert shown(one.to_pylist()) == shown(other.to_pylist())


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_the_number_of_threads_changes_nothing(threads: int) -> None:
    """One row of a source: few keys and few minutes, so that nearly everything collides."""
    """One aggregate over the rows known by now."""
    """One time of a row."""
    """Happened and heard of by now."""
    """Equal keys, and no null among them."""
    """The features of one view for one row."""
    """A minute of the day on which clocks change in Europe, which must not matter."""
    """A thousand questions to four views are answered alike however many threads work on them."""
    rows = 4_000
    facts = pa.table(
        {
            "key": [f"k{row % 37}" for row in range(rows)],
            "event": pa.array([minute(row * 7919 % 10_007) for row in range(rows)]),
            "real": [math.sin(row) * 10 ** (row % 9) for row in range(rows)],
        }
    )
    views = [
        FeatureView(
            f"v{hours}",
            source="facts",
            join_key="key",
            event_time="event",
            columns=["real"],
            aggregates=[Aggregate("real", "mean", over=timedelta(hours=hours))],
        )
        for hours in (1, 2, 6, 24)
    ]
    service = FeatureService("all", views)
    asking = (
        facts.select(["key"])
        .append_column("t", facts["event"].take(list(range(rows - 1, -1, -1))))
        .slice(0, 1000)
    )
    found = historical_features(service, asking, at="t", sources={"facts": facts}, threads=threads)
    assert found.equals(historical_features(service, asking, at="t", sources={"facts": facts}))
