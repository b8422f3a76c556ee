"""Every number that leaves: each has its place in the closed table, and each place its number."""

from array import array
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from resolver import __version__
from resolver.config.config import HELP_KINDS, Config, parse
from resolver.core import codes, store
from resolver.count.exporter import Exporter
from resolver.count.metrics import EXCHANGE, EXCHANGE_BOUNDS_S, EXCHANGE_SUM, METRICS, PREFIX, Series, of_beat
from resolver.count.publish import Publisher
from resolver.feed import activate, poll
from resolver.feed.reasons import Reason, Refusal, SetAside
from resolver.query.accept_limits import Bounds
from resolver.query.accept_stream import Streams
from resolver.query.cache import Cache
from resolver.query.forward import FAILURE_REASONS, Forward
from resolver.service.in_force import InForce
from resolver.service.readings import Readings, labels_of
from tests.unit.query.parts import KEY, image_of

CONFIG = """
[upstream]
servers = ["192.0.2.53:53", "[2001:db8::53]:53", "192.0.2.53:53"]
[page]
addresses = ["192.0.2.1"]
listen = []
[count]
region = "R1"
subscribers = 12345
[state]
directory = "{folder}/state"
[[list]]
id = "first"
demonstration = true
source = {{ kind = "tuf", url = "file:///srv/authority", root = "{folder}/root.json" }}
[[list]]
id = "second"
demonstration = true
source = {{ kind = "tuf", url = "file:///srv/authority", root = "{folder}/root.json" }}
"""


NOT_READ = ("publish_timestamp_seconds", "build_info", "certificate_expiry_timestamp_seconds")
"""What the exporter adds, and what is absent where no source needs a certificate."""


def facts(list_id: str) -> poll.ListFacts:
    """What is known of a list to which everything has happened."""
    return poll.ListFacts(
        list_id=list_id,
        serial=7,
        entries=100,
        in_force_since=1_800_000_000,
        expiry=1_900_000_000,
        last_success=1_800_000_100,
        held=True,
        enforced=True,
        lifted=False,
        selftest_passed=True,
        demonstration=True,
        failures=dict.fromkeys(Reason, 1),
        refused=dict.fromkeys(Refusal, 2),
        set_aside=dict.fromkeys(SetAside, 3),
    )


class Lists:
    """Stands for the feed; its lists are those of the configuration, whose sources need no certificate."""

    def __init__(self, config: Config) -> None:
        self._lists = config.lists

    def __iter__(self) -> Iterator[SimpleNamespace]:
        return (SimpleNamespace(list=one) for one in self._lists)

    def facts(self) -> tuple[poll.ListFacts, ...]:
        return tuple(facts(one.id) for one in self._lists)


class Parts:
    """All that is read, and the readings of it."""

    def __init__(self, folder: Path) -> None:
        self.config: Config = parse(CONFIG.format(folder=folder), "resolver.toml")
        self.counters = array("Q", bytes(8 * codes.COUNTERS_SIZE))
        self.in_force = InForce(self.config, KEY, KEY, lambda tables: None)
        self.answer = SimpleNamespace(in_flight=3, failed=0, errors=lambda: self.answer.failed)
        self.cache = Cache(store.Store(bytearray(2**16), KEY), self.counters)
        self.forward = Forward(self.config.upstream.servers, timeout_s=1, bounds_s=EXCHANGE_BOUNDS_S)
        self.feed = Lists(self.config)
        self.page = SimpleNamespace(views=0, followed=dict.fromkeys(HELP_KINDS, 0))
        self.releases = SimpleNamespace(expiry_of=lambda list_id: 0)
        self.reloaded = True
        self.readings = self.of(self.feed)

    def of(self, feed) -> Readings:
        return Readings(
            self.counters,
            in_force=self.in_force,
            answer=self.answer,
            cache=self.cache,
            forward=self.forward,
            streams=Streams(
                lambda packet, client, stream: None, lambda reason: None, Bounds(9, 9, lambda client: False)
            ),
            feed=feed,
            releases=self.releases,
            page=self.page,
            reloaded=lambda: self.reloaded,
        )

    def exchange(self, count: int) -> None:
        """Have each upstream answer: in 1 ms, 2 ms and so on."""
        for server in self.forward.servers:
            for number in range(count):
                server.took((number + 1) / 1000, sure=False)

    def live(self) -> dict[tuple[str, tuple[str, ...]], float]:
        return {(one.metric, one.labels): one.value for one in self.readings.live()}


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return Parts(tmp_path)


