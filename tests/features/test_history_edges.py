"""The edges of a point-in-time join, made by hand and named one by one."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from everloop.errors import InvalidInput, Unsupported
from everloop.features.history import historical_features
from everloop.features.views import (
    Aggregate,
    FeatureService,
    FeatureView,
    Function,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
TICK = timedelta(microseconds=1)


def asking(*times: datetime | None, keys: Sequence[str | None] | None = None) -> pa.Table:
    """Rows that ask for key "a" at these times, or for these keys."""
    return pa.table(
        {
            "id": pa.array(range(len(times)), pa.int64()),
            "key": pa.array(keys if keys is not None else ["a"] * len(times), pa.string()),
            "t": pa.array(times, pa.timestamp("us", "UTC")),
        }
    )


def facts(
    *rows: tuple[str | None, datetime | None, object], created: Sequence[datetime | None] | None = None
) -> pa.Table:
    """A source of (key, event, value), known at once unless `created` says when."""
    keys, events, values = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.table(
        {
            "key": pa.array(keys, pa.string()),
            "event": pa.array(events, pa.timestamp("us", "UTC")),
            "created": pa.array(events if created is None else created, pa.timestamp("us", "UTC")),
            "x": pa.array(values, None if values else pa.int64()),
        }
    )


def newest(
    source: pa.Table, entities: pa.Table, *, created: bool = False, ttl: timedelta | None = None
) -> list[object]:
    """The value of x that each row gets."""
    view = FeatureView(
        "v",
        source="s",
        join_key="key",
        event_time="event",
        created_time="created" if created else None,
        columns=["x"],
        ttl=ttl,
    )
    return listed(joined(view, source, entities), "v_x")


def windowed(
    aggregate: Aggregate, source: pa.Table, entities: pa.Table, *, created: bool = False
) -> list[object]:
    """The value of one aggregate that each row gets."""
    view = FeatureView(
        "v",
        source="s",
        join_key="key",
        event_time="event",
        created_time="created" if created else None,
        aggregates=[aggregate],
    )
    return listed(joined(view, source, entities), view.features[0])


def joined(view: FeatureView, source: pa.Table, entities: pa.Table, at: str = "t") -> pa.Table:
    """The rows with the features of one view."""
    return historical_features(FeatureService("all", [view]), entities, at=at, sources={"s": source})


def listed(table: pa.Table, name: str) -> list[object]:
    """One column as Python values."""
    return list(table.column(name).to_pylist())


class TestTheNewestRow:
    def test_a_row_is_seen_at_its_own_moment_and_not_one_tick_before(self) -> None:
        """The event time itself is included."""
        assert newest(facts(("a", NOON, 1)), asking(NOON - TICK, NOON, NOON + TICK)) == [None, 1, 1]

    def test_the_latest_event_wins_wherever_it_stands_in_the_table(self) -> None:
        """The source need not be sorted."""
        source = facts(("a", NOON, 2), ("a", NOON - HOUR, 1), ("a", NOON + HOUR, 3))
        assert newest(source, asking(NOON)) == [2]

    def test_of_equal_events_the_one_created_last_wins(self) -> None:
        """A correction replaces what it corrects, once it is known."""
        source = facts(("a", NOON, "corrected"), ("a", NOON, "first"), created=[NOON + 2 * HOUR, NOON + HOUR])
        moments = asking(NOON + HOUR, NOON + 2 * HOUR)
        assert newest(source, moments, created=True) == ["first", "corrected"]

    def test_of_rows_equal_in_both_times_the_lower_one_wins(self) -> None:
        """So the result does not depend on chance, and what was appended later counts."""
        source = facts(("a", NOON, 1), ("a", NOON, 2), ("a", NOON, 3))
        assert newest(source, asking(NOON)) == [3]
        assert newest(source, asking(NOON), created=True) == [3]

    def test_a_late_row_is_not_seen_before_it_was_created(self) -> None:
        """Until then the older event stands."""
        source = facts(("a", NOON - HOUR, "old"), ("a", NOON, "late"), created=[NOON - HOUR, NOON + HOUR])
        moments = asking(NOON, NOON + HOUR - TICK, NOON + HOUR)
        assert newest(source, moments, created=True) == ["old", "old", "late"]

    def test_a_row_that_is_known_last_and_happened_first_replaces_nothing(self) -> None:
        """Late news of an older event changes nothing."""
        source = facts(("a", NOON, "new"), ("a", NOON - HOUR, "old"), created=[NOON, NOON + HOUR])
        assert newest(source, asking(NOON + 2 * HOUR), created=True) == ["new"]

    def test_many_late_rows_in_a_row_are_all_passed_over(self) -> None:
        """A backfill that was created long after its events is invisible before it came."""
        events = [NOON + TICK * step for step in range(1000)]
        source = facts(
            ("a", NOON - HOUR, -1),
            *(("a", event, step) for step, event in enumerate(events)),
            created=[NOON - HOUR, *([NOON + 24 * HOUR] * 1000)],
        )
        moments = asking(NOON + HOUR, NOON + 24 * HOUR)
        assert newest(source, moments, created=True) == [-1, 999]

    def test_a_row_created_before_its_event_waits_for_the_event(self) -> None:
        """A forecast is no fact yet."""
        source = facts(("a", NOON, 1), created=[NOON - HOUR])
        assert newest(source, asking(NOON - TICK, NOON), created=True) == [None, 1]

    def test_without_a_created_time_the_column_is_not_looked_at(self) -> None:
        """Only what the view names counts."""
        assert newest(facts(("a", NOON, 1), created=[None]), asking(NOON)) == [1]

    def test_a_null_value_is_an_answer(self) -> None:
        """The newest row counts, also where its value is null: it does not fall back to an older one."""
        assert newest(facts(("a", NOON - HOUR, 1), ("a", NOON, None)), asking(NOON)) == [None]


class TestTimeToLive:
    def test_a_row_exactly_as_old_as_the_ttl_is_still_valid(self) -> None:
        """One tick later it is not."""
        found = newest(facts(("a", NOON, 1)), asking(NOON + HOUR, NOON + HOUR + TICK), ttl=HOUR)
        assert found == [1, None]

    def test_a_ttl_of_zero_takes_only_the_same_instant(self) -> None:
        """The edge is inclusive there too."""
        assert newest(facts(("a", NOON, 1)), asking(NOON, NOON + TICK), ttl=timedelta(0)) == [1, None]

    def test_age_counts_from_the_event_and_not_from_its_creation(self) -> None:
        """A row that came late is as old as what it tells of."""
        source = facts(("a", NOON, 1), created=[NOON + 2 * HOUR])
        assert newest(source, asking(NOON + 2 * HOUR), created=True, ttl=HOUR) == [None]

    def test_the_longest_ttl_is_for_ever(self) -> None:
        """No overflow at either end of time."""
        first, last = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
        assert newest(facts(("a", first, 1)), asking(last), ttl=timedelta.max) == [1]

    def test_rows_without_an_answer_are_kept(self) -> None:
        """All expired, all unknown, all in the future: each comes back once, with a null."""
        entities = asking(NOON + 5 * HOUR, NOON, NOON - HOUR, keys=["a", "b", "a"])
        found = newest(facts(("a", NOON, 1)), entities, ttl=HOUR)
        assert found == [None, None, None]


class TestKeys:
    def test_an_unknown_key_gets_null(self) -> None:
        """Neither a neighbour's value nor an error, before, between and after the keys there are."""
        source = facts(("b", NOON, 1), ("d", NOON, 2))
        entities = asking(*[NOON] * 5, keys=["a", "b", "c", "d", "e"])
        assert newest(source, entities) == [None, 1, None, 2, None]

    def test_a_null_key_matches_nothing(self) -> None:
        """Not even another null."""
        source = facts((None, NOON, 1), ("a", NOON, 2))
        assert newest(source, asking(NOON, NOON, keys=[None, "a"])) == [None, 2]

    def test_an_empty_text_is_a_key_like_any_other(self) -> None:
        """It is not null."""
        assert newest(facts(("", NOON, 1)), asking(NOON, keys=[""])) == [1]

    def test_several_columns_make_one_key(self) -> None:
        """All must agree, and a null in one of them matches nothing."""
        source = pa.table(
            {
                "a": ["x", "x", "y", None],
                "b": pa.array([1, 2, 1, 1], pa.int16()),
                "c": [True, True, True, True],
                "event": [NOON] * 4,
                "v": [10, 20, 30, 40],
            }
        )
        entities = pa.table(
            {
                "c": [True, True, True, True, True, False],
                "b": pa.array([2, 1, None, None, 1, 1], pa.int64()),
                "a": ["x", "y", "x", "y", None, "x"],
                "t": [NOON] * 6,
            }
        )
        view = FeatureView("v", source="s", join_key=["a", "b", "c"], event_time="event", columns=["v"])
        assert joined(view, source, entities).column("v_v").to_pylist() == [20, 30, None, None, None, None]

    @pytest.mark.parametrize(
        ("mine", "theirs"),
        [
            (pa.array(["a", "b"]).dictionary_encode(), pa.array(["a", "b"], pa.large_string())),
            (pa.array(["a", "b"], pa.string_view()), pa.array(["a", "b"]).dictionary_encode()),
            (pa.array([1, 2], pa.uint8()), pa.array([1, 2], pa.int64())),
            (pa.array([1, 2], pa.int32()), pa.array([1, 2], pa.uint64())),
            (pa.array([2**64 - 1, 2], pa.uint64()), pa.array([2**64 - 1, 2], pa.uint64())),
            (pa.array([True, False]), pa.array([True, False])),
            (pa.array([b"a", b"b"], pa.binary(1)), pa.array([b"a", b"b"], pa.binary())),
            (pa.array([NOON, NOON + HOUR]), pa.array([NOON, NOON + HOUR])),
        ],
    )
    def test_equal_keys_meet_in_every_type(self, mine: pa.Array, theirs: pa.Array) -> None:
        """Width, encoding and container of a key do not matter, its value does."""
        view = FeatureView("v", source="s", join_key="k", event_time="event", columns=["x"])
        source = pa.table({"k": theirs, "event": [NOON, NOON], "x": [1, 2]})
        entities = pa.table({"k": mine, "t": [NOON, NOON]})
        assert joined(view, source, entities).column("v_x").to_pylist() == [1, 2]

    @pytest.mark.parametrize(
        ("mine", "theirs"),
        [
            (pa.array(["1"]), pa.array([1])),
            (pa.array([1.0]), pa.array([1])),
            (pa.array([1.0]), pa.array([1.0])),
            (pa.array([[1]]), pa.array([[1]])),
            (pa.array([2**64 - 1], pa.uint64()), pa.array([1])),
        ],
    )
    def test_keys_that_cannot_be_compared_are_refused(self, mine: pa.Array, theirs: pa.Array) -> None:
        """A text is no number, and floats make no keys: silence would give nulls everywhere."""
        view = FeatureView("v", source="s", join_key="k", event_time="event", columns=["x"])
        source = pa.table({"k": theirs, "event": [NOON], "x": [1]})
        with pytest.raises(InvalidInput, match="join key 'k'"):
            joined(view, source, pa.table({"k": mine, "t": [NOON]}))

    def test_a_column_of_nothing_but_nulls_has_no_type_and_matches_nothing(self) -> None:
        """On either side."""
        nothing = pa.nulls(1)
        view = FeatureView("v", source="s", join_key="k", event_time="event", columns=["x"])
        for mine, theirs in ((nothing, pa.array(["a"])), (pa.array(["a"]), nothing), (nothing, nothing)):
            source = pa.table({"k": theirs, "event": [NOON], "x": [1]})
            found = joined(view, source, pa.table({"k": mine, "t": [NOON]}))
            assert found.column("v_x").to_pylist() == [None]

    def test_more_keys_than_16_bits_are_told_apart(self) -> None:
        """Codes are sorted in digits of 16 bits, and every digit counts."""
        keys = pa.array(range(70_000), pa.int64())
        source = pa.table({"k": keys, "event": pa.array([NOON] * 70_000), "x": keys})
        entities = pa.table({"k": keys.take(pa.array(range(69_999, -1, -1))), "t": source["event"]})
        view = FeatureView("v", source="s", join_key="k", event_time="event", columns=["x"])
        found = joined(view, source, entities)
        assert found.column("v_x").equals(found.column("k"))


