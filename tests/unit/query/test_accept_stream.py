"""Queries over TCP: framing, pipelining, and every bound on what one client can hold."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.query import accept_stream
from resolver.query.accept_datagram import client_octets
from resolver.query.accept_stream import Streams
from resolver.values import Endpoint
from tests.parity.cases import of
from tests.unit.query.parts import House, query, reply_of, tables, until
from tests.unit.query.senders import LARGE, Answers, asks, framed, quiet

LOOPBACK = Endpoint("127.0.0.1", 0)


class Client:
    """One connection, as whoever connects sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, *packets: bytes) -> None:
        """Send queries in one write."""
        self.writer.write(b"".join(map(framed, packets)))

    async def reply(self) -> bytes:
        """The next reply."""
        async with asyncio.timeout(10):
            size = int.from_bytes(await self.reader.readexactly(2), "big")
            return await self.reader.readexactly(size)

    async def rest(self) -> bytes:
        """All that comes until the other side ends."""
        async with asyncio.timeout(10):
            with suppress(ConnectionError):
                return await self.reader.read()
            return b""

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


class Side:
    """A listening side and its clients."""

    def __init__(self, streams: Streams, answers: Answers) -> None:
        self.streams = streams
        self.answers = answers
        self.clients: list[Client] = []

    async def connect(self, **more: Any) -> Client:
        client = Client(*await asyncio.open_connection(*self.streams.addresses[0], **more))
        self.clients.append(client)
        return client

    @property
    def connection(self) -> Any:
        """The only connection, seen from inside."""
        [one] = self.streams.connections
        return one


@asynccontextmanager
async def listening(endpoint: Endpoint = LOOPBACK, **bounds: float) -> AsyncIterator[Side]:
    async with quiet():
        answers = Answers()
        streams = Streams(answers, **bounds)
        await streams.open([endpoint])
        side = Side(streams, answers)
        yield side
        answers.release()
        streams.close()
        await streams.drained()
        for client in side.clients:
            await client.close()
        await until(lambda: not streams.connections)


@pytest.mark.asyncio
async def test_answers_come_as_they_are_ready() -> None:
    async with listening() as side:
        client = await side.connect()
        client.send(asks(1, b"later"), asks(2), asks(3, b"later"), asks(4, b"never"), asks(5), asks(6, b"later never"))
        assert [await client.reply(), await client.reply()] == [asks(2), asks(5)]
        side.answers.release(3)
        assert await client.reply() == asks(3, b"later")
        side.answers.release(6)
        side.answers.release(1)
        assert await client.reply() == asks(1, b"later")
        client.send(asks(7))
        assert await client.reply() == asks(7)
        assert {stream for _, _, stream in side.answers.seen} == {True}


@pytest.mark.asyncio
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_the_client_is_who_connected(host: str) -> None:
    async with listening(Endpoint(host, 0)) as side:
        client = await side.connect()
        client.send(asks(1))
        await client.reply()
        assert side.answers.seen == [(asks(1), client_octets(host), True)]


class Wire(asyncio.Transport):
    """A transport that keeps what is written; reading goes on by hand."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.10", 5353)})
        self.written = bytearray()
        self.closed = False
        self.reading = True

    def write(self, data: Any) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There is no buffer to limit."""


def replies_in(octets: bytes) -> list[bytes]:
    """The messages of a stream; it must end with the last."""
    found = []
    while octets:
        size = int.from_bytes(octets[:2], "big")
        assert len(octets) >= 2 + size
        found.append(bytes(octets[2 : 2 + size]))
        octets = octets[2 + size :]
    return found


def told(answer: Callable[..., Any], pieces: Sequence[bytes], release: Callable[[], None] | None = None) -> list[bytes]:
    """The replies to a stream that comes in these pieces."""

    async def story() -> list[bytes]:
        streams = Streams(answer)
        connection, wire = streams.accepted(), Wire()
        connection.connection_made(wire)
        for piece in pieces:
            if wire.closed:
                break
            await until(lambda: wire.reading)
            connection.data_received(piece)
            await asyncio.sleep(0)
        if release:
            release()
        if connection.waiting:
            await asyncio.wait(connection.waiting)
        await asyncio.sleep(0)
        connection.connection_lost(None)
        return replies_in(wire.written)

    return asyncio.run(story())


