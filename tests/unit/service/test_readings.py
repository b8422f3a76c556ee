"""Every number that leaves: each has its place in the closed table, and each place its number."""

import time
from array import array
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from resolver import __version__
from resolver.config.config import HELP_KINDS, Config, parse
from resolver.core import codes, store
from resolver.core.crash_shape import Shape
from resolver.core.lane import Lane
from resolver.count.exporter import Exporter
from resolver.count.metrics import EXCHANGE, EXCHANGE_BOUNDS_S, EXCHANGE_SUM, METRICS, PREFIX, Series, of_beat
from resolver.count.publish import Publisher
from resolver.engine.threads import threads_of
from resolver.feed import poll
from resolver.feed.facts import ListFacts, ReleaseFacts
from resolver.feed.reasons import Reason, Refusal, SetAside
from resolver.query.accept_edge import EdgeConnection
from resolver.query.accept_limits import Bounds
from resolver.query.accept_stream import Streams
from resolver.query.cache import Cache
from resolver.query.edge_frames import REFUSALS, Report
from resolver.query.forward import FAILURE_REASONS, Forward
from resolver.service.edge_host import EdgeHost
from resolver.service.enforcement import Enforcement
from resolver.service.in_force import InForce
from resolver.service.readings import Readings, labels_of
from tests.unit.query.parts import KEY, image_of
from tests.unit.query.senders import together

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


OF_A_LIST = {
    "list_entries": 100,
    "list_in_force_timestamp_seconds": 1_800_000_000,
    "list_expiry_timestamp_seconds": 1_900_000_000,
    "list_enforced": 1,
    "list_forwarded": 0,
    "list_held": 1,
    "feed_last_success_timestamp_seconds": 1_800_000_100,
    "selftest_success": 1,
    "breaker_open": 0,
    "list_deadline_timestamp_seconds": 1_800_000_200,
    "list_taken_out": 1,
    "list_receipt_timestamp_seconds": 1_800_000_300,
    "list_release_expiry_timestamp_seconds": 1_800_000_400,
    "list_poll_seconds": 900,
    "feed_fresh_until_timestamp_seconds": 1_800_000_600,
    "receipts_undelivered": 3,
    "fleet_nodes_missing": 2,
    "list_exported": 1,
    "export_in_step": 1,
}
NOT_READ = ("publish_timestamp_seconds", "build_info", "certificate_expiry_timestamp_seconds")
"""What the exporter adds, and what is absent where no source needs a certificate."""


def facts(list_id: str) -> ListFacts:
    """The facts of a list to which everything has happened."""
    return ListFacts(
        list_id=list_id,
        taken_out=8,
        has_list=True,
        lifted=False,
        serial=7,
        entries=100,
        issued=1_799_999_000,
        in_force_since=1_800_000_000,
        hard_limit_at=1_900_000_000,
        last_success=1_800_000_100,
        poll_s=900.0,
        failures=dict.fromkeys(Reason, 1),
        held_serial=8,
        held_for=("growth",),
        selftest_passed=True,
        due_by=1_800_000_200,
        receipt_at=1_800_000_300,
        fresh_until=1_800_000_600,
        receipts_due=3,
        fleet_since={},
        fleet_hosts=2,
        fleet_missing=("a", "b"),
        rolled_back=1_800_000_000,
        rollback_alarm_at=1_800_086_400,
        releases=tuple(
            ReleaseFacts(number=number, serial=7, line=None, at=1, until=until, alarm_at=due, confirmed_by=by)
            for number, until, due, by in (
                (2, 1_800_000_400, 0, "anna"),
                (1, 1_800_000_500, 1_800_086_402, ""),
                (3, 1_800_000_500, 1_800_086_401, ""),
            )
        ),
        newest_refused=dict.fromkeys(Refusal, 2),
        newest_set_aside=dict.fromkeys(SetAside, 3),
    )