class TestRowsThatAsk:
    def test_equal_rows_come_back_as_often_as_they_were_given(self) -> None:
        """Same key, same moment, even the same everything: nothing is collapsed."""
        entities = pa.concat_tables([asking(NOON, NOON), asking(NOON, NOON)])
        assert newest(facts(("a", NOON, 1)), entities) == [1, 1, 1, 1]

    def test_rows_come_back_in_their_order_with_their_columns(self) -> None:
        """Whatever the order of their moments."""
        entities = asking(NOON + HOUR, NOON - HOUR, NOON, NOON - HOUR)
        view = FeatureView("v", source="s", join_key="key", event_time="event", columns=["x"])
        found = joined(view, facts(("a", NOON - HOUR, 1), ("a", NOON, 2)), entities)
        assert found.select(entities.column_names).equals(entities)
        assert found.column("v_x").to_pylist() == [2, 1, 2, 1]

    def test_a_null_moment_gives_nulls_in_every_feature(self) -> None:
        """Counts and plain lookups included: who has no moment knows nothing."""
        views = [
            FeatureView(
                "v",
                source="s",
                join_key="key",
                event_time="event",
                columns=["x"],
                aggregates=[Aggregate(None, "count", over=HOUR), Aggregate("x", "sum", over=HOUR)],
            ),
            FeatureView("w", source="s", join_key="key", event_time=None, columns=["x"]),
        ]
        service = FeatureService("all", views)
        source = facts(("a", NOON, 1))
        found = historical_features(service, asking(None, NOON), at="t", sources={"s": source})
        assert found.select(service.features).to_pylist() == [
            {"v_x": None, "v_count_1h": None, "v_x_sum_1h": None, "w_x": None},
            {"v_x": 1, "v_count_1h": 1, "v_x_sum_1h": 1, "w_x": 1},
        ]

    def test_a_null_moment_is_no_moment_of_1970(self) -> None:
        """Nor any other that a row could lie before."""
        source = facts(("a", datetime(1960, 1, 1, tzinfo=UTC), 1))
        assert newest(source, asking(None, NOON)) == [None, 1]
        assert newest(source, asking(NOON, None)) == [1, None]

    def test_no_rows_get_no_answers_of_the_right_types(self) -> None:
        """An empty table has the same columns as a full one."""
        view = FeatureView(
            "v",
            source="s",
            join_key="key",
            event_time="event",
            columns=["x"],
            aggregates=[
                Aggregate("x", "mean", over=HOUR),
                Aggregate(None, "count", over=HOUR),
                Aggregate("x", "sum", over=HOUR),
            ],
        )
        full = joined(view, facts(("a", NOON, 1)), asking(NOON))
        empty = joined(view, facts(("a", NOON, 1)), asking())
        assert empty.schema.equals(full.schema)
        assert empty.num_rows == 0

    def test_an_empty_source_knows_nothing(self) -> None:
        """Nulls and counts of zero, of the same types."""
        view = FeatureView(
            "v",
            source="s",
            join_key="key",
            event_time="event",
            created_time="created",
            columns=["x"],
            ttl=HOUR,
            aggregates=[
                Aggregate("x", "mean", over=HOUR),
                Aggregate(None, "count", over=HOUR),
                Aggregate("x", "sum", over=HOUR),
            ],
        )
        full = joined(view, facts(("a", NOON, 1)), asking(NOON))
        empty = joined(view, facts(), asking(NOON))
        assert empty.schema.equals(full.schema)
        assert empty.select(view.features).to_pylist() == [
            {"v_x": None, "v_x_mean_1h": None, "v_count_1h": 0, "v_x_sum_1h": None}
        ]

    def test_a_source_in_which_nothing_ever_happened_knows_nothing(self) -> None:
        """Flights that never landed are never seen."""
        source = facts(("a", None, 1), ("a", None, 2))
        assert newest(source, asking(NOON)) == [None]
        assert windowed(Aggregate(None, "count", over=HOUR), source, asking(NOON)) == [0]

    def test_a_row_that_was_never_created_is_never_seen(self) -> None:
        """A null created time means that nobody has heard of it."""
        source = facts(("a", NOON, 1), created=[None])
        assert newest(source, asking(NOON + HOUR), created=True) == [None]
        assert windowed(
            Aggregate(None, "count", over=2 * HOUR), source, asking(NOON + HOUR), created=True
        ) == [0]


