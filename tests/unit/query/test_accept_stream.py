"""Queries over TCP: framing, pipelining, and every bound on what one client can hold."""

import asyncio
import errno
import os
import resource
import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.config.values import Endpoint, address_octets
from resolver.query import accept_connection, accept_sockets, accept_stream
from resolver.query.accept_stream import Streams
from resolver.query.transport import Transport, framed
from tests.parity.cases import of
from tests.unit.query.clients import LOOPBACK, bounds, listening
from tests.unit.query.parts import House, query, reply_of, tables, until
from tests.unit.query.senders import LARGE, Answers, asks, quiet, together

pytestmark = pytest.mark.loops


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
        assert {over for _, _, over in side.answers.seen} == {Transport.TCP}


@pytest.mark.asyncio
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_the_client_is_who_connected(host: str) -> None:
    async with listening(Endpoint(host, 0)) as side:
        client = await side.connect()
        client.send(asks(1))
        await client.reply()
        assert side.answers.seen == [(asks(1), address_octets(host), Transport.TCP)]


@pytest.mark.asyncio
async def test_who_is_not_allowed_takes_no_place() -> None:
    async with listening(limits=bounds(connections=1)) as side:
        client = await side.connect()
        client.send(asks(1))
        await client.reply()
        side.streams.allowed = lambda client: False
        for _ in range(5):
            assert await side.refuses()
        client.send(asks(2))
        assert await client.reply() == asks(2), "whoever holds a place keeps it: each query is judged by the ACL"
        assert side.dropped == ["not_allowed"] * 5
        assert len(side.streams.connections) == 1


class Wire(asyncio.Transport):
    """A transport that keeps what is written; reading goes on by hand."""

    def __init__(self) -> None:
        super().__init__()
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

    def get_write_buffer_size(self) -> int:
        return 0

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
        streams = Streams(together(answer), lambda reason: None, bounds())
        connection, wire = streams.accepted(address_octets("192.0.2.10")), Wire()
        assert connection
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
    async with listening(idle_s=0.4) as side:
        client = await side.connect()
        client.send(asks(1, b"later"))
        waiting = asyncio.ensure_future(client.reply())
        await asyncio.wait([waiting], timeout=1.2)
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
async def test_who_has_enough_in_flight_is_not_read_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accept_connection, "MAX_IN_FLIGHT", 4)
    async with listening() as side:
        client = await side.connect()
        waits = b"later" + bytes(1000)
        client.send(*(asks(number, waits) for number in range(5000)))
        await until(lambda: len(side.answers.seen) == 4)
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(side.answers.seen) == 4
        assert not side.connection.reading
        assert side.connection.buffered() < 2**19
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
        await until(lambda: side.answers.seen and not side.connection.writable)
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(side.answers.seen) < 300, "the kernel's buffers hold some megabytes, we hold no more than our bound"
        assert side.connection.buffered() <= accept_connection.UNSENT_OCTETS + 2 * (LARGE + 2)
        for number in range(400):
            reply = await client.reply()
            assert len(reply) == LARGE
            assert int.from_bytes(reply[:2], "big") == number


@pytest.mark.asyncio
async def test_who_never_reads_does_not_keep_a_connection() -> None:
    async with listening(idle_s=0.1) as side:
        client = await side.connect(limit=1024)
        client.send(*(asks(number, b"large") for number in range(400)))
        await until(lambda: side.answers.seen and not side.connection.writable)
        await until(lambda: not side.streams.connections)
        assert len(side.answers.seen) < 400, "it ended before all its queries were taken"
        await client.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("most", [4, 128])