class Lists:
    """Stands for the enforcement; its lists are those of the configuration, whose sources need no certificate."""

    def __init__(self, config: Config) -> None:
        self.feed = tuple(SimpleNamespace(list=one) for one in config.lists)
        names = tuple(one.id for one in config.lists)
        self.export = SimpleNamespace(lists=names, in_step=lambda list_id: True, behind=lambda: 1)

    def facts(self) -> tuple[ListFacts, ...]:
        return tuple(facts(one.list.id) for one in self.feed)


class Parts:
    """All that is read, and the readings of it."""

    def __init__(self, folder: Path, more: str = "") -> None:
        self.config: Config = parse(CONFIG.format(folder=folder) + more, "resolver.toml")
        self.counters = array("Q", bytes(8 * codes.COUNTERS_SIZE))
        self.in_force = InForce(self.config, KEY, KEY, lambda tables: None)
        self.answer: Any = SimpleNamespace(in_flight=3, failed=0, errors=lambda: self.answer.failed)
        self.lane = Lane(self.counters, Shape(memoryview(bytearray(64)).cast("q")))
        self.cache = Cache(store.Store(bytearray(2**16), KEY))
        self.forward = Forward(self.config.upstream.servers, timeout_s=1, bounds_s=EXCHANGE_BOUNDS_S)
        self.enforcement = Lists(self.config)
        self.datagrams: Any = SimpleNamespace(
            busy=lambda: [0] * threads_of(0), errors=int, waiting=0, loop_relay=lambda *_: None
        )
        self.reads = 0
        self.forward.read = self._read  # type: ignore[method-assign]  # what threads have counted
        self.page = SimpleNamespace(views=0, followed=dict.fromkeys(HELP_KINDS, 0))
        self.edge = EdgeHost(self.config.edge, self.answer, self.lane, 8, self.datagrams)
        self.reloaded = True
        self.missing: tuple[str, ...] = ()
        self.readings = self.of(self.enforcement)

    def _read(self) -> None:
        self.reads += 1

    def of(self, enforcement) -> Readings:
        return Readings(
            self.counters,
            in_force=self.in_force,
            answer=self.answer,
            datagrams=self.datagrams,
            cache=self.cache,
            forward=self.forward,
            streams=Streams(
                together(lambda packet, client, over: None), lambda reason: None, Bounds(9, 9, lambda client: False)
            ),
            edge=self.edge,
            enforcement=enforcement,
            page=self.page,
            reloaded=lambda: self.reloaded,
            missing=lambda: self.missing,
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
    shown = Exporter(labels, published=lambda: publisher.published, read_live=readings.live, unready=lambda: "")
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


EDGE = """
[edge]
socket = "/run/edge/queries"
name = "dns.isp.example"
tls = ["192.0.2.10:853"]
http3 = ["192.0.2.10:443"]
certificate = "/etc/edge/certificate.pem"
key = "/etc/edge/key.pem"
"""


def test_an_edge_has_its_series_and_only_for_what_it_offers(tmp_path: Path, parts: Parts) -> None:
    with_edge = Parts(tmp_path, EDGE)
    connection = EdgeConnection(with_edge.edge.edges, 0, time.monotonic())
    with_edge.edge.edges.connections[connection] = None
    report = Report(1, 1_900_000_000, {"dot": 3, "doh": 2, "doq": 1}, 12, {"slow": 4})
    with_edge.edge.edges.reported(connection, report)
    labels = labels_of(with_edge.config)
    assert set(with_edge.readings.exact()) == set(of_beat(labels))
    assert with_edge.readings.exact()[Series("edge_refused_total", ("slow",))] == 4
    added = {one: value for one, value in with_edge.live().items() if one not in parts.live()}
    assert added == {
        ("queries_total", ("dot",)): 0,
        ("queries_total", ("doh",)): 0,
        ("connections", ("dot",)): 3,
        ("connections", ("doh",)): 2,
        ("edges_connected", ()): 1,
        ("edge_handshakes_total", ()): 12,
        ("certificate_expiry_timestamp_seconds", ("edge",)): 1_900_000_000,
    }
    shown, publisher = exporter(with_edge, with_edge.readings)
    publisher.publish(900)
    families = {family.name: family for family in shown.collect()}
    assert (shown.refused, publisher.refused) == (0, 0)
    assert len(families[PREFIX + "edge_refused"].samples) == len(REFUSALS)
    without, publisher = exporter(parts, parts.readings)
    publisher.publish(900)
    assert not [one.name for one in without.collect() if "edge" in one.name and one.samples]


def test_numbers_of_a_feed_that_knows_nothing_yet_have_their_places_too(parts: Parts) -> None:
    keys = poll.keys_of(parts.config)
    enforcement = Enforcement(parts.config, keys, parts.in_force, places=tuple, counters=parts.counters)
    shown, publisher = exporter(parts, parts.of(enforcement))
    publisher.publish(900)
    families = {family.name: family for family in shown.collect()}
    assert shown.refused == 0
    assert {sample.value for sample in families[PREFIX + "list_serial"].samples} == {0}


def test_labels_are_the_configurations_and_the_closed_lists() -> None:
    labels = labels_of(parse(CONFIG.format(folder="/srv"), "resolver.toml"))
    assert labels.version == __version__
    assert labels.engine == "compiled"
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
    assert {metric: live[metric, ("first",)] for metric in OF_A_LIST} == OF_A_LIST
    for action, count, due in (("rollback", 1, 1_800_086_400), ("release", 2, 1_800_086_401)):
        assert live["decisions_unconfirmed", ("first", action)] == count
        assert live["decision_confirmation_due_timestamp_seconds", ("first", action)] == due
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
    first, server = parts.forward.servers
    first.asked = first.answers = True
    server.failures["timeout"] = 4
    live = parts.live()
    assert parts.readings.upstreams() == {"192.0.2.53:53": first, "[2001:db8::53]:53": server}
    assert parts.readings.exact()[Series("upstream_failures_total", ("[2001:db8::53]:53", "timeout"))] == 4
    assert live["upstream_up", ("[2001:db8::53]:53",)] == 0
    assert live["upstream_up", ("192.0.2.53:53",)] == 1
    assert live["upstream_answering", ()] == 1
    first.answers = False
    assert parts.live()["upstream_answering", ()] == 0


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
    assert parts.live()["listen_missing", ()] == 0
    parts.missing = ("listen.dns",)
    assert parts.live()["listen_missing", ()] == 1


def test_threads_tell_how_busy_they_are_on_the_beat_and_their_errors_end_enforcing(parts: Parts) -> None:
    parts.datagrams = SimpleNamespace(busy=lambda: [12, 99], errors=lambda: parts.datagrams.failed, failed=0, waiting=5)
    readings = parts.of(parts.enforcement)
    exact = readings.exact()
    busy = {labels: exact[Series("engine_busy_ratio", labels)] for labels in (("0",), ("1",))}
    assert busy == {("0",): 12, ("1",): 99}
    assert exact[Series("queries_in_flight")] == 3 + 5
    assert parts.reads == 1, "what the threads have counted is read first"
    assert not any(one.metric == "engine_busy_ratio" for one in readings.live())
    for one in parts.config.lists:
        parts.in_force.lift(one.id)
    assert readings.enforcing()
    parts.datagrams.failed = 1
    assert not readings.enforcing()


def test_the_labels_of_threads_are_those_of_the_compiled_engine_alone(parts: Parts) -> None:
    for engine, threads in (("compiled", ("0", "1", "2")), ("python", ())):
        listen = msgspec.structs.replace(parts.config.listen, engine=engine, threads=3)
        labels = labels_of(msgspec.structs.replace(parts.config, listen=listen))
        assert (labels.engine, labels.threads) == (engine, threads)
