"""The whole process over TCP: any cut, many at once, slow ones, rude ones."""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import dns.message
import dns.rrset
import pytest

from tests.fakes.upstream import Upstream, Way, in_thread
from tests.journeys.processes import CLIENT, REAL, asked, came, honest, wait_for
from tests.journeys.running import HOST, PAGE_V4, Service, serve

BLOCKED = f"{PAGE_V4} EDE 4"


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with in_thread(honest) as running:
        yield running


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Service]:
    with serve(Path(tmp_path_factory.mktemp("stream")), upstreams=[upstream.address], entries=["listed.test"]) as one:
        yield one
        assert "event loop" not in one.said


@contextmanager
def client(service: Service) -> Iterator[socket.socket]:
    """A connection to the service; what is sent goes at once."""
    with socket.socket() as one:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        one.bind((CLIENT, 0))
        one.settimeout(10)
        one.connect((HOST, service.dns))
        yield one


def query(name: str, number: int = 0) -> bytes:
    """A framed query; its id is its number."""
    made = dns.message.make_query(name, "A", use_edns=0, id=number)
    packet = made.to_wire()
    return len(packet).to_bytes(2, "big") + packet


def rest(one: socket.socket) -> bytes:
    """All that comes until the other side ends."""
    received = b""
    while chunk := one.recv(65536):
        received += chunk
    return received


def reply(one: socket.socket) -> bytes:
    """The next reply."""
    received = b""
    while len(received) < 2 or len(received) < 2 + int.from_bytes(received[:2], "big"):
        wanted = 2 + int.from_bytes(received[:2], "big") if len(received) >= 2 else 2
        chunk = one.recv(wanted - len(received))
        if not chunk:
            raise EOFError
        received += chunk
    return received[2:]


def number_of(octets: bytes) -> int:
    return int.from_bytes(octets[:2], "big")


def messages(octets: bytes) -> list[bytes]:
    """The replies of a stream, whole."""
    found = []
    while octets:
        size = int.from_bytes(octets[:2], "big")
        found.append(octets[2 : 2 + size])
        assert len(found[-1]) == size
        octets = octets[2 + size :]
    return found


def test_queries_octet_by_octet_and_all_in_one(service: Service) -> None:
    stream = query("listed.test", 1) + query("open.test", 2) + query("a.listed.test", 3)
    for size in (1, 2, 3, 7, len(stream)):
        with client(service) as one:
            for at in range(0, len(stream), size):
                one.sendall(stream[at : at + size])
            said = {number_of(octets): came(octets) for octets in (reply(one), reply(one), reply(one))}
        assert said == {1: BLOCKED, 2: REAL, 3: BLOCKED}


def test_a_slow_name_keeps_no_other_waiting(service: Service, upstream: Upstream) -> None:
    with client(service) as one:
        upstream.hold()
        try:
            one.sendall(query("slow.test", 1) + query("listed.test", 2) + query("slow.test", 3))
            first = reply(one)
            assert (number_of(first), came(first)) == (2, BLOCKED)
        finally:
            upstream.release()
        replies = {number_of(octets): came(octets) for octets in (reply(one), reply(one))}
        assert replies == {1: REAL, 3: REAL}


@pytest.mark.parametrize("name", ["listed.test", "open.test", "slow"])
def test_who_closes_its_half_still_gets_every_answer(service: Service, name: str) -> None:
    """All queries in one write with the end behind them, whether their answers are at hand or not."""
    with client(service) as one:
        names = [f"n{number}.slow.test" if name == "slow" else name for number in range(500)]
        one.sendall(b"".join(query(each, number) for number, each in enumerate(names)))
        one.shutdown(socket.SHUT_WR)
        replies = messages(rest(one))
    assert sorted(map(number_of, replies)) == list(range(500))
    assert {came(octets) for octets in replies} == {BLOCKED if name == "listed.test" else REAL}


@pytest.mark.parametrize("size", range(12))
def test_a_message_that_cannot_be_a_query_ends_the_connection(service: Service, size: int) -> None:
    with client(service) as one:
        one.sendall(query("listed.test", 1) + size.to_bytes(2, "big") + bytes(size))
        assert [came(octets) for octets in messages(rest(one))] == [BLOCKED]


def test_a_message_cut_by_the_end_of_the_stream_is_nothing(service: Service) -> None:
    with client(service) as one:
        one.sendall(query("listed.test", 1) + query("listed.test", 2)[:-1])
        one.shutdown(socket.SHUT_WR)
        assert [number_of(octets) for octets in messages(rest(one))] == [1]


def test_a_proxy_header_from_a_client_ends_the_connection_at_once(service: Service) -> None:
    header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes([192, 0, 2, 7]) + bytes(8)
    with client(service) as one:
        one.sendall(header + query("listed.test", 1))
        with suppress(ConnectionResetError):  # What it sent behind the header was not read any more.
            assert rest(one) == b""


def test_who_resets_with_answers_on_their_way_harms_nobody(service: Service, upstream: Upstream) -> None:
    before = upstream.exchanges["udp"]
    upstream.hold()
    try:
        for turn in range(20):
            with client(service) as one:
                one.sendall(b"".join(query(f"r{turn}-{number}.test", number) for number in range(10)))
                wait_for(lambda turn=turn: upstream.exchanges["udp"] >= before + 10 * turn + 1, "a query upstream")
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    finally:
        upstream.release()
    assert asked(service.dns, "listed.test", over="tcp") == BLOCKED
    assert asked(service.dns, "r0-0.test", over="tcp") == REAL


def test_many_connections_at_once(service: Service) -> None:
    with client(service) as first:
        others = [client(service) for _ in range(200)]
        opened = [one.__enter__() for one in others]
        try:
            for number, one in enumerate(opened):
                one.sendall(query("listed.test" if number % 2 else f"c{number}.test", number))
            for number, one in enumerate(opened):
                octets = reply(one)
                assert (number_of(octets), came(octets)) == (number, BLOCKED if number % 2 else REAL)
        finally:
            for one in others:
                one.__exit__(None, None, None)
        first.sendall(query("listed.test", 7))
        assert number_of(reply(first)) == 7


def test_an_upstream_that_says_more_by_tcp_or_cuts_it_short(service: Service, upstream: Upstream) -> None:
    upstream.script.extend([(Way.TRUNCATED,), (Way.HONEST,)])
    assert asked(service.dns, "by-tcp.test", over="tcp") == REAL
    upstream.script.extend([(Way.TRUNCATED,), (Way.HALF,), (Way.HONEST,)])
    assert asked(service.dns, "cut.test", over="tcp") == REAL


def test_who_does_not_read_is_held_up_alone(service: Service) -> None:
    """Without an end to the queries of one who never reads, the others are answered as ever."""
    with client(service) as deaf:
        deaf.setblocking(False)
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        block = query("listed.test", 1) * 1000
        sent = 0
        try:
            while sent < 400:
                deaf.sendall(block)
                sent += 1
        except BlockingIOError:
            pass  # The service reads no more: that is what was to be seen.
        else:
            pytest.fail("a client that does not read is read from without an end")
        assert asked(service.dns, "listed.test", over="tcp") == BLOCKED
        assert asked(service.dns, "listed.test") == BLOCKED
