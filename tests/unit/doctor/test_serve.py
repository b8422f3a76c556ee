"""doctor/serve.py: one reply to a query, none to anything else; no larger than allowed; over UDP and TCP."""

import asyncio
import os
import signal
import socket

import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.doctor import serve, wire
from resolver.doctor.serve import respond
from resolver.doctor.zone import Zone
from tests.journeys.running import free_ports
from tests.unit.doctor.resolvers import ENTRY, HOST

ZONE = Zone(ENTRY)
GOOD = wire.name_of("good.doctor.test")


def test_a_reply_is_one_that_dnspython_takes() -> None:
    query = dns.message.make_query("good.doctor.test.", "A", use_edns=0, want_dnssec=True)
    octets = respond(ZONE, query.to_wire(), over_udp=True)
    assert octets is not None
    reply = dns.message.from_wire(octets)
    assert query.is_response(reply)
    assert reply.payload == wire.PAYLOAD
    assert str(reply.answer[0]) == "good.doctor.test. 300 IN A 198.51.100.22"
    assert len(reply.answer) == 2


@pytest.mark.parametrize(
    ("query", "rcode"),
    [
        (wire.query(wire.name_of("other.test"), wire.A), wire.REFUSED),
        (wire.query(GOOD, wire.A, rdclass=wire.CHAOS), wire.REFUSED),
        (wire.query(GOOD, wire.AXFR), wire.REFUSED),
        (wire.query(GOOD, wire.A, flags=0x2800), wire.NOTIMP),
        (wire.query(GOOD, wire.A)[:4] + bytes(8), wire.FORMERR),
        (wire.query(GOOD, wire.A)[:20], wire.FORMERR),
        (wire.query(wire.name_of("nowhere.doctor.test"), wire.A), wire.NXDOMAIN),
    ],
    # An id of each: the octets begin with one of chance, and every process of a run must name a test alike.
    ids=["another zone", "class CHAOS", "AXFR", "NOTIFY", "no question", "cut short", "no such name"],
)
def test_what_is_not_answered_has_its_code(query: bytes, rcode: int) -> None:
    octets = respond(ZONE, query, over_udp=True)
    assert octets is not None
    assert wire.read(octets).rcode == rcode
    assert octets[:2] == query[:2]


def test_a_reply_gets_none() -> None:
    query = wire.query(GOOD, wire.A)
    assert respond(ZONE, query[:2] + b"\x80\0" + query[4:], over_udp=True) is None
    assert respond(ZONE, query[:11], over_udp=True) is None


def test_what_does_not_fit_is_cut() -> None:
    """ANY of the listed name with its signatures: whole over TCP, TC over UDP; without room ADDITIONAL goes first."""
    query = wire.query(ENTRY, wire.ANY, do=True)
    whole, cut = respond(ZONE, query, over_udp=False), respond(ZONE, query, over_udp=True)
    assert whole is not None
    assert cut is not None
    assert len(whole) > wire.PAYLOAD >= len(cut)
    assert (wire.read(cut).flags & wire.TC, wire.read(cut).answer) == (wire.TC, ())
    small = respond(ZONE, wire.query(wire.name_of("t1.mode.doctor.test"), wire.HTTPS, do=True), over_udp=True)
    assert small is not None
    assert not wire.read(small).flags & wire.TC


@given(st.binary(max_size=200))
def test_any_octets_get_at_most_one_reply_that_can_be_read(octets: bytes) -> None:
    for data in (octets, wire.query(GOOD, wire.A)[:12] + octets):
        reply = respond(ZONE, data, over_udp=True)
        assert reply is None or (reply[:2] == data[:2] and reply[2] & 0x80 and len(reply) <= wire.PAYLOAD)