def exporter(parts: Parts, readings: Readings) -> tuple[Exporter, Publisher]:
    labels = labels_of(parts.config)
    publisher = Publisher(readings.exact, labels, every_s=900, batch=10, phases=lambda size: 0, now=0.0)
    shown = Exporter(labels, published=lambda: publisher.published, read_live=readings.live, ready=lambda: True)
    return shown, publisher


def test_every_number_has_its_place_in_the_closed_table(parts: Parts) -> None:
    shown, publisher = exporter(parts, parts.readings)
    assert publisher.publish(900)
    assert len(list(shown.collect())) == len(METRICS)
    assert publisher.refused == 0
    assert shown.refused == 0


def test_every_place_of_the_table_has_its_number(parts: Parts) -> None:
    labels = labels_of(parts.config)
    assert set(parts.readings.exact()) == set(of_beat(labels))
    parts.exchange(2000)
    told = {(metric, values) for metric, values in parts.live()}
    expected = {
        (metric.name, values)
        for metric in METRICS
        if metric.leaves == "live" and metric.name not in NOT_READ
        for values in metric.combinations(labels)
    }
    assert told == expected


def test_numbers_of_a_feed_that_knows_nothing_yet_have_their_places_too(parts: Parts) -> None:
    keys = poll.keys_of(parts.config)
    nothing = activate.Hooks(
        judge=parts.in_force.judge_of,
        put_in_force=lambda list_id, view, facts, *, suspended: None,
        lift=parts.in_force.lift,
        prove=None,
        take_out=parts.in_force.take_out,
        follow=None,
    )
    shown, publisher = exporter(parts, parts.of(poll.Feed(parts.config, keys, nothing)))
    publisher.publish(900)
    families = {family.name: family for family in shown.collect()}
    assert shown.refused == 0
    assert {sample.value for sample in families[PREFIX + "list_serial"].samples} == {0}


def test_labels_are_the_configurations_and_the_closed_lists() -> None:
    labels = labels_of(parse(CONFIG.format(folder="/srv"), "resolver.toml"))
    assert labels.version == __version__
    assert labels.engine == "python"
    assert labels.region == "R1"
    assert labels.lists == ("first", "second")
    assert labels.upstreams == ("192.0.2.53:53", "[2001:db8::53]:53"), "an upstream named twice is one label"
    assert labels.upstream_failures == FAILURE_REASONS