class TestTimes:
    def test_zones_are_only_spelling(self) -> None:
        """The same instant in two zones is the same instant, on the night the clocks change too."""
        new_york = ZoneInfo("America/New_York")
        first = datetime(2026, 11, 1, 1, 30, fold=0, tzinfo=new_york)
        second = datetime(2026, 11, 1, 1, 30, fold=1, tzinfo=new_york)
        events = pa.array([first, second], pa.timestamp("us", "America/New_York"))
        source = pa.table({"key": ["a", "a"], "event": events, "x": ["before", "after"]})
        moments = asking(first.astimezone(UTC), second.astimezone(UTC) - TICK, second.astimezone(UTC))
        assert newest(source, moments) == ["before", "before", "after"]

    @pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
    def test_units_mix(self, unit: str) -> None:
        """Seconds, milliseconds, microseconds and nanoseconds are compared as instants."""
        source = facts(("a", NOON, 1))
        times = source["event"].cast(pa.timestamp(unit, "UTC"))
        source = source.set_column(1, "event", times)
        assert newest(source, asking(NOON - TICK, NOON)) == [None, 1]

    def test_nanoseconds_count(self) -> None:
        """Two rows a nanosecond apart are told apart."""
        base = int(NOON.timestamp()) * 10**9
        times = pa.array([base, base + 1], pa.timestamp("ns", "UTC"))
        source = pa.table({"key": ["a", "a"], "event": times, "x": [1, 2]})
        entities = pa.table({"key": ["a", "a"], "t": times})
        assert newest(source, entities) == [1, 2]
        view = FeatureView(
            "v",
            source="s",
            join_key="key",
            event_time="event",
            aggregates=[
                Aggregate(None, "count", over=TICK),
                Aggregate(None, "count", over=timedelta.max, name="ever"),
            ],
        )
        late = pa.table({"key": ["a", "a"], "t": pa.array([base + 1000, base + 1001], times.type)})
        assert joined(view, source, late).column("v_count_1us").to_pylist() == [1, 0]
        assert joined(view, source, late).column("v_ever").to_pylist() == [2, 2]

    def test_naive_times_are_refused(self) -> None:
        """Nobody can say which instant they mean; the word names the column and the way out."""
        naive = pa.array([NOON.replace(tzinfo=None)])
        source = facts(("a", NOON, 1))
        with pytest.raises(
            InvalidInput, match=r"rows that ask: column 't' has no time zone.*assume_timezone"
        ):
            newest(source, pa.table({"key": ["a"], "t": naive}))
        with pytest.raises(InvalidInput, match=r"View 'v' of 's': column 'event' has no time zone"):
            newest(source.set_column(1, "event", naive), asking(NOON))

    def test_what_is_no_time_is_refused(self) -> None:
        """Numbers and dates are no instants."""
        for times in (pa.array([1]), pa.array([NOON.date()]), pa.array(["2026-01-01T12:00:00Z"])):
            with pytest.raises(InvalidInput, match="no instant"):
                newest(facts(("a", NOON, 1)), pa.table({"key": ["a"], "t": times}))

    def test_a_time_beyond_what_nanoseconds_hold_is_refused(self) -> None:
        """Far dates and nanoseconds do not go together, and nothing is clipped in silence."""
        far = facts(("a", datetime(9999, 1, 1, tzinfo=UTC), 1))
        fine = pa.table({"key": ["a"], "t": pa.array([1], pa.timestamp("ns", "UTC"))})
        with pytest.raises(InvalidInput, match="does not fit"):
            newest(far, fine)

    def test_a_column_without_any_time_is_never_reached(self) -> None:
        """A column of nulls without a type is a column of unknown moments."""
        source = pa.table({"key": ["a"], "event": pa.nulls(1), "x": [1]})
        assert newest(source, asking(NOON)) == [None]