def test_it_serves_over_udp_and_tcp_until_it_is_ended() -> None:
    query = wire.query(GOOD, wire.A)

    async def served() -> list[int]:
        up = asyncio.Event()
        (port,) = free_ports(1)
        task = asyncio.create_task(serve.serve(ZONE, HOST, port, up.set))
        await up.wait()
        loop, found = asyncio.get_running_loop(), []
        with socket.socket(type=socket.SOCK_DGRAM) as one:
            one.setblocking(False)
            await loop.sock_connect(one, (HOST, port))
            await loop.sock_sendall(one, query)
            found.append(wire.read(await loop.sock_recv(one, 4096)).rcode)
        reader, writer = await asyncio.open_connection(HOST, port)
        for _ in range(2):
            writer.write(len(query).to_bytes(2, "big") + query)
            found.append(wire.read(await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))).rcode)
        writer.write(b"\0\2\0\0")
        assert await reader.read() == b"", "what is no query ends the connection"
        writer.close()
        os.kill(os.getpid(), signal.SIGTERM)
        await task
        return found

    assert asyncio.run(served()) == [0, 0, 0]


def test_the_rate_over_udp_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "RATE", 3)
    query = wire.query(GOOD, wire.A)

    async def served() -> int:
        up = asyncio.Event()
        (port,) = free_ports(1)
        task = asyncio.create_task(serve.serve(ZONE, HOST, port, up.set))
        await up.wait()
        loop, count = asyncio.get_running_loop(), 0
        with socket.socket(type=socket.SOCK_DGRAM) as one:
            one.setblocking(False)
            await loop.sock_connect(one, (HOST, port))
            for _ in range(30):
                await loop.sock_sendall(one, query)
            await loop.sock_recv(one, 4096)
            count += 1
            try:
                async with asyncio.timeout(0.5):
                    while True:
                        await loop.sock_recv(one, 4096)
                        count += 1
            except TimeoutError:
                pass  # No more comes.
        os.kill(os.getpid(), signal.SIGTERM)
        await task
        return count

    assert 1 <= asyncio.run(served()) < 30


def test_a_prefix_gets_some_replies_that_are_longer_than_the_query_and_then_tc() -> None:
    """Each neighbour of a /24 or a /56 has its part of them; another has its own, and the next second brings more."""
    now = [7.0]
    limit = serve.Limit(lambda: now[0])
    assert limit.takes()
    given = [limit.gives_whole(f"192.0.2.{number}") for number in range(serve.WHOLE + 5)]
    assert given == [True] * serve.WHOLE + [False] * 5
    assert [limit.gives_whole(host) for host in ("198.51.100.1", "2001:db8::1")] == [True, True]
    given = [limit.gives_whole(f"2001:db8:0:{number:x}::1%lo") for number in range(serve.WHOLE)]
    assert given == [True] * (serve.WHOLE - 1) + [False]
    now[0] = 8.0
    assert (limit.takes(), limit.gives_whole("192.0.2.1")) == (True, True)


@pytest.mark.parametrize("kind", [wire.A, wire.ANY, wire.HTTPS])
@pytest.mark.parametrize("do", [False, True])
def test_what_is_cut_is_no_longer_than_its_query(kind: int, do: bool) -> None:
    query = wire.query(ENTRY, kind, do=do, edns=do)
    found = serve.cut(query)
    assert len(found) <= len(query)
    said = wire.read(found)
    assert (said.id, said.flags & (wire.QR | wire.TC), said.records) == (wire.read(query).id, wire.QR | wire.TC, ())


def test_over_udp_one_who_asks_more_is_sent_to_tcp() -> None:
    query = wire.query(GOOD, wire.A, do=True)

    async def served() -> list[tuple[int, int]]:
        up = asyncio.Event()
        (port,) = free_ports(1)
        task = asyncio.create_task(serve.serve(ZONE, HOST, port, up.set))
        await up.wait()
        loop, found = asyncio.get_running_loop(), []
        with socket.socket(type=socket.SOCK_DGRAM) as one:
            one.setblocking(False)
            await loop.sock_connect(one, (HOST, port))
            for _ in range(4 * serve.WHOLE):
                await loop.sock_sendall(one, query)
                reply = await asyncio.wait_for(loop.sock_recv(one, 4096), 20)
                found.append((len(reply), wire.read(reply).flags & wire.TC))
        os.kill(os.getpid(), signal.SIGTERM)
        await task
        return found

    found = asyncio.run(served())
    whole = [size for size, tc in found if not tc]
    assert len(whole) >= serve.WHOLE
    assert min(whole) > len(query)
    cut = [size for size, tc in found if tc]
    # A machine so busy that this takes four seconds cuts none.
    assert max(cut, default=0) <= len(query)
