"""What a user declares: names, what is refused, and a definition that stays the same."""

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everloop.errors import InvalidInput
from everloop.features.views import (
    Aggregate,
    FeatureService,
    FeatureView,
    Function,
    duplicates,
    span_label,
)
from everloop.records.datasets import Dataset

HOUR = timedelta(hours=1)


def weather(name: str = "weather", **changes: object) -> FeatureView:
    """A view of the usual kind."""
    usual: dict[str, object] = {
        "source": "weather",
        "join_key": "origin",
        "event_time": "observed_at",
        "created_time": "published_at",
        "columns": ["temp", "wind"],
        "aggregates": [Aggregate("temp", "mean", over=6 * HOUR), Aggregate(None, "count", over=HOUR)],
        "ttl": 3 * HOUR,
    }
    return FeatureView(name, **(usual | changes))  # type: ignore[arg-type]


class TestFeatureView:
    def test_a_lone_text_is_one_name(self) -> None:
        """A join key or a column given as text is not taken for its letters."""
        view = weather(join_key="origin", columns="temp")
        assert (view.join_key, view.columns) == (("origin",), ("temp",))

    def test_a_dataset_stands_for_its_name(self) -> None:
        """Views by object and by name are equal."""
        dataset = Dataset("weather", keys="origin", event_time="observed_at", created_time="published_at")
        assert weather(source=dataset) == weather()

    def test_features_are_named_after_view_column_function_and_span(self) -> None:
        """Columns first, then aggregates, each in the order given."""
        view = weather(
            aggregates=[
                Aggregate("rain", "sum", over=48 * HOUR),
                Aggregate("fog", "share", over=HOUR, name="foggy"),
            ]
        )
        assert view.features == ("weather_temp", "weather_wind", "weather_rain_sum_2d", "weather_foggy")

    def test_it_tells_what_it_reads(self) -> None:
        """Keys, times, columns and what is summed, once each, so that nothing else need be loaded."""
        assert weather(columns=["temp"]).reads() == ("origin", "observed_at", "published_at", "temp")

    def test_it_can_be_a_key_and_travel(self) -> None:
        """Equal views are one key of a dict, and a copy from another process is equal."""
        assert {weather(): 1}[pickle.loads(pickle.dumps(weather()))] == 1  # noqa: S301

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"name": "Weather"}, "no name for a feature view"),
            ({"source": ""}, "no name for a dataset"),
            ({"source": None}, "no name for a dataset"),
            ({"join_key": []}, "no join key"),
            ({"join_key": ["origin", "origin"]}, "names the join key 'origin' twice"),
            ({"join_key": [1]}, "no column name"),
            ({"columns": ["temp", "temp"]}, "makes the feature 'weather_temp' twice"),
            ({"columns": [""]}, "no column name"),
            ({"columns": ["count_1h"]}, "makes the feature 'weather_count_1h' twice"),
            ({"columns": [], "aggregates": [], "ttl": None}, "has no feature"),
            ({"aggregates": ["mean"]}, "no aggregate"),
            ({"event_time": ""}, "no column name"),
            ({"event_time": None}, "has no event time"),
            ({"event_time": None, "created_time": None, "ttl": None}, "has no event time"),
            ({"ttl": -HOUR}, "is no age"),
            ({"ttl": 3600}, "is no age"),
            ({"columns": []}, "no columns that it could bound"),
        ],
    )
    def test_a_mistake_is_refused(self, changes: dict[str, object], reason: str) -> None:
        """With what is wrong in one line, when it is written and not when it is used."""
        with pytest.raises(InvalidInput, match=reason):
            weather(**changes)  # type: ignore[arg-type]

    def test_a_forgotten_created_time_is_refused(self) -> None:
        """The dataset says that its rows are known later than they happen; leaving that out would leak."""
        dataset = Dataset("weather", keys="origin", event_time="observed_at", created_time="published_at")
        with pytest.raises(InvalidInput, match='say created_time="published_at"'):
            weather(source=dataset, created_time=None)
        assert weather(source=dataset, created_time=None, event_time="published_at").created_time is None


class TestAggregates:
    @pytest.mark.parametrize("over", [timedelta(0), -HOUR, 3600, None])
    def test_a_window_is_longer_than_nothing(self, over: object) -> None:
        """And is a timedelta: a lone number has no unit."""
        with pytest.raises(InvalidInput, match="no window"):
            Aggregate("temp", "mean", over=over)  # type: ignore[arg-type]

    def test_names_are_checked(self) -> None:
        """Of the column and of the feature."""
        with pytest.raises(InvalidInput, match="no column name"):
            Aggregate("", "mean", over=HOUR)
        with pytest.raises(InvalidInput, match="no name for a feature"):
            Aggregate(None, "count", over=HOUR, name="How many?")

    def test_a_function_is_one_of_four_words(self) -> None:
        """And what is no count is one of a column."""
        with pytest.raises(
            InvalidInput, match=r"no aggregate 'total'\. Next: use one of mean, sum, count, share"
        ):
            Aggregate("temp", "total", over=HOUR)  # type: ignore[arg-type]
        for function in ("mean", "sum", "share"):
            with pytest.raises(InvalidInput, match=f"a {function} is one of a column"):
                Aggregate(None, Function(function), over=HOUR)

    @given(st.lists(st.timedeltas(min_value=timedelta(microseconds=1)), min_size=2, max_size=2, unique=True))
    def test_spans_that_differ_have_labels_that_differ(self, spans: list[timedelta]) -> None:
        """So two windows never share a feature's name."""
        assert span_label(spans[0]) != span_label(spans[1])

    @pytest.mark.parametrize(
        ("span", "label"),
        [
            (timedelta(hours=6), "6h"),
            (timedelta(days=1), "24h"),
            (timedelta(days=2), "2d"),
            (timedelta(hours=49), "49h"),
            (timedelta(minutes=90), "90m"),
            (timedelta(seconds=1), "1s"),
            (timedelta(milliseconds=1), "1000us"),
        ],
    )
    def test_spans_are_told_as_people_say_them(self, span: timedelta, label: str) -> None:
        """In the largest unit that holds them whole."""
        assert span_label(span) == label