async def test_who_has_no_more_to_say_still_gets_its_answers(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(accept_connection, "MAX_IN_FLIGHT", most)
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
        idle.send(asks(3))
        await idle.reply()
        busy.send(asks(1, b"later"))
        await until(lambda: len(side.answers.seen) == 2)
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
        assert len(side.answers.seen) == 2


@pytest.mark.asyncio
async def test_at_the_end_who_has_just_connected_may_ask_once_and_nobody_is_waited_for_long() -> None:
    async with listening() as side:
        new, silent = await side.connect(), await side.connect()
        await until(lambda: len(side.streams.connections) == 2)
        side.streams.close()
        ending = asyncio.ensure_future(side.streams.drained())
        new.send(asks(1))
        assert await new.reply() == asks(1)
        await ending
        assert await new.rest() == await silent.rest() == b""


@pytest.mark.asyncio
async def test_an_address_that_is_taken_leaves_nothing_open() -> None:
    async with quiet():
        with socket.create_server(("127.0.0.1", 0)) as taken:
            streams = Streams(together(Answers()), lambda reason: None, bounds())
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


@pytest.mark.asyncio
async def test_no_more_connections_than_so_many_and_the_longest_idle_makes_room() -> None:
    async with listening(limits=bounds(connections=3)) as side:
        first, second, third = [await side.connect() for _ in range(3)]
        for client in (second, first, third):
            client.send(asks(1))
            await client.reply()
        first.send(asks(2, b"later"))
        await until(lambda: len(side.answers.seen) == 4)
        fourth = await side.connect()
        fourth.send(asks(4))
        assert await fourth.reply() == asks(4)
        assert await second.rest() == b""
        assert len(side.streams.connections) == 3
        side.answers.release()
        assert await first.reply() == asks(2, b"later")
        third.send(asks(3))
        assert await third.reply() == asks(3)
        assert side.dropped == []


@pytest.mark.asyncio
async def test_where_all_wait_for_answers_the_newcomer_is_refused() -> None:
    async with listening(limits=bounds(connections=2)) as side:
        holders = [await side.connect() for _ in range(2)]
        for number, client in enumerate(holders):
            client.send(asks(number, b"later"))
        await until(lambda: len(side.answers.seen) == 2)
        assert await side.refuses()
        assert side.dropped == ["connection_limit"]
        side.answers.release()
        for number, client in enumerate(holders):
            assert await client.reply() == asks(number, b"later")


@pytest.mark.asyncio
async def test_one_client_has_so_many_connections_and_others_have_theirs() -> None:
    exempt = address_octets("127.0.0.9")
    async with listening(limits=bounds(per_client=2, exempt=lambda client: client == exempt)) as side:
        for host in ("127.0.0.2", "127.0.0.2", "127.0.0.3", *["127.0.0.9"] * 5):
            client = await side.connect(local_addr=(host, 0))
            client.send(asks(1))
            assert await client.reply() == asks(1)
        assert await side.refuses(local_addr=("127.0.0.2", 0))
        assert side.dropped == ["connection_limit"]
        await side.clients[0].close()
        await until(lambda: len(side.streams.connections) == 7)
        again = await side.connect(local_addr=("127.0.0.2", 0))
        again.send(asks(1))
        assert await again.reply() == asks(1)


@pytest.mark.asyncio
async def test_bounds_may_be_replaced_while_it_answers() -> None:
    async with listening() as side:
        side.streams.bounds = bounds(connections=1, per_client=1)
        first = await side.connect()
        first.send(asks(1))
        assert await first.reply() == asks(1)
        assert await side.refuses()
        side.streams.bounds = bounds(connections=2, per_client=2)
        second = await side.connect()
        second.send(asks(2))
        assert await second.reply() == asks(2)


@pytest.mark.asyncio
async def test_where_places_are_few_who_is_silent_goes_sooner() -> None:
    async with listening(limits=bounds(connections=4), idle_s=40) as side:
        clients = [await side.connect() for _ in range(3)]
        await until(lambda: len(side.streams.connections) == 3)
        loop = asyncio.get_running_loop()
        for one in side.streams.places._mute:
            side.streams.places._mute[one] = loop.time() - 11
        side.streams.look()
        for client in clients:
            assert await client.rest() == b""


@pytest.mark.asyncio
async def test_octets_that_all_hold_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accept_stream, "BUFFERED_OCTETS", 2**20)
    async with listening() as side:
        honest = await side.connect()
        honest.send(asks(1))
        await honest.reply()
        crowd = [await side.connect() for _ in range(40)]
        for client in crowd:
            client.writer.write(b"\xff\xff" + bytes(60_000))
        await until(lambda: side.dropped)
        # What was on its way when the first went may fill what there is once more.
        await asyncio.sleep(0)
        assert set(side.dropped) == {"connection_limit"}
        assert sum(one.buffered() for one in side.streams.connections) <= 2**20
        honest.send(asks(2))
        assert await honest.reply() == asks(2)


