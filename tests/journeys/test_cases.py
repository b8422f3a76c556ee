"""The table of cases: each row on the whole process, over UDP and TCP, with both cores, cold and warm.

The queries stand in cases/corpus/<case>.bin, the answers in the rows and in the table of tests/CASES.md; all three
agree. Whoever sends a row's packet also asks for a listed name after it, which is answered at once: what comes first
is the answer to the row's packet, and there is one only.
"""

import os
import re
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import dns.message
import pytest

from tests.fakes.upstream import Upstream, in_thread
from tests.journeys.cases import table
from tests.journeys.cases.packets import EACH, LISTED, NEVER, ONCE, TCP, UDP, Row, opt, query, unframed
from tests.journeys.cases.reading import said
from tests.journeys.cases.upstream import answer
from tests.journeys.processes import CLIENT, Site, asked, wait_for
from tests.journeys.running import CORES, HOST, LAUNCHERS, Service, serve

SECONDS = 5.0
TURNS = ((UDP, "cold"), (UDP, "warm"), (TCP, "cold"), (TCP, "warm"))
MARK = query("mark", name=LISTED)


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with in_thread(answer) as running:
        yield running


@pytest.fixture(scope="module", params=CORES)
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, upstream: Upstream
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("cases")
    with serve(folder, upstreams=[upstream.address], entries=[LISTED], core=request.param) as one:
        yield one
        assert "event loop" not in one.said


def packets(row: Row) -> list[bytes]:
    """What is sent: the messages of the row's file."""
    return list(unframed((table.CORPUS / f"{row.case}.bin").read_bytes()))


def by_udp(port: int, packet: bytes, *, answered: bool) -> bytes | None:
    """The only answer, or None: nothing came before the answer to a query that was sent after it."""
    with socket.socket(type=socket.SOCK_DGRAM) as one:
        one.settimeout(SECONDS)
        one.bind((CLIENT, 0))
        one.connect((HOST, port))
        one.send(packet)
        reply = one.recv(65_535) if answered else None
        one.send(MARK)
        after = one.recv(65_535)
    return reply if after[:2] == MARK[:2] else after


def by_tcp(port: int, packet: bytes, *, answered: bool) -> bytes | None:
    """As `by_udp`; a connection that is closed without a word is silence too."""
    with socket.socket() as one:
        one.settimeout(SECONDS)
        one.bind((CLIENT, 0))
        one.connect((HOST, port))
        one.sendall(len(packet).to_bytes(2, "big") + packet)
        with one.makefile("rb") as stream:

            def message() -> bytes:
                return stream.read(int.from_bytes(stream.read(2), "big"))

            reply = message() if answered else None
            try:
                one.sendall(len(MARK).to_bytes(2, "big") + MARK)
                after = message()
            except ConnectionError:
                after = b""
    return reply if not after or after[:2] == MARK[:2] else after


ASK: dict[str, Callable[..., bytes | None]] = {UDP: by_udp, TCP: by_tcp}


def key_of(packet: bytes) -> bytes:
    """The question, whatever its letters' case: what one kept answer is for."""
    return packet[12:].lower().partition(b"\0\0\x29")[0]


def seen_by(upstream: Upstream, before: int, packet: bytes) -> int:
    """How often the packet's question went up since `before` queries had."""
    asked = [query.question[0] for query in upstream.queries[before:]]
    ends = [one.rdtype.to_bytes(2, "big") + one.rdclass.to_bytes(2, "big") for one in asked]
    return sum(one.name.to_wire().lower() + end in packet.lower() for one, end in zip(asked, ends, strict=True))


@pytest.mark.parametrize("row", table.ROWS, ids=lambda row: row.case)
def test_row(row: Row, service: Service, upstream: Upstream) -> None:
    known: set[bytes] = set()
    for transport, turn in TURNS:
        if transport not in row.over or row.case == "source-port-0":
            continue
        for number, packet in enumerate(packets(row)):
            before, again = len(upstream.queries), key_of(packet) in known
            expected = row.expected(transport, again=again)
            reply = ASK[transport](service.dns, packet, answered=expected != "silence")
            where = f"{transport}, {turn}, message {number}: {packet.hex()} -> {reply.hex() if reply else reply}"
            assert said(packet, reply, row.zones[number] if row.zones else "") == expected, where
            assert transport == TCP or reply is None or len(reply) <= 1232, where
            wanted = row.upstream == EACH or (row.upstream == ONCE and not again)
            assert bool(seen_by(upstream, before, packet)) == wanted, f"{where}: upstream asked {row.upstream}"
            known.add(key_of(packet))


def test_files_and_readme_say_what_the_rows_say() -> None:
    assert {path.name: path.read_bytes() for path in table.CORPUS.glob("*.bin")} == table.files()
    assert table.printed() == table.rendered(), "python -m tests.journeys.cases.table writes it"
    assert len({row.case for row in table.ROWS}) == len(table.ROWS)


def test_every_row_can_fail() -> None:
    """No row expects the same of a packet that another row answers in another way."""
    expected: dict[bytes, str] = {}
    for row in table.ROWS:
        for packet in row.packets if row.case != "source-port-0" and not row.zones else ():
            assert expected.setdefault(packet[2:], row.answer) == row.answer, row.case
        assert row.upstream in {NEVER, ONCE, EACH}
        assert row.rfc