class TestWindows:
    def test_a_window_is_open_at_its_start_and_closed_at_its_end(self) -> None:
        """(at - over, at]: the row of now counts, the row of exactly one hour ago does not."""
        source = facts(("a", NOON, 1))
        moments = asking(NOON - TICK, NOON, NOON + HOUR - TICK, NOON + HOUR)
        assert windowed(Aggregate(None, "count", over=HOUR), source, moments) == [0, 1, 1, 0]

    def test_over_no_rows_count_is_zero_and_the_others_are_null(self) -> None:
        """For unknown keys, null keys and empty windows alike."""
        source = facts(("a", NOON, 1))
        entities = asking(NOON, NOON, NOON - HOUR, keys=["b", None, "a"])
        assert windowed(Aggregate(None, "count", over=HOUR), source, entities) == [0, 0, 0]
        for aggregate in (
            Aggregate("x", "mean", over=HOUR),
            Aggregate("x", "sum", over=HOUR),
            Aggregate("x", "share", over=HOUR),
        ):
            assert windowed(aggregate, source, entities) == [None, None, None]

    def test_null_values_are_left_out(self) -> None:
        """A row counts as a row, its null as no value."""
        source = facts(("a", NOON, None), ("a", NOON, 4), ("a", NOON + HOUR, None))
        moments = asking(NOON, NOON + HOUR)
        assert windowed(Aggregate(None, "count", over=HOUR), source, moments) == [2, 1]
        assert windowed(Aggregate("x", "count", over=HOUR), source, moments) == [1, 0]
        assert windowed(Aggregate("x", "mean", over=HOUR), source, moments) == [4.0, None]
        assert windowed(Aggregate("x", "sum", over=HOUR), source, moments) == [4, None]

    def test_a_late_row_joins_its_window_when_it_is_known(self) -> None:
        """And leaves it by the age of its event."""
        source = facts(("a", NOON, 5), created=[NOON + HOUR])
        moments = asking(NOON, NOON + HOUR, NOON + 2 * HOUR - TICK, NOON + 2 * HOUR)
        assert windowed(Aggregate("x", "sum", over=2 * HOUR), source, moments, created=True) == [
            None,
            5,
            5,
            None,
        ]

    def test_a_row_known_only_when_it_is_too_old_never_counts(self) -> None:
        """Neither when it comes in nor afterwards, and it takes nothing away from others."""
        source = facts(
            ("a", NOON, 5),
            ("a", NOON, 7),
            ("a", NOON + 3 * HOUR, 1),
            created=[NOON + HOUR, NOON + 4 * HOUR, NOON + 3 * HOUR],
        )
        moments = asking(*(NOON + step * HOUR / 2 for step in range(10)))
        found = windowed(Aggregate("x", "sum", over=HOUR), source, moments, created=True)
        assert found == [None] * 6 + [1, 1, None, None]

    def test_several_windows_and_functions_of_one_view(self) -> None:
        """Each has its own value and its own name, in the order declared."""
        day = timedelta(days=1)
        view = FeatureView(
            "v",
            source="s",
            join_key="key",
            event_time="event",
            aggregates=[
                Aggregate("x", "share", over=day),
                Aggregate(None, "count", over=HOUR),
                Aggregate("x", "mean", over=HOUR, name="recent"),
                Aggregate("x", "sum", over=day),
                Aggregate(None, "count", over=day),
            ],
        )
        source = facts(("a", NOON - 2 * HOUR, True), ("a", NOON, False), ("a", NOON, None))
        found = joined(view, source, asking(NOON)).select(view.features).to_pylist()
        assert found == [
            {"v_x_share_24h": 0.5, "v_count_1h": 2, "v_recent": 0.0, "v_x_sum_24h": 1, "v_count_24h": 3}
        ]
        assert list(found[0]) == list(view.features)

    def test_types_of_aggregates(self) -> None:
        """Counts and sums of whole numbers are whole, means and shares are floats."""
        functions = (Function.MEAN, Function.SUM, Function.COUNT)
        view = FeatureView(
            "v",
            source="s",
            join_key="key",
            event_time="event",
            aggregates=[Aggregate("x", function, over=HOUR) for function in functions],
        )
        for values, kind in (
            (pa.array([1], pa.int8()), "int64"),
            (pa.array([True]), "int64"),
            (pa.array([1.5], pa.float32()), "double"),
            (pa.nulls(1), "int64"),
        ):
            source = facts(("a", NOON, 1)).set_column(3, "x", values)
            found = joined(view, source, asking(NOON))
            assert [str(found.schema.field(name).type) for name in view.features] == ["double", kind, "int64"]

    def test_anything_can_be_counted_and_only_numbers_summed(self) -> None:
        """A text has no mean."""
        source = facts(("a", NOON, "late"))
        assert windowed(Aggregate("x", "count", over=HOUR), source, asking(NOON)) == [1]
        with pytest.raises(InvalidInput, match="column 'x' is string and no number"):
            windowed(Aggregate("x", "mean", over=HOUR), source, asking(NOON))

    def test_a_share_of_something_else_than_true_and_false_is_refused(self) -> None:
        """A mean delay is no share, also where the odd value lies outside every window."""
        source = facts(("a", NOON, 2))
        with pytest.raises(InvalidInput, match="more than 0 and 1"):
            windowed(Aggregate("x", "share", over=HOUR), source, asking(NOON - HOUR))

    def test_a_sum_that_does_not_fit_is_refused(self) -> None:
        """Its mean is still right."""
        source = facts(("a", NOON, 2**63 - 1), ("a", NOON, 2**63 - 1))
        assert windowed(Aggregate("x", "mean", over=HOUR), source, asking(NOON)) == [float(2**63)]
        with pytest.raises(InvalidInput, match="does not fit in 64 bits"):
            windowed(Aggregate("x", "sum", over=HOUR), source, asking(NOON))

    def test_nan_counts_in_its_own_window_only(self) -> None:
        """One broken value does not spoil the rest of history."""
        source = facts(("a", NOON, float("nan")), ("a", NOON + 2 * HOUR, 1.5))
        found = windowed(Aggregate("x", "mean", over=HOUR), source, asking(NOON, NOON + 2 * HOUR))
        assert str(found) == "[nan, 1.5]"


