"""Queries by way of an edge, a few lines here that speak its frames: whatever an edge does, UDP is answered."""

import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import dns.message
import pytest

from resolver.core import codes
from resolver.query import edge_frames
from resolver.query.edge_frames import MAX_AGE_NONE, Answer, Report
from tests.fakes.upstream import Upstream, in_thread
from tests.journeys.processes import REAL, Site, asked, came, honest, operate, query_for, wait_for
from tests.journeys.running import HOST, PAGE_V4, Service, stop

BLOCKED = f"{PAGE_V4} EDE 4"
LISTED = "listed-canary.test"
CLIENT = "127.199.88.77"
END = 1_900_000_000
ADDRESS = bytes(10) + b"\xff\xff" + socket.inet_aton(CLIENT)
PATIENCE_S = 30.0


class Edge:
    """One edge over a real socket."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect(os.fspath(path))
        self._unread = bytearray()
        self._found: list[Answer] = []

    def send(self, *frames: bytes) -> None:
        self.socket.sendall(b"".join(frames))

    def ask(self, number: int, name: str = LISTED, over: int = codes.DOT) -> None:
        self.send(edge_frames.query(number, over, ADDRESS, query_for(name)))

    def answers(self, count: int) -> dict[int, Answer]:
        """The next so many answers, by number."""
        while len(self._found) < count:
            data = self.socket.recv(2**18)
            assert data, "the service has ended the connection"
            self._unread += data
            self._found += [edge_frames.as_answer(body) for _, body in edge_frames.take(self._unread)]
        found, self._found = self._found[:count], self._found[count:]
        assert len({one.number for one in found}) == count
        return {one.number: one for one in found}

    def ends(self) -> bool:
        """Whether the service has ended the connection."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with in_thread(honest) as running:
        yield running


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Site:
    folder = Path(tmp_path_factory.mktemp("edges"))
    site = Site(folder, upstreams=(upstream.address,))
    queries, files = str(folder / "queries"), {"certificate": "/none", "key": "/none"}
    listen = {"tls": ["127.0.0.1:853"], "https": ["127.0.0.1:443"]}
    site.set("edge", socket=queries, user="", name="dns.isp.example", **files, **listen)
    site.set("limits", exempt=["127.0.0.0/8"])
    site.publish([LISTED, f"*.{LISTED}"])
    return site


@pytest.fixture(scope="module")
def service(site: Site) -> Iterator[Service]:
    one = site.launch()
    try:
        one.until("/readyz")
        yield one
    finally:
        if one.process.poll() is None:
            stop(one.process)


@pytest.fixture
def edge(site: Site, service: Service) -> Iterator[Edge]:
    one = Edge(site.folder / "queries")
    assert asked(service.dns, LISTED) == BLOCKED
    yield one
    one.socket.close()


def test_every_transport_gets_what_udp_gets(edge: Edge, service: Service) -> None:
    for number, over in enumerate(codes.ENCRYPTED):
        edge.ask(number, LISTED, over)
        edge.ask(100 + number, "free.example", over)
    edge.send(edge_frames.query(7, codes.DOH, ADDRESS, b"\0\1\x80" + bytes(9)))
    found = edge.answers(7)
    for number in range(3):
        assert (came(found[number].message), found[number].max_age) == (BLOCKED, MAX_AGE_NONE)
        assert came(found[100 + number].message) == REAL
        ttls = [rrset.ttl for rrset in dns.message.from_wire(found[100 + number].message).answer]
        assert found[100 + number].max_age == min(ttls)
    assert found[7] == Answer(7, MAX_AGE_NONE, b"")


def test_ten_thousand_queries_are_answered_while_udp_is(edge: Edge, service: Service) -> None:
    names = (LISTED, "free.example", f"a.{LISTED}")
    # So many at a time that their answers, which are padded, fit into the socket: nothing here reads while it sends.
    for first in range(0, 10_000, 250):
        for number in range(first, first + 250):
            edge.ask(number, names[number % 3])
        assert asked(service.dns, LISTED) == BLOCKED
        found = edge.answers(250)
        assert {came(one.message) for number, one in found.items() if number % 3 != 1} == {BLOCKED}
        assert {came(one.message) for number, one in found.items() if number % 3 == 1} == {REAL}
    body = service.get("/metrics")[1].decode()
    (counted,) = re.findall(r'queries_total{transport="dot"} (\S+)', body)
    assert float(counted) >= 10_000