def cut(octets: bytes, places: Sequence[int]) -> list[bytes]:
    """The octets in pieces, cut at these places."""
    edges = [0, *sorted({place % (len(octets) + 1) for place in places}), len(octets)]
    return [octets[a:b] for a, b in pairwise(edges) if b > a]


KINDS = st.sampled_from([b"now", b"later", b"never", b"later never", b"", b"x" * 300])


@of(0.02)
@given(kinds=st.lists(KINDS, max_size=12), places=st.lists(st.integers(0, 10_000), max_size=30))
def test_the_same_answers_however_the_stream_is_cut(kinds: list[bytes], places: list[int]) -> None:
    stream = b"".join(framed(asks(number, kind)) for number, kind in enumerate(kinds))
    expected = sorted(asks(n, kind) for n, kind in enumerate(kinds) if not kind.endswith(b"never"))
    for pieces in ([stream], cut(stream, places), [stream[n : n + 1] for n in range(len(stream))]):
        answers = Answers()
        assert sorted(told(answers, pieces, answers.release)) == expected
        assert [packet for packet, _, _ in answers.seen] == [asks(n, kind) for n, kind in enumerate(kinds)]


LISTED = query("listed.test").to_wire()
OPEN = query("open.test").to_wire()
PIECES = st.one_of(st.binary(max_size=80), st.sampled_from([framed(LISTED), framed(OPEN), framed(LISTED)[:20]]))


@of(0.02)
@given(pieces=st.lists(PIECES, max_size=10), places=st.lists(st.integers(0, 2000), max_size=10))
def test_any_octets_of_a_stream_get_at_most_one_answer_a_message(pieces: list[bytes], places: list[int]) -> None:
    stream = b"".join(pieces)
    messages, rest = [], stream
    while len(rest) >= 2 and 12 <= int.from_bytes(rest[:2], "big") <= len(rest) - 2:
        size = int.from_bytes(rest[:2], "big")
        messages.append(rest[2 : 2 + size])
        rest = rest[2 + size :]
    may_be_answered = [one[:2] for one in messages if not one[2] & 0x80]
    house = House(reply_of, tables(1, (("listed.test",),)))
    replies = told(house.answer.answer, cut(stream, places))
    assert house.count("failed_answers_total", "internal") == 0
    broken_off = len(rest) >= 2 and int.from_bytes(rest[:2], "big") < 12
    assert broken_off or sorted(reply[:2] for reply in replies) == sorted(may_be_answered)
    assert len(replies) <= len(may_be_answered)


@pytest.mark.asyncio
@pytest.mark.parametrize("size", range(12))
async def test_a_message_shorter_than_a_header_ends_the_connection_after_what_came_before(size: int) -> None:
    async with listening() as side:
        client = await side.connect()
        client.writer.write(framed(asks(1)) + framed(bytes(size)) + framed(asks(2)))
        assert await client.rest() == framed(asks(1))
        assert [packet for packet, _, _ in side.answers.seen] == [asks(1)]


@pytest.mark.asyncio
async def test_a_message_shorter_than_a_header_while_another_waits() -> None:
    async with listening() as side:
        client = await side.connect()
        client.writer.write(framed(asks(1, b"later")) + framed(b""))
        assert await client.rest() == b""
        side.answers.release()


@pytest.mark.asyncio
async def test_who_sends_nothing_whole_is_closed() -> None:
    async with listening(idle_s=0.1) as side:
        clients = [await side.connect() for _ in range(3)]
        clients[1].writer.write(framed(asks(1))[:-1])
        clients[2].send(asks(2))
        loop = asyncio.get_running_loop()
        started = loop.time()
        assert await clients[0].rest() == b""
        assert await clients[1].rest() == b""
        assert await clients[2].rest() == framed(asks(2))
        assert 0.09 < loop.time() - started < 5
        assert not side.streams.connections