class TestLookups:
    PLANES = pa.table({"key": ["a", "b", None, None], "x": ["one", "two", "three", "four"]})

    def look_up(self, source: pa.Table, entities: pa.Table) -> list[object]:
        """The value of x by key, at any time."""
        view = FeatureView("v", source="s", join_key="key", event_time=None, columns=["x"])
        return listed(joined(view, source, entities), "v_x")

    def test_a_view_without_event_time_is_a_plain_lookup(self) -> None:
        """Unknown and null keys get null; rows of the source without a key are nobody's."""
        entities = asking(*[NOON] * 4, keys=["b", "unknown", None, "a"])
        assert self.look_up(self.PLANES, entities) == ["two", None, None, "one"]

    def test_a_lookup_with_two_rows_for_a_key_is_refused(self) -> None:
        """The word names the key, also when nobody asks for it."""
        source = pa.table({"key": ["a", "b", "b"], "x": [1, 2, 2]})
        with pytest.raises(InvalidInput, match="'b' has several"):
            self.look_up(source, asking(NOON))

    def test_an_empty_lookup_knows_nobody(self) -> None:
        """Every answer is null."""
        assert self.look_up(self.PLANES.slice(0, 0), asking(NOON, NOON)) == [None, None]


class TestValues:
    def test_values_keep_their_types(self) -> None:
        """Nested, decimal, dictionary, time: what is fetched is what was there."""
        columns = {
            "list": pa.array([[1, 2]]),
            "struct": pa.array([{"a": 1}]),
            "decimal": pa.array([1], pa.decimal128(20, 2)),
            "level": pa.array(["x"]).dictionary_encode(),
            "date": pa.array([NOON.date()]),
            "half": pa.array([1.5], pa.float16()),
            "naive": pa.array([NOON.replace(tzinfo=None)]),
            "nothing": pa.nulls(1),
            "view": pa.array(["x"], pa.string_view()),
        }
        view = FeatureView("v", source="s", join_key="key", event_time="event", columns=list(columns))
        source = pa.table({"key": ["a"], "event": [NOON], **columns})
        found = joined(view, source, asking(NOON, NOON, keys=["b", "a"]))
        for name, values in columns.items():
            assert found.schema.field(f"v_{name}").type == values.type
            assert found.column(f"v_{name}").to_pylist() == [None, *values.to_pylist()]

    def test_a_type_that_arrow_cannot_fetch_is_refused(self) -> None:
        """With the name of the column."""
        runs = pa.RunEndEncodedArray.from_arrays(pa.array([1], pa.int32()), pa.array([5]))
        with pytest.raises(Unsupported, match="View 'v' of 's': column 'x'"):
            newest(facts(("a", NOON, 1)).set_column(3, "x", runs), asking(NOON))

    def test_dictionaries_that_differ_between_chunks_are_understood(self) -> None:
        """Each file of a table brings its own; key and value stay what they are."""
        pieces = [
            pa.table(
                {
                    "key": pa.array([key]).dictionary_encode(),
                    "event": [NOON],
                    "x": pa.array([value]).dictionary_encode(),
                }
            )
            for key, value in (("a", "one"), ("b", "two"))
        ]
        assert newest(pa.concat_tables(pieces), asking(NOON, NOON, keys=["b", "a"])) == ["two", "one"]