def test_the_list_of_rfc_8906_is_whole() -> None:
    """Each test of its section 8 is a row: 8.1.1 to 8.1.5, 8.2.1 to 8.2.10, 8.3."""
    rows = {number for row in table.ROWS for number in re.findall(r"\b8\.[123](?:\.\d+)*", row.rfc)}
    basic = {f"8.1.{number}" for number in (1, 2, "3.1", "3.2", "3.3", "3.4", 4, 5)}
    assert rows >= basic | {f"8.2.{number}" for number in range(1, 11)} | {"8.3"}


@pytest.fixture
def raw() -> Iterator[socket.socket]:
    """All datagrams that reach CLIENT, with their IP headers."""
    if os.geteuid() != 0:
        pytest.skip("a raw socket needs root")
    with closing(socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)) as one:
        one.bind((CLIENT, 0))
        one.settimeout(SECONDS)
        yield one


def test_source_port_0(service: Service, raw: socket.socket, upstream: Upstream) -> None:
    """Counted, not forwarded, not answered: what comes is the answer to a query sent later from another port."""
    (row,) = (row for row in table.ROWS if row.case == "source-port-0")
    (packet,) = packets(row)
    before = len(upstream.queries)
    text = 'packets_dropped_total{reason="port_zero"}'
    count = counted(service, text)
    raw.sendto(struct.pack(">HHHH", 0, service.dns, 8 + len(packet), 0) + packet, (HOST, 0))
    assert asked(service.dns, LISTED) == "192.0.2.1 EDE 4"
    while source_port(datagram := raw.recv(65_535)) != service.dns:
        pass
    assert destination_port(datagram) != 0
    assert counted(service, text) == count + 1
    assert seen_by(upstream, before, packet) == 0


def counted(service: Service, series: str) -> float:
    """The value of a live series."""
    body = service.get("/metrics")[1].decode()
    (line,) = (line for line in body.splitlines() if line.startswith(f"blocklist_resolver_{series} "))
    return float(line.rpartition(" ")[2])


def source_port(datagram: bytes) -> int:
    return int.from_bytes(datagram[(datagram[0] & 15) * 4 :][:2], "big")


def destination_port(datagram: bytes) -> int:
    return int.from_bytes(datagram[(datagram[0] & 15) * 4 :][2:4], "big")


def test_no_answer_is_or_can_become_path_mtu_discovery(service: Service, raw: socket.socket) -> None:
    """The largest datagram is whole, and asks no router to tell us its MTU (RFC 9715 3.1: IP_PMTUDISC_OMIT)."""
    (row,) = (row for row in table.ROWS if row.case == "payload-4096")
    (packet,) = packets(row)
    reply = by_udp(service.dns, packet, answered=True)
    assert reply is not None
    datagram = raw.recv(65_535)
    while source_port(datagram) != service.dns or reply not in datagram:
        datagram = raw.recv(65_535)
    assert len(reply) == 1232
    assert len(datagram) == 1232 + 28
    assert datagram[6:8] == b"\0\0", "neither DF nor MF nor an offset"


def test_what_was_kept_ages_and_its_opt_does_not(service: Service) -> None:
    (row,) = (row for row in table.ROWS if row.case == "edns-do")
    (packet,) = packets(row)

    def ask() -> dns.message.Message:
        reply = by_udp(service.dns, packet, answered=True)
        assert reply is not None
        assert reply.endswith(b"\0\0\x29\x04\xd0\0\0\x80\0\0\0")
        return dns.message.from_wire(reply)

    first = ask().answer[0].ttl
    wait_for(lambda: ask().answer[0].ttl < first, "a TTL to go down", seconds=SECONDS)


def test_a_failure_is_kept_for_a_second_at_least_and_thirty_at_most(service: Service, upstream: Upstream) -> None:
    """RFC 9520 3.2, and from the end of a second of the clock too, where a time in whole seconds is short."""
    packet = query("failure", "A", opt(), name="rcode-2.failure.test")

    def asked_again() -> bool:
        seen = len(upstream.queries)
        reply = by_udp(service.dns, packet, answered=True)
        assert said(packet, reply) == "SERVFAIL; EDNS"
        return seen_by(upstream, seen, packet) > 0

    wait_for(lambda: time.monotonic() % 1 > 0.9, "the end of a second", seconds=2)
    started = time.monotonic()
    assert asked_again()
    while time.monotonic() < started + 0.95:
        assert not asked_again(), f"asked again after {time.monotonic() - started:.3f} s"
    wait_for(asked_again, "upstream to be asked again", seconds=31)


@pytest.mark.parametrize("core", CORES)
def test_forward_zones_lets_a_zone_through_and_no_other(core: str, site: Site, upstream: Upstream) -> None:
    site.set("upstream", forward_zones=["10.in-addr.arpa", "2.1.d.f.ip6.arpa"])
    site.publish([LISTED])
    rows = {
        "1.2.3.10.in-addr.arpa": True,
        "10.in-addr.arpa": True,
        "1.168.192.in-addr.arpa": False,
        "7.2.1.d.f.ip6.arpa": True,
        "7.3.1.d.f.ip6.arpa": False,
        "1.0.0.127.in-addr.arpa": False,
    }
    with site.started(LAUNCHERS[core]):
        for name, forwarded in rows.items():
            packet = query("forward-zones", "PTR", name=name)
            for ask in ASK.values():
                before = len(upstream.queries)
                reply = ask(site.dns, packet, answered=True)
                assert bool(reply and reply[2] & 4) != forwarded, name
                assert bool(seen_by(upstream, before, packet)) == (forwarded and ask is by_udp), name


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Site:
    return Site(tmp_path_factory.mktemp("site"), upstreams=[upstream.address])