@pytest.mark.asyncio
async def test_drips_of_octets_do_not_keep_a_connection() -> None:
    async with listening(idle_s=0.2) as side:
        client = await side.connect()
        dripping = asyncio.ensure_future(client.rest())
        for octet in framed(bytes(200)):
            client.writer.write(bytes([octet]))
            await asyncio.wait([dripping], timeout=0.02)
            if dripping.done():
                break
        assert await dripping == b""
        assert side.answers.seen == []


@pytest.mark.asyncio
async def test_who_waits_for_an_answer_is_not_idle() -> None:
    async with listening(idle_s=0.05) as side:
        client = await side.connect()
        client.send(asks(1, b"later"))
        waiting = asyncio.ensure_future(client.reply())
        await asyncio.wait([waiting], timeout=0.3)
        assert not waiting.done()
        side.answers.release()
        assert await waiting == asks(1, b"later")
        assert await client.rest() == b""


@pytest.mark.asyncio
async def test_no_connection_lives_for_ever() -> None:
    async with listening(life_s=0.2) as side:
        client = await side.connect()
        count = 0
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                client.send(asks(count % 65536))
                await client.reply()
                count += 1
        assert count > 3
        assert len(side.answers.seen) in (count, count + 1)


@pytest.mark.asyncio
async def test_no_more_connections_than_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accept_stream, "MAX_CONNECTIONS", 2)
    async with listening() as side:
        first, second = await side.connect(), await side.connect()
        for client in (first, second):
            client.send(asks(1))
            await client.reply()
        third = await side.connect()
        with suppress(ConnectionError):
            third.send(asks(1))
        assert await third.rest() == b""
        assert len(side.streams.connections) == 2
        await first.close()
        await until(lambda: len(side.streams.connections) == 1)
        fourth = await side.connect()
        fourth.send(asks(4))
        assert await fourth.reply() == asks(4)
        second.send(asks(2))
        assert await second.reply() == asks(2)


@pytest.mark.asyncio
async def test_who_has_enough_in_flight_is_not_read_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accept_stream, "MAX_IN_FLIGHT", 4)
    async with listening() as side:
        client = await side.connect()
        waits = b"later" + bytes(1000)
        client.send(*(asks(number, waits) for number in range(5000)))
        await until(lambda: len(side.answers.seen) == 4)
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(side.answers.seen) == 4
        assert not side.connection._transport.is_reading()
        assert len(side.connection._unread) < 2**19
        side.answers.release(2)
        assert await client.reply() == asks(2, waits)
        await until(lambda: len(side.answers.seen) == 5)
        side.answers.release()
        rest = {await client.reply() for _ in range(4999)}
        assert rest == {asks(number, waits) for number in range(5000) if number != 2}


@pytest.mark.asyncio
async def test_who_does_not_read_is_not_read_from_and_gets_everything_once_it_does() -> None:
    async with listening() as side:
        client = await side.connect(limit=1024)
        client.send(*(asks(number, b"large") for number in range(400)))
        await until(lambda: side.answers.seen and not side.connection._writable)
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(side.answers.seen) < 300, "the kernel's buffers hold some megabytes, we hold no more than our bound"
        assert side.connection._transport.get_write_buffer_size() <= accept_stream.UNSENT_OCTETS + 2 * (LARGE + 2)
        for number in range(400):
            reply = await client.reply()
            assert len(reply) == LARGE
            assert int.from_bytes(reply[:2], "big") == number


@pytest.mark.asyncio
async def test_who_never_reads_does_not_keep_a_connection() -> None:
    async with listening(idle_s=0.1) as side:
        client = await side.connect(limit=1024)
        client.send(*(asks(number, b"large") for number in range(400)))
        await until(lambda: side.answers.seen and not side.connection._writable)
        await until(lambda: not side.streams.connections)
        await client.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("most", [4, 128])
