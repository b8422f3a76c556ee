"""What all connections of a transport share: places, rates, turns."""

import asyncio
import errno
import socket
from pathlib import Path

import pytest

from resolver.edge import accept, bounds
from resolver.edge.tls import Dot
from tests.unit.edge.sides import EVERYBODY, LOOPBACK, TlsClient, clients, side
from tests.unit.query.parts import until
from tests.unit.query.senders import asks

pytestmark = pytest.mark.loops


@pytest.mark.asyncio
async def test_who_is_not_allowed_never_begins_tls(tmp_path: Path) -> None:
    async with side(tmp_path, clients(allow=EVERYBODY[:32][:16] + EVERYBODY[:16])) as one:
        with pytest.raises(ConnectionError):
            await one.connect()
        assert one.refused() == {"not_allowed": 1}


@pytest.mark.asyncio
async def test_a_prefix_has_so_many_connections(tmp_path: Path) -> None:
    async with side(tmp_path, clients(per_client=2)) as one:
        kept = [await one.connect(), await one.connect()]
        assert await one.refuses()
        assert one.refused() == {"connection_limit": 1}
        await kept[0].close()
        await until(lambda: len(one.doors.connections) == 1)
        third = await one.connect()
        third.send(asks(1))
        assert await third.reply()


@pytest.mark.asyncio
async def test_a_new_connection_takes_the_place_of_an_idle_one(tmp_path: Path) -> None:
    async with side(tmp_path, clients(connections=2)) as one:
        one.service.answers = lambda query: None if query.message == asks(1) else query.message
        busy, idle = await one.connect(), await one.connect()
        busy.send(asks(1))
        idle.send(asks(2))
        await idle.reply()
        new = await one.connect()
        assert await idle.rest() == b""
        new.send(asks(3))
        assert await new.reply() == asks(3)
        assert one.tallies.connections == 2
        one.service.give(next(query for query in one.service.queries if query.message == asks(1)))
        assert await busy.reply()


@pytest.mark.asyncio
async def test_a_prefix_has_so_many_handshakes_a_second_unless_it_is_exempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "HANDSHAKES_A_SECOND", 1)
    async with side(tmp_path) as one:
        refused = await asyncio.gather(*(one.refuses() for _ in range(12)))
        assert 1 <= sum(refused) < 12
        assert one.refused()["flood"] == sum(refused)
    async with side(tmp_path, clients(exempt=LOOPBACK)) as one:
        assert not any(await asyncio.gather(*(one.refuses() for _ in range(12))))


@pytest.mark.asyncio
async def test_handshakes_do_not_hold_up_those_who_are_set_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of thirty clients that begin at once, each turn serves one; who is set up is answered between them."""
    monkeypatch.setattr(bounds, "HANDSHAKES_A_TURN", 1)
    async with side(tmp_path) as one:
        ready = await one.connect()
        others = [asyncio.ensure_future(one.connect()) for _ in range(30)]
        await until(lambda: one.tallies.handshakes > 1)
        ready.send(asks(1))
        await ready.reply()
        assert one.tallies.handshakes < 31
        await asyncio.gather(*others)
        await until(lambda: one.tallies.handshakes == 31)


@pytest.mark.asyncio
async def test_those_who_hold_most_are_closed_where_all_hold_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "BUFFERED_OCTETS", 2**15)
    async with side(tmp_path) as one:
        large, small = await one.connect(), await one.connect()
        large.writer.write(b"\xff\xff" + bytes(60000))
        assert await large.rest() == b""
        small.send(asks(1))
        assert await small.reply()
        assert one.refused() == {"connection_limit": 1}


class _Exhausted:
    """A listening socket for which no descriptor is left."""

    def __init__(self, one: socket.socket) -> None:
        self._one = one
        self.asked = 0

    def fileno(self) -> int:
        return self._one.fileno()

    def close(self) -> None:
        self._one.close()

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        self.asked += 1
        if self.asked > 2:
            raise BlockingIOError
        raise OSError(errno.EMFILE, "Too many open files")


@pytest.mark.asyncio
async def test_without_a_descriptor_accepting_pauses_and_one_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(accept, "PAUSE_S", 0.01)
    async with side(tmp_path) as one:
        idle = await one.connect()
        with socket.create_server(("127.0.0.1", 0)) as below, socket.create_connection(below.getsockname()):
            broken = _Exhausted(below)
            one.doors.listen([broken])  # type: ignore[list-item]  # as much of a socket as is used
            await until(lambda: broken.asked == 2)
            assert await idle.rest() == b""
            await one.doors.stop()
        assert [line.partition(":")[0] for line in caplog.messages] == ["no file descriptor left for a connection"]


@pytest.mark.asyncio
async def test_while_the_service_has_no_room_queries_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from resolver.edge import link

    monkeypatch.setattr(link, "MOST_WAITING", 4)
    async with side(tmp_path) as one:
        one.service.answers = lambda query: None
        client = await one.connect()
        client.send(*map(asks, range(40)))
        await until(lambda: len(one.service.queries) > 0)
        while len(one.service.queries) < 40:
            there = len(one.service.queries)
            for query in one.service.queries[:there]:
                one.service.give(query)
            await until(lambda there=there: len(one.service.queries) > there)  # type: ignore[misc]  # a default is no argument
        for query in one.service.queries:
            one.service.give(query)
        assert len({await client.reply() for _ in range(40)}) == 40
        assert one.refused() == {}


class _Broken(Dot):
    """A protocol that fails at one of its steps, for the first connection alone."""

    at = ""
    left = 0

    def _fails(self, step: str) -> None:
        if self.at == step and type(self).left:
            type(self).left -= 1
            raise RuntimeError("canary-7f3a.test")

    def received(self, data: bytes) -> None:
        self._fails("received")
        super().received(data)

    def called(self) -> None:
        self._fails("called")
        super().called()

    def flush(self) -> None:
        self._fails("flush")
        super().flush()


@pytest.mark.asyncio
@pytest.mark.parametrize("step", ["received", "called", "flush"])
async def test_an_error_ends_its_connection_alone_and_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, step: str
) -> None:
    monkeypatch.setattr(_Broken, "at", step)
    monkeypatch.setattr(_Broken, "left", 1)
    monkeypatch.setattr(bounds, "QUERIES_A_SHARE", 1)
    async with side(tmp_path, above=_Broken) as one:
        both = [await one.connect(), await one.connect()]
        for client in both:
            client.send(*map(asks, range(5)))

        async def answers(client: TlsClient) -> int:
            count = 0
            try:
                while count < 5:
                    await client.reply()
                    count += 1
            except (ConnectionError, asyncio.IncompleteReadError):
                return -1
            return count

        assert sorted(await asyncio.gather(*map(answers, both))) == [-1, 5]
        assert one.refused() == {"protocol": 1}
        assert caplog.messages == ["in a connection: RuntimeError; it is closed"]
