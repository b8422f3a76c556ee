"""What Prometheus sees: the closed table, and not a sample more."""

import logging
import re
from collections.abc import Iterable
from dataclasses import replace
from types import MappingProxyType

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from resolver.count.exporter import Exporter
from resolver.count.metrics import EXCHANGE_BUCKETS, METRICS, PREFIX, Sample, Series, of_beat
from resolver.count.publish import Published
from resolver.quiet_http.bounds import METRICS_BOUNDS
from resolver.quiet_http.serve import serve_http
from tests.unit.count.labels import LABELS
from tests.unit.wire import exchange

NOTHING = Published(0, MappingProxyType(dict.fromkeys(of_beat(LABELS), 0)))
SOME = Published(
    1_800_000_900,
    MappingProxyType(
        dict(NOTHING.values)
        | {
            Series("blocked_attempts_total", ("demo",)): 120,
            Series("upstream_exchange_seconds", ("0.001",)): 10,
            Series("upstream_exchange_seconds", ("0.1",)): 30,
            Series("upstream_exchange_seconds", ("+Inf",)): 20,
            Series("upstream_exchange_seconds_sum"): 7_500_000,
        }
    ),
)
LIVE = (
    Sample("queries_total", ("udp",), 4711),
    Sample("enforcing", (), 1),
    Sample("list_serial", ("demo",), 7),
    Sample("upstream_up", ("192.0.2.53:53",), 1),
)


def exporter(live: Iterable[Sample] = LIVE, published: Published = SOME, *, unready: str = "") -> Exporter:
    return Exporter(LABELS, published=lambda: published, read_live=lambda: live, unready=lambda: unready)