class TestFeatureService:
    def test_it_tells_its_features_sources_and_keys(self) -> None:
        """In the order in which they are joined, once each."""
        service = FeatureService("late", [weather(), weather("wx", join_key=["origin", "hour"])])
        assert service.features == (*weather().features, *weather("wx").features)
        assert service.sources == ("weather",)

    @pytest.mark.parametrize(
        ("make", "reason"),
        [
            (lambda: FeatureService("late", []), "has no view"),
            (lambda: FeatureService("Late!", [weather()]), "no name for a feature service"),
            (lambda: FeatureService("late", [weather(), weather()]), "names the view 'weather' twice"),
            (
                lambda: FeatureService(
                    "late", [weather("a", columns="b_c"), weather("a_b", columns="c", aggregates=[])]
                ),
                "makes the feature 'a_b_c' twice",
            ),
            (lambda: FeatureService("late", ["weather"]), "is no feature view"),  # type: ignore[list-item]
        ],
    )
    def test_a_mistake_is_refused(self, make: Callable[[], FeatureService], reason: str) -> None:
        """With what is wrong in one line."""
        with pytest.raises(InvalidInput, match=reason):
            make()


class TestDefinition:
    def test_it_is_json_and_complete(self) -> None:
        """Written out here, because a change of this text changes every digest that was ever recorded."""
        assert json.loads(json.dumps(FeatureService("late", [weather()]).definition())) == {
            "name": "late",
            "views": [
                {
                    "name": "weather",
                    "source": "weather",
                    "join_key": ["origin"],
                    "event_time": "observed_at",
                    "created_time": "published_at",
                    "columns": ["temp", "wind"],
                    "aggregates": [
                        {
                            "feature": "weather_temp_mean_6h",
                            "function": "mean",
                            "column": "temp",
                            "over_seconds": 21600,
                        },
                        {
                            "feature": "weather_count_1h",
                            "function": "count",
                            "column": None,
                            "over_seconds": 3600,
                        },
                    ],
                    "ttl_seconds": 10800,
                }
            ],
        }

    @pytest.mark.parametrize(
        "changes",
        [
            {"name": "wx"},
            {"source": "weather2"},
            {"join_key": ["origin", "hour"]},
            {"event_time": "published_at"},
            {"created_time": None},
            {"columns": ["wind", "temp"]},
            {"aggregates": [Aggregate("temp", "mean", over=6 * HOUR)]},
            {
                "aggregates": [
                    Aggregate("temp", "mean", over=6 * HOUR + timedelta(microseconds=1)),
                    Aggregate(None, "count", over=HOUR),
                ]
            },
            {
                "aggregates": [
                    Aggregate("temp", "mean", over=6 * HOUR, name="t"),
                    Aggregate(None, "count", over=HOUR),
                ]
            },
            {"ttl": None},
            {"ttl": timedelta(0)},
        ],
    )
    def test_what_decides_a_value_or_its_name_is_in_it(self, changes: dict[str, object]) -> None:
        """Every other change is another definition."""
        assert weather(**changes).definition() != weather().definition()  # type: ignore[arg-type]


class TestDuplicates:
    def test_the_same_view_under_another_name_is_reported(self) -> None:
        """Whatever its features are called and in whatever order its parts stand."""
        renamed: list[Aggregate] = [
            Aggregate(None, "count", over=HOUR, name="n"),
            Aggregate("temp", "mean", over=6 * HOUR, name="t"),
        ]
        twin = weather("wx", columns=["wind", "temp"], aggregates=renamed)
        service = FeatureService("late", [weather(), twin, weather("third")])
        assert duplicates(service) == (
            "View 'wx' repeats view 'weather'.",
            "View 'third' repeats view 'weather'.",
        )

    def test_views_that_differ_in_what_they_compute_are_not(self) -> None:
        """One column more, or another ttl, is another view."""
        views = [weather(), weather("a", columns=["temp"]), weather("b", ttl=HOUR), weather("c", ttl=None)]
        assert duplicates(FeatureService("late", views)) == ()


def test_declaring_views_loads_no_library() -> None:
    """A project's module is read by every command, so it must cost nothing."""
    code = (
        "import sys, everloop.features.views; "
        "print(sorted({'numpy', 'pyarrow', 'duckdb', 'msgspec'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