def test_each_number_is_read_from_where_it_is_counted(parts: Parts) -> None:
    for index in range(codes.COUNTERS_SIZE):
        parts.counters[index] = 1000 + index
    parts.forward.buckets[0] = 5
    parts.forward.buckets[-1] = 6
    parts.forward.sum_us = 7_000_000
    parts.page.views = 8
    parts.page.followed["young"] = 3
    exact = parts.readings.exact()
    assert exact[Series("answers_total", ("NXDOMAIN",))] == 1000 + codes.counter("answers_total", "NXDOMAIN")
    assert exact[Series("cache_answers_total", ("miss",))] == 1000 + codes.counter("cache_answers_total", "miss")
    for list_id, slot in (("first", 0), ("second", 1)):
        for metric, number in (
            ("blocked_queries_total", codes.BLOCKED_QUERIES),
            ("blocked_attempts_total", codes.ATTEMPTS),
            ("attempts_capped_total", codes.ATTEMPTS_CAPPED),
            ("attempts_saturated", codes.ATTEMPTS_SATURATED),
        ):
            assert exact[Series(metric, (list_id,))] == 1000 + codes.list_counter(slot, number)
    assert exact[Series(EXCHANGE, ("+Inf",))] == 6
    assert exact[Series(EXCHANGE_SUM)] == 7_000_000
    assert exact[Series("page_views_total")] == 8
    assert exact[Series("page_help_total", ("young",))] == 3
    live = parts.live()
    assert live["queries_total", ("tcp",)] == 1000 + codes.counter("queries_total", "tcp")
    failed = 1000 + codes.counter("failed_answers_total", "not_ready")
    assert exact[Series("failed_answers_total", ("not_ready",))] == failed
    assert live["packets_dropped_total", ("port_zero",)] == 1000 + codes.counter("packets_dropped_total", "port_zero")
    assert exact[Series("queries_in_flight")] == 3
    assert live["subscribers_covered", ()] == 12345
    assert live["list_serial", ("second",)] == 7
    assert live["feed_failures_total", ("first", next(iter(Reason)))] == 1
    assert live["feed_entries_refused", ("first", next(iter(Refusal)))] == 2


def test_what_blocks_tells_nothing_live(parts: Parts) -> None:
    """Counts from which a block could be worked out move nothing before their beat."""
    before = parts.live()
    for metric, label in codes.COUNTERS:
        if metric in ("answers_total", "cache_answers_total", "failed_answers_total"):
            parts.counters[codes.counter(metric, label)] += 1
    for number in range(len(codes.LIST_COUNTERS)):
        parts.counters[codes.list_counter(0, number)] += 1
    parts.forward.buckets[0] += 1
    parts.page.views += 1
    parts.answer.in_flight += 1
    parts.forward.servers[0].failures["timeout"] += 1
    assert parts.live() == before


def test_upstreams_tell_how_they_are(parts: Parts) -> None:
    server = parts.forward.servers[1]
    server.up = 0
    server.failures["timeout"] = 4
    live = parts.live()
    assert parts.readings.exact()[Series("upstream_failures_total", ("[2001:db8::53]:53", "timeout"))] == 4
    assert live["upstream_up", ("[2001:db8::53]:53",)] == 0
    assert live["upstream_up", ("192.0.2.53:53",)] == 1


def test_an_upstreams_latency_is_told_from_a_hundred_exchanges_on(parts: Parts) -> None:
    def told() -> list[float]:
        return [
            parts.live()["upstream_latency_seconds", ("192.0.2.53:53", quantile)] for quantile in ("0.5", "0.9", "0.99")
        ]

    parts.exchange(99)
    assert not any(metric == "upstream_latency_seconds" for metric, _ in parts.live())
    for _ in range(20):
        parts.exchange(100)
    assert told() == sorted(told())
    assert 0.04 < told()[0] < 0.06
    assert 0.09 < told()[2] <= 0.1


def test_an_upstream_named_twice_is_told_once(parts: Parts) -> None:
    assert [str(server.endpoint) for server in parts.forward.servers] == ["192.0.2.53:53", "[2001:db8::53]:53"]
    samples = list(parts.readings.live())
    assert len(samples) == len({(one.metric, one.labels) for one in samples})


def test_enforcing_is_told_only_while_every_list_is_and_no_verdict_failed(parts: Parts) -> None:
    assert parts.live()["enforcing", ()] == 0
    for list_id in ("first", "second"):
        parts.in_force.put_in_force(list_id, image_of(["listed.test"]))
    assert parts.live()["enforcing", ()] == 1
    parts.answer.failed = 1
    assert parts.live()["enforcing", ()] == 0
    parts.answer.failed = 0
    parts.reloaded = False
    assert parts.live()["config_reload_success", ()] == 0