def shown(one: Exporter) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample by name without prefix and by label values."""
    found = {}
    for family in one.collect():
        for sample in family.samples:
            key = (sample.name.removeprefix(PREFIX), tuple(sample.labels.values()))
            assert key not in found
            found[key] = sample.value
    return found


def test_published_and_live_numbers_are_shown() -> None:
    one = exporter()
    samples = shown(one)
    assert samples["blocked_attempts_total", ("demo",)] == 120
    assert samples["blocked_attempts_total", ("second",)] == 0
    assert samples["queries_total", ("udp",)] == 4711
    assert samples["list_serial", ("demo",)] == 7
    assert samples["publish_timestamp_seconds", ()] == 1_800_000_900
    assert samples["build_info", ("0.0.1", "python", "v2", "UK")] == 1
    assert one.refused == 0


def test_every_metric_is_declared_and_nothing_else() -> None:
    names = [family.name for family in exporter(()).collect()]
    assert names == [PREFIX + metric.name.removesuffix("_total") for metric in METRICS]


def test_a_counter_nobody_reported_is_zero_and_a_gauge_is_absent() -> None:
    samples = shown(exporter((), NOTHING))
    assert samples["queries_total", ("tcp",)] == 0
    assert samples["feed_failures_total", ("second", "expired")] == 0
    assert ("list_serial", ("demo",)) not in samples
    assert ("upstream_up", ("192.0.2.53:53",)) not in samples


def test_no_series_appears_because_something_happened() -> None:
    assert shown(exporter(published=NOTHING)).keys() == shown(exporter(published=SOME)).keys()


def test_the_buckets_are_in_order_and_the_last_is_the_count() -> None:
    samples = shown(exporter())
    buckets = [samples["upstream_exchange_seconds_bucket", (bound,)] for bound in EXCHANGE_BUCKETS]
    assert buckets == sorted(buckets)
    assert (buckets[0], buckets[-2], buckets[-1]) == (10, 40, 60)
    assert samples["upstream_exchange_seconds_count", ()] == 60
    assert samples["upstream_exchange_seconds_sum", ()] == 7.5


def test_quantiles_are_shown_without_a_sum_or_a_count() -> None:
    told = [Sample("upstream_latency_seconds", ("192.0.2.53:53", "0.9"), 0.25)]
    (family,) = (one for one in exporter(told).collect() if one.name == f"{PREFIX}upstream_latency_seconds")
    assert family.type == "summary"
    (sample,) = family.samples
    assert (sample.labels, sample.value) == ({"upstream": "192.0.2.53:53", "quantile": "0.9"}, 0.25)


@pytest.mark.parametrize(
    "stray",
    [
        Sample("canary", (), 1),
        Sample("list_serial", ("canary",), 1),
        Sample("list_serial", (), 1),
        Sample("list_serial", ("demo", "canary"), 1),
        Sample("feed_failures_total", ("demo", "canary"), 1),
        Sample("upstream_up", ("192.0.2.66:53",), 1),
        Sample("queries_total", ("canary",), 1),
        Sample("blocked_attempts_total", ("demo",), 121),
        Sample("cache_bytes", (), 121),
    ],
    ids=lambda stray: f"{stray.metric}{stray.labels}",
)
def test_a_sample_outside_the_table_is_not_shown(stray: Sample, caplog: pytest.LogCaptureFixture) -> None:
    one = exporter((*LIVE, stray))
    with caplog.at_level(logging.DEBUG):
        assert shown(one) == shown(exporter())
        list(one.collect())
    assert one.refused == 2
    assert len(caplog.records) == 1
    assert "canary" not in caplog.text
    assert "192.0.2.66" not in caplog.text


def test_how_busy_a_thread_is_is_shown_as_a_ratio() -> None:
    busy = {Series("engine_busy_ratio", ("1",)): 37}
    samples = shown(exporter(published=Published(900, MappingProxyType(dict(NOTHING.values) | busy))))
    assert samples["engine_busy_ratio", ("0",)] == 0
    assert samples["engine_busy_ratio", ("1",)] == 0.37


def test_the_registry_holds_nothing_of_the_process() -> None:
    names = {family.name for family in exporter().registry.collect()}
    assert names
    assert all(name.startswith(PREFIX) for name in names)


async def get(
    one: Exporter, path: str, accept: str | None = None, method: str = "GET"
) -> tuple[int, str, str]:
    """Status, content type and text of one request over a real socket."""
    server = await serve_http(one.respond, [("127.0.0.1", 0)], METRICS_BOUNDS)
    host, port = server.addresses[0]
    headers = {"Accept": accept} if accept else {}
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"http://{host}:{port}{path}", headers=headers) as answer,
    ):
        found = answer.status, answer.headers["Content-Type"], await answer.text()
    await server.stop()
    return found


@pytest.mark.asyncio
async def test_metrics_are_readable_as_text() -> None:
    status, content_type, text = await get(exporter(), "/metrics")
    assert (status, content_type.split(";")[0]) == (200, "text/plain")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert len(families) == len(METRICS)
    assert families[PREFIX + "blocked_attempts"].samples[0].value == 120
    assert "python_" not in text
    assert re.findall(r"^process_", text, re.MULTILINE) == []
    assert "_created" not in text


@pytest.mark.asyncio
async def test_openmetrics_is_given_to_who_asks_for_it() -> None:
    _, content_type, text = await get(exporter(), "/metrics", "application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert text.endswith("# EOF\n")


@pytest.mark.asyncio
async def test_many_scrapers_are_one_computation_a_second() -> None:
    read: list[float] = []
    now = [50.0]

    def live() -> Iterable[Sample]:
        read.append(now[0])
        return (Sample("queries_total", ("udp",), len(read)),)

    one = Exporter(LABELS, published=lambda: SOME, read_live=live, unready=lambda: "", clock=lambda: now[0])
    server = await serve_http(one.respond, [("127.0.0.1", 0)], METRICS_BOUNDS)

    async def counted(accept: str) -> str:
        request = f"GET /metrics HTTP/1.1\r\nHost: a.test\r\nAccept: {accept}\r\n\r\n"
        got = await exchange(server.addresses[0], request.encode())
        (value,) = re.findall(r'queries_total{transport="udp"} (\S+)', got.decode())
        return str(value)

    formats = ("text/plain", "application/openmetrics-text; version=1.0.0", "text/plain; version=1.0.0")
    for step, seen in ((0.0, "1.0"), (0.99, "1.0"), (0.01, "2.0"), (0.5, "2.0"), (5.0, "3.0")):
        now[0] += step
        assert {await counted(accept) for accept in formats} == {seen}
    assert read == [50.0, 51.0, 56.5]
    await server.stop()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("unready", "status", "said"), [("", 200, "ready\n"), ("no list yet", 503, "not ready: no list yet\n")]
)
async def test_readiness_is_that_of_the_service_and_health_that_of_the_loop(
    unready: str, status: int, said: str
) -> None:
    assert (await get(exporter(unready=unready), "/readyz"))[0::2] == (status, said)
    assert (await get(exporter(unready=unready), "/healthz"))[0::2] == (200, "ok\n")


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["/", "/canary", "/metrics/", "/metrics/canary", "/%2e%2e/canary"])
async def test_an_unknown_path_is_not_repeated(path: str) -> None:
    assert (await get(exporter(), path))[0::2] == (404, "not found\n")


@pytest.mark.asyncio
async def test_only_reading_is_offered() -> None:
    assert (await get(exporter(), "/metrics", method="POST"))[0::2] == (405, "only GET and HEAD\n")
    assert (await get(exporter(), "/healthz", method="HEAD"))[0::2] == (200, "")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text; version=canary",
        "application/openmetrics-text; version=9.9.9.9; escaping=canary",
        "text/plain; version=; escaping=",
        "text/plain; version=1.0.0; escaping=canary",
        "canary/canary, */*;q=canary,,,;;;",
        "x," * 2000,
    ],
)
async def test_no_wish_of_a_client_breaks_or_marks_the_answer(
    accept: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = await serve_http(exporter().respond, [("127.0.0.1", 0)], METRICS_BOUNDS)
    request = f"GET /metrics HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nAccept: {accept}\r\n\r\n"
    with caplog.at_level(logging.DEBUG):
        got = await exchange(server.addresses[0], request.encode())
        await server.stop()
    assert got.startswith(b"HTTP/1.1 200 ")
    assert re.search(rb"\r\n\r\n# HELP", got)
    assert b"canary" not in got
    assert [record for record in caplog.records if record.name != "asyncio"] == []


def test_totals_of_the_beat_say_when_they_began_and_live_ones_do_not() -> None:
    one = Exporter(LABELS, published=lambda: SOME, read_live=lambda: LIVE, unready=lambda: "", began=1_700_000_000)
    samples = shown(one)
    assert samples["blocked_attempts_created", ("demo",)] == 1_700_000_000
    assert samples["answers_created", ("NOERROR",)] == 1_700_000_000
    assert not any(name.startswith(("queries_created", "cache_bytes_created")) for name, _ in samples)
    assert not any(name.endswith("_created") for name, _ in shown(exporter()))


def test_a_list_that_comes_or_goes_is_shown_at_once() -> None:
    labels = replace(LABELS, lists=("demo", "third"))
    one = exporter(published=Published(1, dict.fromkeys(of_beat(labels), 0)))
    one.relabel(labels)
    samples = shown(one)
    assert samples["blocked_attempts_total", ("third",)] == 0
    assert ("blocked_attempts_total", ("second",)) not in samples