def test_what_is_no_frame_ends_its_connection_alone(edge: Edge, site: Site, service: Service) -> None:
    whole = edge_frames.query(1, codes.DOT, ADDRESS, query_for(LISTED))
    over_tcp, answer = whole[:9] + b"\1" + whole[10:], edge_frames.answer(1, 0, b"")
    for octets in (b"\0\0\0\0", b"\xff" * 64, over_tcp, b"\0\0\0\3R{}", answer):
        other = Edge(site.folder / "queries")
        other.send(octets)
        assert other.ends(), octets
        other.socket.close()
    edge.ask(2)
    assert came(edge.answers(1)[2].message) == BLOCKED


def test_an_edge_that_is_gone_in_the_midst_takes_nothing_with_it(site: Site, service: Service) -> None:
    turns, each = 100, 20
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.connect((HOST, service.dns))
        udp.settimeout(PATIENCE_S)
        for turn in range(turns):
            edge = Edge(site.folder / "queries")
            edge.send(*(edge_frames.query(at, codes.DOQ, ADDRESS, query_for(f"n{turn}.example")) for at in range(50)))
            for _ in range(each):
                udp.send(query_for(LISTED))
            edge.send(edge_frames.query(99, codes.DOQ, ADDRESS, query_for(LISTED))[:-3])
            edge.socket.close()
            # None is asked again: each has to be answered.
            assert [came(udp.recv(2048)) for _ in range(each)] == each * [BLOCKED]
    assert asked(service.dns, "still.example") == REAL


def test_what_it_reports_is_in_the_metrics_and_on_the_screen(edge: Edge, site: Site, service: Service) -> None:
    edge.send(edge_frames.report(Report(1, END, {"dot": 3}, 9, {"slow": 20})))
    service.until("/metrics", lambda body: b'connections{transport="dot"} 3.0' in body)
    body = service.get("/metrics")[1].decode()
    assert 'blocklist_resolver_certificate_expiry_timestamp_seconds{use="edge"} 1.9e+09' in body
    assert service.metric("edges_connected") == 1
    assert 'transport="doq"' not in body, "DoQ has no address"
    assert re.search(r'queries_total{transport="dot"} \d', body)
    assert "edges      1 connected, certificate ends 2030-03-17" in operate(site, "status").stdout
    wait_for(lambda: 'edge_refused_total{reason="slow"} 20.0' in service.get("/metrics")[1].decode(), "the beat")


def test_over_a_hand_over_an_edge_finds_the_next_process_and_nothing_is_said_of_clients(
    edge: Edge, site: Site, service: Service
) -> None:
    edge.ask(1)
    edge.answers(1)
    done = operate(site, "hand-over")
    assert done.returncode == 0, service.said
    process = int(done.stdout.split("process ")[1].split()[0])
    try:
        assert edge.ends(), "the old process has answered all"
        new = Edge(site.folder / "queries")
        new.ask(2)
        assert came(new.answers(1)[2].message) == BLOCKED
        assert service.process.wait(PATIENCE_S) == 0
        new.ask(3, "after.example")
        assert came(new.answers(1)[3].message) == REAL
        new.socket.close()
        # The last test: neither the name nor the client is in anything that was written.
        shown = operate(site, "status", "--json").stdout.encode() + service.get("/metrics")[1]
        written = [one.read_bytes() for one in site.folder.rglob("*") if one.is_file() and "authority" not in one.parts]
        assert written
        for octets in (shown, *written):
            for canary in (LISTED.partition(".")[0].encode(), CLIENT.encode(), ADDRESS):
                assert canary not in octets
    finally:
        os.kill(process, signal.SIGTERM)
        wait_for(lambda: not Path(f"/proc/{process}").exists(), "the end of the service")
