"""The connections to one upstream: kept, shared by several queries, each for one prefix at a time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import dns.message
import pytest

from resolver.config.values import Endpoint
from resolver.query import forward_stream
from resolver.query.forward_stream import Stream, Streams
from tests.unit.query.parts import open_sockets, query, reply_of, until

pytestmark = pytest.mark.loops

ONE, TWO, THREE = (bytes(10) + b"\xff\xff\xc0\0\2" + bytes([number]) for number in (1, 2, 3))


class Asked:
    """A query on its way (forward_stream.Asking), and what became of it."""

    def __init__(self, client: bytes = ONE, name: str = "open.test") -> None:
        self.query = query(name).to_wire()
        self.client = client
        self.stream: Stream | None = None
        self.came: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def replied_by_stream(self, reply: bytes) -> None:
        assert not self.came.done()
        self.came.set_result(reply)

    def failed(self, reason: str) -> None:
        assert not self.came.done()
        self.came.set_exception(ConnectionError(reason))

    async def outcome(self) -> str:
        """What became of it: "answered", or the reason of its failure."""
        async with asyncio.timeout(120):
            try:
                reply = await self.came
            except ConnectionError as error:
                return str(error)
        assert reply[:2] == self.query[:2]
        assert dns.message.from_wire(reply).answer
        return "answered"


class Far:
    """The other side: what arrived, on which connection, and what it sends."""

    def __init__(self) -> None:
        self.port = 0
        self.seen: list[tuple[int, bytes]] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.silent = False
        self.ended = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(self.writers)
        self.writers.append(writer)
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                packet = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
                self.seen.append((number, packet))
                if not self.silent:
                    self.reply(len(self.seen) - 1)
        self.ended += 1
        writer.close()

    def reply(self, which: int) -> None:
        """Answer the query that arrived as number `which`."""
        number, packet = self.seen[which]
        self.send(number, framed(packet))

    def send(self, number: int, octets: bytes) -> None:
        self.writers[number].write(octets)


def framed(packet: bytes) -> bytes:
    reply = reply_of(dns.message.from_wire(packet), ["open.test. 300 A 198.51.100.7"]).to_wire()
    return len(reply).to_bytes(2, "big") + reply


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Far, Streams]]:
    """The other side and our connections to it; in the end none is left."""
    before = open_sockets()
    far = Far()
    server = await asyncio.start_server(far.serve, "127.0.0.1", 0)
    streams = Streams(Endpoint(*server.sockets[0].getsockname()))
    try:
        yield far, streams
    finally:
        await streams.close()
        assert streams.open == 0
        await until(lambda: far.ended == len(far.writers))
        server.close()
        await server.wait_closed()
        await until(lambda: open_sockets() <= before)


@pytest.mark.asyncio
async def test_one_connection_serves_one_query_after_the_other() -> None:
    async with connected() as (far, streams):
        for client in (ONE, TWO, THREE):
            asked = Asked(client)
            assert streams.ask(asked)
            assert await asked.outcome() == "answered"
        assert [number for number, _ in far.seen] == [0, 0, 0]
        assert [packet[2:] for _, packet in far.seen] == [query("open.test").to_wire()[2:]] * 3
        assert streams.open == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
async def test_a_reply_in_pieces_of_any_size(size: int) -> None:
    async with connected() as (far, streams):
        far.silent = True
        asked = Asked()
        streams.ask(asked)
        await until(lambda: len(far.seen) == 1)
        octets = framed(far.seen[0][1])
        for at in range(0, len(octets), size):
            far.send(0, octets[at : at + size])
            await far.writers[0].drain()
            await asyncio.sleep(0)
        assert await asked.outcome() == "answered"


@pytest.mark.asyncio
async def test_at_the_bound_of_a_prefix_its_queries_share_its_connections_in_any_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forward_stream, "PREFIX_STREAMS", 2)
    monkeypatch.setattr(forward_stream, "PIPELINED", 3)
    async with connected() as (far, streams):
        far.silent = True
        asked = [Asked(ONE) for _ in range(7)]
        assert [streams.ask(one) for one in asked] == [True] * 6 + [False]
        await until(lambda: len(far.seen) == 6)
        assert [number for number, _ in far.seen].count(0) == 3
        assert streams.open == 2
        for which in (5, 3, 1, 4, 2, 0):
            far.reply(which)
        assert [await one.outcome() for one in asked[:6]] == ["answered"] * 6
        assert streams.open == 2


@pytest.mark.asyncio
async def test_what_hangs_delays_only_its_own_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward_stream, "PREFIX_STREAMS", 2)
    async with connected() as (far, streams):
        far.silent = True
        hang = [Asked(ONE) for _ in range(10)]
        for one in hang:
            streams.ask(one)
        await until(lambda: len(far.seen) == 10)
        far.silent = False
        victim = Asked(TWO)
        assert streams.ask(victim)
        assert await victim.outcome() == "answered"
        assert far.seen[10][0] == 2, "on a connection of its own"
        assert not any(one.came.done() for one in hang)


@pytest.mark.asyncio
async def test_where_all_are_busy_who_holds_most_gives_up_the_one_held_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward_stream, "STREAMS", 3)
    async with connected() as (far, streams):
        far.silent = True
        hang = [Asked(ONE), Asked(ONE), Asked(TWO)]
        for one in hang:
            streams.ask(one)
            await until(lambda: len(far.seen) == hang.index(one) + 1)  # noqa: B023 - awaited within the turn
        far.silent = False
        victim = Asked(THREE)
        assert streams.ask(victim)
        assert await victim.outcome() == "answered"
        assert await hang[0].outcome() == "timeout"
        assert not hang[1].came.done()
        assert not hang[2].came.done()
        assert streams.open == 3
        # All hold one now, and one is idle: the next takes that, and then nobody holds more than who wants.
        far.silent = True
        assert streams.ask(Asked(ONE))
        assert streams.open == 3
        assert streams.ask(Asked(TWO))
        assert streams.open == 3, "one of its own, shared"


@pytest.mark.asyncio
async def test_a_connection_with_a_query_left_unanswered_takes_no_new_one() -> None:
    async with connected() as (far, streams):
        far.silent = True
        asked = Asked(ONE)
        streams.ask(asked)
        await until(lambda: len(far.seen) == 1)
        assert asked.stream
        asked.stream.forget(asked)
        assert streams.open == 0
        await until(lambda: far.ended == 1)
        other = Asked(ONE)
        streams.ask(other)
        await until(lambda: len(far.seen) == 2)
        far.reply(1)
        assert await other.outcome() == "answered"


@pytest.mark.asyncio
async def test_an_answer_to_a_query_left_unanswered_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward_stream, "PREFIX_STREAMS", 1)
    async with connected() as (far, streams):
        far.silent = True
        gone, other, late = Asked(ONE), Asked(ONE), Asked(ONE)
        streams.ask(gone)
        streams.ask(other)
        await until(lambda: len(far.seen) == 2)
        assert gone.stream
        gone.stream.forget(gone)
        assert not streams.ask(late), "the prefix's only connection takes no more"
        far.reply(0)
        far.reply(1)
        assert await other.outcome() == "answered"
        assert not gone.came.done()
        assert streams.open == 0


@pytest.mark.asyncio
async def test_a_query_that_meets_the_end_of_a_kept_connection_is_asked_once_more() -> None:
    async with connected() as (far, streams):
        first = Asked()
        streams.ask(first)
        assert await first.outcome() == "answered"
        far.silent = True
        second = Asked()
        streams.ask(second)
        await until(lambda: len(far.seen) == 2)
        far.writers[0].close()
        await until(lambda: len(far.seen) == 3)
        assert far.seen[2][0] == 1
        far.writers[1].close()
        assert await second.outcome() == "network", "not a third time"


@pytest.mark.asyncio
async def test_a_connection_that_ends_while_idle_is_only_forgotten() -> None:
    async with connected() as (far, streams):
        first = Asked()
        streams.ask(first)
        assert await first.outcome() == "answered"
        far.writers[0].close()
        await until(lambda: streams.open == 0)
        second = Asked()
        streams.ask(second)
        assert await second.outcome() == "answered"


@pytest.mark.asyncio
async def test_an_idle_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward_stream, "IDLE_S", 0.01)
    async with connected() as (far, streams):
        asked = Asked()
        streams.ask(asked)
        assert await asked.outcome() == "answered"
        await until(lambda: streams.open == 0 and far.ended == 1)


@pytest.mark.asyncio
@pytest.mark.parametrize("cut", [0, 1, 2, 3, 14, 40])
async def test_a_reply_cut_short_is_none(cut: int) -> None:
    async with connected() as (far, streams):
        far.silent = True
        asked = Asked()
        streams.ask(asked)
        await until(lambda: len(far.seen) == 1)
        far.send(0, framed(far.seen[0][1])[:cut])
        far.writers[0].close()
        assert await asked.outcome() == "network"


@pytest.mark.asyncio
@pytest.mark.parametrize("size", range(12))
async def test_a_reply_shorter_than_a_header_is_none(size: int) -> None:
    async with connected() as (far, streams):
        far.silent = True
        asked = Asked()
        streams.ask(asked)
        await until(lambda: len(far.seen) == 1)
        far.send(0, size.to_bytes(2, "big") + bytes(size))
        assert await asked.outcome() == "network"


@pytest.mark.asyncio
@pytest.mark.parametrize("wrong", ["id", "question", "query"])
async def test_what_answers_no_query_there_ends_the_connection(wrong: str) -> None:
    async with connected() as (far, streams):
        far.silent = True
        asked, beside = Asked(), Asked()
        streams.ask(asked)
        await until(lambda: len(far.seen) == 1)
        reply = bytearray(framed(far.seen[0][1]))
        if wrong == "id":
            reply[2] ^= 0x55
        elif wrong == "question":
            reply[15] ^= 1
        else:
            reply[4] &= 0x7F
        streams.ask(beside)
        far.send(0, bytes(reply))
        assert await asked.outcome() == "mismatch"
        assert streams.open == 1, "what is on another connection goes on"
        await until(lambda: len(far.seen) == 2)
        far.reply(1)
        assert await beside.outcome() == "answered"


@pytest.mark.asyncio
async def test_where_nobody_listens_it_is_an_error_of_the_network() -> None:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    endpoint = Endpoint(*server.sockets[0].getsockname())
    server.close()
    await server.wait_closed()
    streams = Streams(endpoint)
    asked = [Asked() for _ in range(3)]
    for one in asked:
        streams.ask(one)
    assert [await one.outcome() for one in asked] == ["network"] * 3
    assert streams.open == 0
    await streams.close()


@pytest.mark.asyncio
async def test_who_gives_up_while_it_is_opened_leaves_no_connection() -> None:
    async with connected() as (far, streams):
        asked = Asked()
        streams.ask(asked)
        assert asked.stream
        asked.stream.forget(asked)
        assert streams.open == 0
        await asyncio.sleep(0)
        assert not asked.came.done()
        assert far.seen == []