class TestRefusals:
    VIEW = FeatureView("v", source="s", join_key="key", event_time="event", columns=["x"])

    def test_a_missing_source_is_named(self) -> None:
        """And what was given instead."""
        with pytest.raises(InvalidInput, match=r"reads 's'.*which has other"):
            historical_features(
                FeatureService("all", [self.VIEW]), asking(NOON), at="t", sources={"other": facts()}
            )

    def test_a_missing_column_is_named_with_its_view(self) -> None:
        """On the side where it is missing."""
        with pytest.raises(InvalidInput, match="View 'v' of 's': the table has no column 'x'"):
            joined(self.VIEW, facts(("a", NOON, 1)).drop_columns("x"), asking(NOON))
        with pytest.raises(InvalidInput, match="rows that ask: the table has no column 'key'"):
            joined(self.VIEW, facts(("a", NOON, 1)), asking(NOON).drop_columns("key"))
        with pytest.raises(InvalidInput, match="rows that ask: the table has no column 'when'"):
            joined(self.VIEW, facts(("a", NOON, 1)), asking(NOON), at="when")

    def test_a_column_that_is_there_twice_is_refused(self) -> None:
        """Nobody can say which one is meant."""
        source = facts(("a", NOON, 1)).append_column("x", [[2]])
        with pytest.raises(InvalidInput, match="2 columns 'x'"):
            joined(self.VIEW, source, asking(NOON))

    def test_a_feature_that_is_there_already_is_refused(self) -> None:
        """Joining twice would make two columns of one name."""
        once = joined(self.VIEW, facts(("a", NOON, 1)), asking(NOON))
        with pytest.raises(InvalidInput, match="have a column 'v_x' already"):
            joined(self.VIEW, facts(("a", NOON, 1)), once)

    def test_something_else_than_an_arrow_table_is_refused(self) -> None:
        """With the way to make one."""
        with pytest.raises(InvalidInput, match="list is no Arrow table"):
            joined(self.VIEW, [], asking(NOON))

    def test_no_threads_cannot_work(self) -> None:
        """The number is checked."""
        with pytest.raises(InvalidInput, match="threads=0"):
            historical_features(
                FeatureService("all", [self.VIEW]), asking(NOON), at="t", sources={"s": facts()}, threads=0
            )