class Exhausted:
    """A listening socket whose `accept` finds no file for one more connection, the first few times."""

    def __init__(self, listening: socket.socket, failures: list[int]) -> None:
        self.listening = listening
        self.failures = failures
        self.asked = 0
        self.fileno = listening.fileno
        self.getsockname = listening.getsockname
        self.close = listening.close

    def accept(self) -> tuple[socket.socket, Any]:
        self.asked += 1
        if self.failures:
            raise OSError(self.failures.pop(0), "no file")
        return self.listening.accept()


@pytest.mark.asyncio
async def test_no_file_left_neither_spins_nor_stops_listening(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = accept_sockets.streams
    made: list[Exhausted] = []

    def few(*given: Any) -> list[Any]:
        made.extend(Exhausted(one, [errno.EMFILE, errno.ENFILE, errno.EMFILE]) for one in real(*given))
        return list(made)

    monkeypatch.setattr(accept_sockets, "streams", few)
    async with listening() as side:
        held = side.streams.accepted(address_octets("192.0.2.1"))
        assert held
        client = await side.connect()
        client.send(asks(1))
        assert await client.reply() == asks(1)
        assert made[0].asked <= 6, "three failures, one connection, the end of the queue"
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert "LimitNOFILE" in caplog.text
        assert held not in side.streams.connections, "one that was idle made room"


@pytest.mark.asyncio
async def test_the_process_really_out_of_files(caplog: pytest.LogCaptureFixture) -> None:
    """Connections wait in the kernel's queue as long as there is no file, and are served then."""
    async with listening() as side:
        first = await side.connect()
        first.send(asks(1))
        await first.reply()
        busy = await side.connect()
        busy.send(asks(2, b"later"))
        await until(lambda: len(side.answers.seen) == 2)
        waiting = socket.socket()
        waiting.setblocking(False)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 1, hard))
        held = []
        try:
            with suppress(OSError):
                while True:
                    held.append(os.open("/dev/null", os.O_RDONLY))
            await asyncio.get_running_loop().sock_connect(waiting, side.streams.addresses[0])
            await until(lambda: "no file descriptor left" in caplog.text)
            assert await first.rest() == b"", "the idle one gave its file"
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for one in held:
                os.close(one)
        await asyncio.get_running_loop().sock_sendall(waiting, framed(asks(3)))
        async with asyncio.timeout(120):
            assert await asyncio.get_running_loop().sock_recv(waiting, 100) == framed(asks(3))
        waiting.close()
        side.answers.release()
        assert await busy.reply() == asks(2, b"later")


@pytest.mark.asyncio
async def test_too_few_files_for_the_bound_are_told_at_the_start(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (400, 4000))
    async with listening() as side:
        assert side.streams.places.most == 300
        assert "at most 300 connections, not limits.connections = 1000" in caplog.text


@pytest.mark.asyncio
async def test_a_socket_that_was_handed_over_is_listened_on() -> None:
    async with quiet():
        given = socket.create_server(("127.0.0.1", 0))
        place = Endpoint(*given.getsockname())
        streams = Streams(together(Answers()), lambda reason: None, bounds())
        with pytest.raises(ValueError, match="was handed over"):
            await streams.open([LOOPBACK], [given])
        await streams.open([place], [given])
        assert streams.addresses == [place]
        reader, writer = await asyncio.open_connection(*place)
        writer.write(framed(asks(1)))
        assert await reader.readexactly(17) == framed(asks(1))
        writer.close()
        await until(lambda: not streams.connections)
        streams.close()
        await streams.drained()


@pytest.mark.asyncio
async def test_who_is_old_gets_the_answers_on_their_way() -> None:
    async with listening(life_s=0.2) as side:
        client = await side.connect()
        client.send(asks(1, b"later"))
        await until(lambda: side.answers.seen)
        await until(lambda: side.connection.draining)
        client.send(asks(2))
        side.answers.release()
        assert await client.rest() == framed(asks(1, b"later"))
        assert len(side.answers.seen) == 1