async def test_who_has_no_more_to_say_still_gets_its_answers(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(accept_stream, "MAX_IN_FLIGHT", most)
    async with listening() as side:
        client = await side.connect()
        client.send(*(asks(number, b"later") for number in range(50)), asks(50, b"large"), asks(51))
        client.writer.write_eof()
        await until(lambda: len(side.answers.seen) >= min(most, 50))
        side.answers.release()
        replies = replies_in(await client.rest())
        assert sorted(reply[:2] for reply in replies) == [n.to_bytes(2, "big") for n in range(52)]
        assert not side.streams.connections


@pytest.mark.asyncio
async def test_the_first_answer_after_the_end_is_not_the_last() -> None:
    async with listening() as side:
        client = await side.connect()
        client.send(asks(1, b"later"), asks(2, b"later"), asks(3, b"later"))
        client.writer.write_eof()
        await until(lambda: len(side.answers.seen) == 3)
        for number in (2, 3, 1):
            side.answers.release(number)
            assert await client.reply() == asks(number, b"later")
        assert await client.rest() == b""


@pytest.mark.asyncio
async def test_who_ends_with_its_queries_in_one_piece_gets_every_answer() -> None:
    async with listening() as side:
        client = await side.connect()
        client.send(*(asks(number) for number in range(1000)))
        client.writer.write_eof()
        assert replies_in(await client.rest()) == [asks(number) for number in range(1000)]


@pytest.mark.asyncio
async def test_half_a_message_at_the_end_is_nothing() -> None:
    async with listening() as side:
        client = await side.connect()
        client.writer.write(framed(asks(1, b"later")) + framed(asks(2))[:-1])
        client.writer.write_eof()
        await until(lambda: side.answers.seen)
        side.answers.release()
        assert await client.rest() == framed(asks(1, b"later"))
        other = await side.connect()
        other.writer.write_eof()
        assert await other.rest() == b""


@pytest.mark.asyncio
async def test_who_resets_while_answers_are_on_their_way_is_forgotten() -> None:
    async with listening() as side:
        for kind in (b"later", b"large", b"now"):
            client = await side.connect()
            client.send(*(asks(number, kind) for number in range(100)))
            await until(lambda: side.answers.seen)
            one = client.writer.get_extra_info("socket")
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.writer.transport.abort()
            await until(lambda: not side.streams.connections)
            side.answers.release(*range(100))
            side.answers.seen.clear()
        client = await side.connect()
        client.send(asks(1))
        assert await client.reply() == asks(1)


@pytest.mark.asyncio
async def test_at_the_end_what_waits_is_answered_and_nothing_new_is_taken() -> None:
    async with listening() as side:
        busy, idle = await side.connect(), await side.connect()
        busy.send(asks(1, b"later"))
        await until(lambda: side.answers.seen and len(side.streams.connections) == 2)
        endpoint = side.streams.addresses[0]
        side.streams.close()
        with pytest.raises(OSError, match=r"refused|Connect call failed"):
            await asyncio.open_connection(*endpoint)
        idle.send(asks(2))
        ending = asyncio.ensure_future(side.streams.drained())
        for _ in range(20):
            await asyncio.sleep(0)
        assert not ending.done()
        side.answers.release()
        await ending
        assert await busy.rest() == framed(asks(1, b"later"))
        assert await idle.rest() == b""
        assert len(side.answers.seen) == 1


@pytest.mark.asyncio
async def test_an_address_that_is_taken_leaves_nothing_open() -> None:
    async with quiet():
        with socket.create_server(("127.0.0.1", 0)) as taken:
            streams = Streams(Answers())
            with pytest.raises(OSError, match="in use"):
                await streams.open([LOOPBACK, Endpoint(*taken.getsockname())])


@pytest.mark.asyncio
async def test_many_connections_at_once_each_get_their_own() -> None:
    async with listening() as side:
        clients = await asyncio.gather(*(side.connect() for _ in range(50)))
        for number, client in enumerate(clients):
            client.send(asks(number, b"later"), asks(1000 + number))
        side.answers.release()
        for number, client in enumerate(clients):
            assert {await client.reply(), await client.reply()} == {asks(number, b"later"), asks(1000 + number)}
