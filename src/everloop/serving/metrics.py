"""What the server counts, cheap enough for every request, and shown in Prometheus' text format."""

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
# OpenTelemetry's boundaries for the duration of a request, and finer ones below: a row takes microseconds here.
BOUNDS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075),
    *(0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)


class Histogram:
    """Counts of durations, from any thread.

    >>> took = Histogram(bounds=(0.1, 1.0))
    >>> took.observe(0.05); took.observe(0.1); took.observe(7.0)
    >>> took.buckets(), took.sum
    ([('0.1', 2), ('1.0', 2), ('+Inf', 3)], 7.15)
    """

    __slots__ = ("_bounds", "_counts", "_lock", "sum")

    def __init__(self, bounds: Sequence[float] = BOUNDS) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._lock = threading.Lock()
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        place = bisect_left(self._bounds, seconds)
        with self._lock:
            self._counts[place] += 1
            self.sum += seconds

    @property
    def count(self) -> int:
        """How many were observed."""
        return sum(self._counts)

    def buckets(self) -> list[tuple[str, int]]:
        """Cumulative counts by upper bound, as Prometheus wants them."""
        bounds = [str(bound) for bound in self._bounds] + ["+Inf"]
        return list(zip(bounds, accumulate(self._counts), strict=True))


class Family:
    """Histograms of one name, one for each combination of label values that has been seen."""

    def __init__(self, name: str, help: str, labels: Sequence[str], *, counted_as: str = "") -> None:
        self.name, self.help, self.labels, self.counted_as = name, help, tuple(labels), counted_as
        self._children: dict[tuple[str, ...], Histogram] = {}

    def observe(self, labels: tuple[str, ...], seconds: float) -> None:
        """Count one duration under these label values, which must come from a set that clients cannot grow."""
        child = self._children.get(labels)
        if child is None:
            child = self._children.setdefault(labels, Histogram())
        child.observe(seconds)

    def collect(self) -> Iterator[Metric]:
        """The histogram, and its count under a name of its own where one is wanted."""
        family = HistogramMetricFamily(self.name, self.help, labels=self.labels)
        for values, child in sorted(self._children.items()):
            family.add_metric(values, child.buckets(), child.sum)
        yield family
        if self.counted_as:
            counter = CounterMetricFamily(self.counted_as, self.help, labels=self.labels)
            for values, child in sorted(self._children.items()):
                counter.add_metric(values, child.count)
            yield counter


class ServerMetrics(Collector):
    """Everything that `GET /metrics` shows."""

    def __init__(self) -> None:
        self.http = Family(
            "http_server_request_duration_seconds",
            "HTTP requests by method, route template and status.",
            ("http_request_method", "http_route", "http_response_status_code"),
        )
        self.inference = Family(
            "everloop_inference_request_duration_seconds",
            "Inference requests by the model and version that answered, protocol and status.",
            ("model_name", "model_version", "protocol", "status"),
            counted_as="everloop_inference_requests",
        )
        self.preprocess = Family(
            "request_preprocess_seconds", "Decoding and checking a request.", ("model_name",)
        )
        self.predict = Family("request_predict_seconds", "The model's own time.", ("model_name",))
        self.postprocess = Family("request_postprocess_seconds", "Encoding an answer.", ("model_name",))
        self._gauges: dict[
            str, tuple[str, Callable[[], Mapping[tuple[str, ...], float]], tuple[str, ...]]
        ] = {}
        self._counters: dict[str, tuple[str, Callable[[], float]]] = {}
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def gauge(
        self,
        name: str,
        help: str,
        read: Callable[[], Mapping[tuple[str, ...], float]],
        labels: tuple[str, ...] = (),
    ) -> None:
        """Show values that are read at the moment of asking."""
        self._gauges[name] = (help, read, labels)

    def counter(self, name: str, help: str, read: Callable[[], float]) -> None:
        """Show a number that only grows and is kept elsewhere."""
        self._counters[name] = (help, read)

    def collect(self) -> Iterator[Metric]:
        """All families, for prometheus_client."""
        for family in (self.http, self.inference, self.preprocess, self.predict, self.postprocess):
            yield from family.collect()
        for name, (help, read, labels) in self._gauges.items():
            gauge = GaugeMetricFamily(name, help, labels=labels)
            for values, value in sorted(read().items()):
                gauge.add_metric(values, value)
            yield gauge
        for name, (help, count) in self._counters.items():
            yield CounterMetricFamily(name, help, value=count())

    def text(self) -> bytes:
        """Prometheus' text format, version 0.0.4."""
        return generate_latest(self._registry)
