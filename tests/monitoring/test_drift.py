"""Drift of live inputs: what moved is always told, an alarm rings by the user's policy alone."""

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from everloop.data.profile import Profile, profile
from everloop.demo.world import World
from everloop.errors import InvalidInput
from everloop.monitoring.drift import Alarm, DriftReport, drift


def inputs(seed: int, rows: int, *, warmer: float = 0.0, news: float = 0.0) -> pa.Table:
    """Inputs of a model: a number, a category, a count, and one with gaps."""
    random = np.random.default_rng(seed)
    carriers = random.choice(["UA", "B6", "DL"], rows, p=[0.5 - news, 0.3, 0.2 + news])
    return pa.table(
        {
            "temp": random.normal(60 + warmer, 10, rows),
            "carrier": carriers,
            "hour": random.integers(5, 24, rows),
            "gust": pa.array(random.gamma(2, 5, rows), mask=random.random(rows) < 0.7),
        }
    )


TRAINED = profile(inputs(0, 20_000))


def look(table: pa.Table, alarm: Alarm | None = None, reference: Profile = TRAINED) -> DriftReport:
    """Hold a window of live rows against the training data."""
    return drift(reference, profile(table, edges=reference.edges()), alarm=alarm)


def test_a_quiet_window_says_so() -> None:
    """The same world: nothing moved, no alarm."""
    seen = look(inputs(1, 2_000))
    assert (seen.alarm, seen.moved, seen.because) == (False, (), "nothing moved")


def test_quiet_windows_are_as_rare_as_stated() -> None:
    """Of 60 windows without drift at most 5 % and some luck tell of a move, and hardly any rings."""
    seen = [look(inputs(seed, 500)) for seed in range(100, 160)]
    assert sum(bool(one.moved) for one in seen) <= 60 * 0.05 + 3 * (60 * 0.05 * 0.95) ** 0.5
    assert sum(one.alarm for one in seen) <= 1


def test_a_move_is_told_and_rings() -> None:
    """The sentence names the worst column, what it was and what it is."""
    seen = look(inputs(2, 2_000, warmer=20, news=0.2))
    assert seen.alarm and seen.moved == ("temp", "carrier") == seen.columns
    assert seen.because.startswith("temp: distributions 0.6") and "; carrier: shares moved by" in seen.because


@pytest.mark.parametrize(
    ("alarm", "rings"),
    [
        (Alarm(), ("temp",)),
        (Alarm(columns=["temp", "hour"]), ("temp",)),
        (Alarm(columns=["hour"]), ()),
        (Alarm(ignore=["temp"]), ()),
        (Alarm(columns=["temp"], ignore=["temp"]), ()),
        (Alarm(effect=0.9, deviations=9.0), ()),
        (Alarm(effect=0.9, deviations=1.5), ("temp",)),
    ],
)
def test_the_policy_decides_what_rings_and_not_what_is_told(alarm: Alarm, rings: tuple[str, ...]) -> None:
    """Columns, exceptions and the size of the move make the alarm; the verdict stays the same."""
    seen = look(inputs(3, 2_000, warmer=20), alarm)
    assert seen.moved == ("temp",) and seen.columns == rings and seen.alarm == bool(rings)
    assert rings or seen.because == "no alarm; moved: temp"


def test_a_column_that_cannot_be_compared_rings_where_it_is_watched() -> None:
    """An input that went missing or changed its kind is not passed over by an alarm on it."""
    table = inputs(4, 500)
    for broken in (table.drop_columns(["hour"]), table.set_column(2, "hour", pa.array(["noon"] * 500))):
        seen = look(broken, Alarm(columns=["hour"]))
        assert seen.alarm and seen.because == "hour: cannot be compared with the training data"
        assert not look(broken).alarm and look(broken).shift.unmatched == ("hour",)


def test_a_watched_column_must_exist() -> None:
    """A typo is told and does not make a monitor that is silent for ever."""
    with pytest.raises(InvalidInput, match=r"set on tmep, which .* Next: use some of temp, carrier"):
        look(inputs(5, 100), Alarm(columns=["tmep"]))


def test_many_moves_are_told_in_one_sentence() -> None:
    """Three are told, the rest are counted."""
    names = [f"x{i}" for i in range(6)]
    old, new = (pa.table({name: np.linspace(low, low + 1, 200) for name in names}) for low in (0, 1))
    reference = profile(old)
    seen = look(new, reference=reference)
    assert seen.because.count("distributions") == 3 and seen.because.endswith("; and 3 more")


def test_what_was_found_is_json() -> None:
    """A look goes into an event as it is and comes back equal."""
    seen = look(inputs(6, 500, warmer=5))
    assert msgspec.convert(msgspec.to_builtins(seen), DriftReport) == seen


def test_an_empty_window_is_no_drift() -> None:
    """No requests, no claim."""
    assert look(inputs(7, 0)).because == "nothing moved"


def test_july_moves_the_weather_and_need_not_ring() -> None:
    """On real data: a model of January sees July's temperature move, and the policy says what follows."""
    world = World.load()
    january = profile(world.weather(1).select(["temp", "humid", "wind_speed"]))
    july = world.weather(7).select(["temp", "humid", "wind_speed"])
    seen = look(july, reference=january)
    assert seen.alarm and seen.columns[0] == "temp"
    quiet = look(july, Alarm(ignore=["temp", "humid", "wind_speed"]), january)
    assert not quiet.alarm and quiet.moved[0] == "temp"
