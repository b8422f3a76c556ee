"""One connection: who its client is, what ends it, what it may hold."""

import asyncio
import socket
from typing import Any

import pytest

from resolver.config.values import address_octets
from resolver.query import accept_connection
from resolver.query.transport import Transport, framed
from tests.unit.query.clients import bounds, listening
from tests.unit.query.parts import until
from tests.unit.query.senders import LARGE, asks, together

pytestmark = pytest.mark.loops

SELF = address_octets("127.0.0.1")
LOCAL = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"
NAMED = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes([198, 51, 100, 7]) + bytes(4) + b"\0\0\0\x35"
NAMED_V6 = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24" + address_octets("2001:db8::7") + bytes(16) + b"\x30\x39\0\x35"
CLIENTS = {NAMED: address_octets("198.51.100.7"), NAMED_V6: address_octets("2001:db8::7"), LOCAL: SELF}


@pytest.mark.asyncio
@pytest.mark.parametrize("header", CLIENTS, ids=["4", "6", "local"])
@pytest.mark.parametrize("size", [1, 5, 1000])
async def test_a_header_comes_once_however_it_is_cut(header: bytes, size: int) -> None:
    stream = header + framed(asks(1)) + framed(asks(2, b"later"))
    async with listening(trusted=True) as side:
        side.answers.release()
        client = await side.connect()
        for at in range(0, len(stream), size):
            client.writer.write(stream[at : at + size])
            await client.writer.drain()
            await asyncio.sleep(0)
        assert {await client.reply(), await client.reply()} == {asks(1), asks(2, b"later")}
        client.send(asks(3))
        assert await client.reply() == asks(3)
        assert {seen for _, seen, _ in side.answers.seen} == {CLIENTS[header]}
        assert side.dropped == []


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "octets",
    [
        framed(asks(1)),
        b"\0",
        b"PROXY TCP4 198.51.100.7 192.0.2.53 1 53\r\n",
        NAMED[:12] + b"\x31",
        NAMED[:14] + b"\xff\xff",
    ],
    ids=["a query", "an octet", "version 1", "version 3", "too long"],
)
async def test_what_is_no_header_ends_a_load_balancers_connection_at_once(octets: bytes) -> None:
    async with listening(trusted=True) as side:
        client = await side.connect()
        client.writer.write(octets)
        assert await client.rest() == b""
        assert side.dropped == ["proxy"]
        assert side.answers.seen == []
        await until(lambda: not side.streams.connections)


@pytest.mark.asyncio
async def test_a_second_header_is_a_message_like_others() -> None:
    async with listening(trusted=True) as side:
        client = await side.connect()
        client.writer.write(NAMED + framed(asks(1)) + NAMED_V6 + bytes(3340))
        assert await client.reply() == asks(1)
        assert len(await client.reply()) == 3338
        assert {seen for _, seen, _ in side.answers.seen} == {CLIENTS[NAMED]}


@pytest.mark.asyncio
async def test_half_a_header_does_not_keep_a_connection() -> None:
    async with listening(trusted=True, idle_s=0.1) as side:
        waits, ends = await side.connect(), await side.connect()
        waits.writer.write(NAMED[:20])
        ends.writer.write(NAMED[:20])
        ends.writer.write_eof()
        assert await ends.rest() == b""
        assert await waits.rest() == b""
        assert side.answers.seen == []


@pytest.mark.asyncio
@pytest.mark.parametrize("pieces", [[NAMED], [NAMED[:11], NAMED[11:12]]], ids=["whole", "cut"])
async def test_a_header_from_anybody_else_ends_the_connection_without_waiting_for_3338_octets(
    pieces: list[bytes],
) -> None:
    async with listening() as side:
        client = await side.connect()
        for piece in pieces:
            client.writer.write(piece)
            await asyncio.sleep(0)
        assert await client.rest() == b""
        assert side.dropped == ["proxy"]


@pytest.mark.asyncio
async def test_a_query_that_begins_like_a_header_is_a_query() -> None:
    """A message of 3338 octets whose first nine are those of the signature."""
    packet = NAMED[2:11] + b"!" + bytes(3328)
    async with listening() as side:
        client = await side.connect()
        for at in range(0, 20, 4):
            client.writer.write(framed(packet)[at : at + 4])
            await asyncio.sleep(0)
        client.writer.write(framed(packet)[20:])
        assert await client.reply() == packet
        assert side.dropped == []


@pytest.mark.asyncio
async def test_a_named_client_has_its_own_bound_and_its_load_balancer_has_none() -> None:
    async with listening(limits=bounds(per_client=2), trusted=True) as side:
        for header in (NAMED, NAMED_V6, LOCAL, LOCAL, LOCAL, NAMED):
            client = await side.connect()
            client.writer.write(header + framed(asks(1)))
            assert await client.reply() == asks(1)
        one_too_many = await side.connect()
        one_too_many.writer.write(NAMED + framed(asks(1)))
        assert await one_too_many.rest() == b""
        assert side.dropped == ["connection_limit"]
        await side.clients[0].close()
        await until(lambda: len(side.streams.connections) == 5)
        again = await side.connect()
        again.writer.write(NAMED + framed(asks(1)))
        assert await again.reply() == asks(1)


@pytest.mark.asyncio
async def test_a_named_client_that_is_not_allowed_is_refused_after_the_header_and_its_load_balancer_is_not() -> None:
    async with listening(trusted=True) as side:
        side.streams.allowed = lambda client: client == CLIENTS[NAMED]
        for header in (NAMED_V6, LOCAL):
            client = await side.connect()
            client.writer.write(header + framed(asks(1)))
            if header == NAMED_V6:
                assert await client.rest() == b""
            else:
                assert await client.reply() == asks(1)
        client = await side.connect()
        client.writer.write(NAMED + framed(asks(2)))
        assert await client.reply() == asks(2)
        assert side.dropped == ["not_allowed"]


@pytest.mark.asyncio
async def test_replies_without_an_end_to_one_who_does_not_read_end_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Queries in flight were taken while there was room; what comes back for all of them is too much."""
    monkeypatch.setattr(accept_connection, "UNSENT_MOST", 2**19)
    async with listening() as side:

        async def much(packet: bytes) -> bytes:
            side.answers.seen.append((packet, b"", Transport.TCP))
            await gate.wait()
            return packet[:2] + bytes(LARGE - 2)

        gate = asyncio.Event()
        side.streams.answer = together(
            lambda packet, *rest: much(packet) if packet[12:] == b"much" else side.answers(packet, *rest)
        )
        client = await side.connect(limit=1024)
        client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.send(*(asks(number, b"much") for number in range(128)))
        await until(lambda: len(side.answers.seen) == 128)
        gate.set()
        await until(lambda: not side.streams.connections)
        assert side.dropped == ["connection_limit"]
        other = await side.connect()
        other.send(asks(1))
        assert await other.reply() == asks(1)


@pytest.mark.asyncio
async def test_who_is_gone_before_it_is_seen_is_gone() -> None:
    async with listening() as side:
        connection: Any = side.streams.accepted(SELF)
        connection.abort()
        transport = Aborted()
        connection.connection_made(transport)
        assert transport.aborted
        connection.connection_lost(None)
        assert not side.streams.connections


class Aborted(asyncio.Transport):
    """A transport that knows only whether it was aborted."""

    aborted = False

    def abort(self) -> None:
        self.aborted = True
