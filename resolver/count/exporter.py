"""Serves /metrics (published counts and live numbers), /healthz and /readyz.

Rules:
1. Only series of the closed table are shown; a sample outside of it is dropped and counted in `refused`, and its text
   reaches no log.
2. A live counter without a sample is zero; a live gauge without a sample is absent.
3. The registry is our own: no metrics of the process, the garbage collector or the platform, which move with each
   visit.
4. No response repeats anything of the request.
5. However many scrape, the numbers are read and written out once in KEPT_S: a body is kept so long for each format that
   was asked for, and all of them show the same numbers.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from resolver.count.metrics import (
    BUSY,
    EXCHANGE_BUCKETS,
    EXCHANGE_SUM,
    METRICS,
    PREFIX,
    Labels,
    Metric,
    Sample,
    Series,
)
from resolver.count.publish import Published

KEPT_S = 1.0

_US_PER_S: Final = 1_000_000
_PER_CENT: Final = 100
_FOUND: Final = {"/metrics", "/healthz", "/readyz"}

_log = logging.getLogger(__name__)


class Exporter(Collector):
    """The closed table as a collector, and the responses to /metrics, /healthz and /readyz.

    unready: returns why the service is not ready, "" if it is. began: when the totals on the beat were zero (unix
    seconds; None: unknown). clock: returns monotonic seconds.
    """

    def __init__(
        self,
        labels: Labels,
        *,
        published: Callable[[], Published],
        read_live: Callable[[], Iterable[Sample]],
        unready: Callable[[], str],
        began: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._take(labels)
        self.began = began
        self._published = published
        self._read_live = read_live
        self._unready = unready
        self._clock = clock
        self._read_at = float("-inf")
        self._families: tuple[Family, ...] = ()
        self._bodies: dict[str, bytes] = {}
        self.refused = 0
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(self)

    def _take(self, labels: Labels) -> None:
        self._labels = labels
        self._live = {
            Series(metric.name, values)
            for metric in METRICS
            if metric.leaves == "live"
            for values in metric.combinations(labels)
        }

    def relabel(self, labels: Labels) -> None:
        """Show the series of other labels from now on."""
        self._take(labels)
        self._read_at = float("-inf")

    def collect(self) -> Iterator[Family]:
        """Yield every metric of the table that has a value, in the table's order."""
        published = self._published()
        live = self._admitted()
        live[Series("publish_timestamp_seconds")] = published.at
        for metric in METRICS:
            if metric.kind == "histogram":
                yield _histogram(metric, published)
            elif metric.leaves == "beat":
                yield self._family(metric, lambda series: published.values[series])
            else:
                yield self._family(metric, live.get)

    def _admitted(self) -> dict[Series, float]:
        found: dict[Series, float] = {}
        for sample in self._read_live():
            series = Series(sample.metric, sample.labels)
            if series in self._live:
                found[series] = sample.value
            else:
                self._refuse()
        for values in _BUILD_INFO.combinations(self._labels):
            found[Series(_BUILD_INFO.name, values)] = 1
        return found

    def _refuse(self) -> None:
        if not self.refused:
            _log.error("a live number is outside the closed table of metrics and is not shown")
        self.refused += 1

    def _family(self, metric: Metric, read: Callable[[Series], float | None]) -> Family:
        name, labels = PREFIX + metric.name, metric.label_names
        if metric.kind == "summary":
            return _quantiles(metric, read, self._labels)
        numbers = [(values, read(Series(metric.name, values))) for values in metric.combinations(self._labels)]
        if metric.name == BUSY:
            numbers = [(values, value and value / _PER_CENT) for values, value in numbers]
        if metric.kind == "counter":
            # A total on the beat outlives the process; a live counter starts at zero with each process.
            created = self.began if metric.leaves == "beat" else None
            counter = CounterMetricFamily(name, metric.help, labels=labels)
            for values, value in numbers:
                counter.add_metric(values, value or 0, created=created)
            return counter
        family = GaugeMetricFamily(name, metric.help, labels=labels)
        for values, value in numbers:
            if value is not None:
                family.add_metric(values, value)
        return family

    async def respond(self, request: web.BaseRequest) -> web.StreamResponse:
        """Respond to one request, with a constant text unless it is for /metrics."""
        if request.path not in _FOUND:
            return _text(404, "not found\n")
        if request.method not in (hdrs.METH_GET, hdrs.METH_HEAD):
            return _text(405, "only GET and HEAD\n", {hdrs.ALLOW: "GET, HEAD"})
        if request.path == "/healthz":
            return _text(200, "ok\n")
        if request.path == "/readyz":
            why = self._unready()
            return _text(503, f"not ready: {why}\n") if why else _text(200, "ready\n")
        body, content_type = self._body(",".join(request.headers.getall(hdrs.ACCEPT, [])))
        return web.Response(body=body, headers={hdrs.CONTENT_TYPE: content_type})

    def _body(self, accept: str) -> tuple[bytes, str]:
        """Return the body of /metrics in the format that `accept` asks for, as kept or new, and its content type."""
        encode, content_type = _encoder(accept)
        now = self._clock()
        if now - self._read_at >= KEPT_S:
            self._read_at = now
            self._families = tuple(self.registry.collect())
            self._bodies.clear()
        if content_type not in self._bodies:
            self._bodies[content_type] = encode(_Read(self._families))
        return self._bodies[content_type], content_type


class _Read(Collector):
    """Families that have been read."""

    def __init__(self, families: tuple[Family, ...]) -> None:
        self._families = families

    def collect(self) -> Iterable[Family]:
        return self._families


_BUILD_INFO: Final = next(metric for metric in METRICS if metric.name == "build_info")


def _histogram(metric: Metric, published: Published) -> Family:
    """Sum up the buckets: each was published in its own batches; cumulative they are in order, the last is the count.
    """
    total, buckets = 0, []
    for bucket in EXCHANGE_BUCKETS:
        total += published.values[Series(metric.name, (bucket,))]
        buckets.append((bucket, total))
    family = HistogramMetricFamily(PREFIX + metric.name, metric.help)
    family.add_metric((), buckets, published.values[Series(EXCHANGE_SUM)] / _US_PER_S)
    return family


def _encoder(accept: str) -> tuple[Callable[[Collector], bytes], str]:
    """Return encoder and content type as prometheus_client negotiates them; plain text if `accept` is malformed."""
    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):  # It compares versions even if they are not numbers.
        return choose_encoder("")


def _quantiles(metric: Metric, read: Callable[[Series], float | None], labels: Labels) -> Family:
    """Return a summary of quantiles only: its sum and count would leave before their beat."""
    family = Family(PREFIX + metric.name, metric.help, "summary")
    for values in metric.combinations(labels):
        value = read(Series(metric.name, values))
        if value is not None:
            family.add_sample(family.name, dict(zip(metric.label_names, values, strict=True)), value)
    return family


def _text(status: int, text: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, text=text, headers=headers)
