"""The sockets towards one upstream: random, redrawn, closed."""

import asyncio
import socket
import time

import dns.message
import pytest

from resolver.config.values import Endpoint
from resolver.query import forward_datagram
from resolver.query.forward_datagram import Datagrams
from tests.fakes.upstream import HOST, Upstream, Way, records, serve
from tests.unit.query.parts import open_sockets, query, until

pytestmark = pytest.mark.loops

TABLE = records({("open.test", "A"): ["198.51.100.7"]})


class Asked:
    """A query on its way (forward_datagram.Asking), and what became of it."""

    def __init__(self, packet: bytes) -> None:
        self.query = packet
        self.came: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.found = 0
        self.guessed = False
        self.replies = 0
        self.hints: list[str] = []

    def replied(self, reply: bytes, found: int) -> None:
        self.found = found
        self.replies += 1
        if not self.came.done():
            self.came.set_result(reply)

    def failed(self, reason: str) -> None:
        if not self.came.done():
            self.came.set_exception(ConnectionAbortedError(reason))

    def hinted(self, reason: str) -> None:
        self.hints.append(reason)

    def suspected(self) -> None:
        self.guessed = True


def _nothing() -> None:
    """What a datagram that answers no query does here."""


def send(lines: Datagrams, packet: bytes = b"") -> Asked:
    """Send one query."""
    asked = Asked(packet or query("open.test").to_wire())
    lines.send(asked, time.monotonic())
    return asked


async def ask(lines: Datagrams, packet: bytes = b"") -> bytes:
    """One query and its reply."""
    async with asyncio.timeout(120):
        return await send(lines, packet).came


def lines_to(upstream: Upstream) -> Datagrams:
    return Datagrams(Endpoint(HOST, upstream.port), _nothing)


@pytest.mark.asyncio
async def test_a_reply_comes_back_under_the_id_that_was_asked_with() -> None:
    async with serve(TABLE) as upstream:
        lines = lines_to(upstream)
        packet = query("open.test").to_wire()
        reply = await ask(lines, packet)
        assert reply[:2] == packet[:2]
        assert dns.message.from_wire(reply).answer
        lines.close()


@pytest.mark.asyncio
async def test_many_sockets_and_no_more_than_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward_datagram, "SOCKETS", 8)
    async with serve(TABLE) as upstream:
        before = open_sockets()
        lines = lines_to(upstream)
        for _ in range(200):
            await ask(lines)
        assert len(set(upstream.sources)) == 8
        assert open_sockets() == before + 8
        lines.close()
        assert open_sockets() == before


@pytest.mark.asyncio
@pytest.mark.parametrize(("name", "value"), [("QUERIES_A_SOCKET", 3), ("SECONDS_A_SOCKET", -1.0)])
async def test_a_socket_is_drawn_again(monkeypatch: pytest.MonkeyPatch, name: str, value: float) -> None:
    monkeypatch.setattr(forward_datagram, "SOCKETS", 1)
    monkeypatch.setattr(forward_datagram, name, value)
    async with serve(TABLE) as upstream:
        before = open_sockets()
        lines = lines_to(upstream)
        for _ in range(12):
            await ask(lines)
            assert open_sockets() == before + 1
        assert len(set(upstream.sources)) >= (4 if name == "QUERIES_A_SOCKET" else 10)
        lines.close()
        assert open_sockets() == before


@pytest.mark.asyncio
async def test_a_retired_socket_still_brings_what_is_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward_datagram, "SOCKETS", 1)
    monkeypatch.setattr(forward_datagram, "QUERIES_A_SOCKET", 1)
    async with serve(TABLE) as upstream:
        before = open_sockets()
        lines = lines_to(upstream)
        upstream.hold()
        waiting = [send(lines) for _ in range(4)]
        await until(lambda: upstream.exchanges["udp"] == 4)
        assert open_sockets() == before + 4
        upstream.release()
        for task in waiting:
            assert dns.message.from_wire(await task.came).answer
        await until(lambda: open_sockets() == before + 1)
        lines.close()
        assert open_sockets() == before


@pytest.mark.asyncio
async def test_an_id_that_is_in_flight_is_not_drawn_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward_datagram, "draw", iter([0, 7, 0, 7, 7, 9]).__next__)
    async with serve(TABLE) as upstream:
        lines = lines_to(upstream)
        upstream.hold()
        first, second = send(lines), send(lines)
        await until(lambda: upstream.exchanges["udp"] == 2)
        assert [seen.id for seen in upstream.queries] == [7, 9]
        upstream.release()
        await asyncio.gather(first.came, second.came)
        lines.close()


def test_numbers_are_drawn_from_all_that_sixteen_bits_hold() -> None:
    drawn = [forward_datagram.draw() for _ in range(20_000)]
    assert 0 <= min(drawn) < 100
    assert 65_435 < max(drawn) <= 65_535
    assert len(set(drawn)) > 15_000


@pytest.mark.asyncio
async def test_a_query_that_is_forgotten_is_not_answered_and_takes_no_other_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forward_datagram, "draw", iter([0, 7, 0, 8]).__next__)
    async with serve(TABLE) as upstream:
        lines = lines_to(upstream)
        upstream.hold()
        gone, other = Asked(query("open.test").to_wire()), Asked(query("open.test").to_wire())
        line, identity = lines.send(gone, time.monotonic())
        lines.send(other, time.monotonic())
        line.forget(identity, other)
        assert line.flights == {7: gone, 8: other}
        line.forget(identity, gone)
        upstream.release()
        await other.came
        assert gone.replies == 0
        lines.close()


@pytest.mark.asyncio
async def test_replies_shorter_than_a_header_are_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each length below 12, then the honest reply, from a socket that answers by hand."""
    monkeypatch.setattr(forward_datagram, "STRANGE", 13)
    with socket.socket(type=socket.SOCK_DGRAM) as upstream:
        upstream.bind((HOST, 0))
        upstream.setblocking(False)
        lines = Datagrams(Endpoint(*upstream.getsockname()), _nothing)
        waiting = send(lines)
        await asyncio.sleep(0)
        seen, peer = upstream.recvfrom(4096)
        honest = dns.message.make_response(dns.message.from_wire(seen)).to_wire()
        for size in range(12):
            upstream.sendto(honest[:size], peer)
        upstream.sendto(honest, peer)
        assert (await waiting.came)[2:] == honest[2:]
        lines.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("later", [1, 2, 3])
async def test_all_who_wait_on_a_socket_are_told_that_nobody_listens_and_go_on(
    monkeypatch: pytest.MonkeyPatch, later: int
) -> None:
    monkeypatch.setattr(forward_datagram, "SOCKETS", 1)
    with socket.socket(type=socket.SOCK_DGRAM) as one:
        one.bind((HOST, 0))
        lines = Datagrams(Endpoint(*one.getsockname()), _nothing)
        early = [send(lines) for _ in range(3)]
        await asyncio.sleep(0)
    # The next one sent meets the closed port, or whoever sends after it learns of it first.
    late = [send(lines) for _ in range(later)]
    await until(lambda: all(asked.hints for asked in early + late))
    assert {hint for asked in early + late for hint in asked.hints} == {"refused"}
    assert not any(asked.came.done() for asked in early + late)
    lines.close()
    for asked in early + late:
        with pytest.raises(ConnectionAbortedError, match="network"):
            await asked.came


@pytest.mark.asyncio
async def test_after_an_error_the_same_socket_still_brings_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward_datagram, "SOCKETS", 1)
    before = open_sockets()
    with socket.socket(type=socket.SOCK_DGRAM) as gone:
        gone.bind((HOST, 0))
        where = gone.getsockname()
    lines = Datagrams(Endpoint(*where), _nothing)
    first = send(lines)
    await until(lambda: bool(first.hints))
    with socket.socket(type=socket.SOCK_DGRAM) as upstream:
        upstream.bind(where)
        upstream.setblocking(False)
        for _ in range(3):
            asked = send(lines)
            seen, peer = upstream.recvfrom(4096)
            upstream.sendto(dns.message.make_response(dns.message.from_wire(seen)).to_wire(), peer)
            async with asyncio.timeout(120):
                assert await asked.came
            assert open_sockets() == before + 2, "the upstream's and ours"
    lines.close()
    assert open_sockets() == before


@pytest.mark.asyncio
async def test_three_errors_without_an_answer_show_that_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as gone:
        gone.bind((HOST, 0))
        where = gone.getsockname()
    lines = Datagrams(Endpoint(*where), _nothing)
    for number in range(1, 5):
        asked = send(lines)
        await until(lambda: bool(asked.hints))  # noqa: B023 - awaited within the turn
        assert lines.is_closed(0) == (number >= 3)
    assert not lines.is_closed(1), "an answer has come since the query was sent"
    with socket.socket(type=socket.SOCK_DGRAM) as upstream:
        upstream.bind(where)
        upstream.setblocking(False)
        asked = send(lines)
        seen, peer = upstream.recvfrom(4096)
        upstream.sendto(dns.message.make_response(dns.message.from_wire(seen)).to_wire(), peer)
        await asked.came
    assert lines.answers == 1
    assert not lines.is_closed(1), "an answer ends the run of errors"
    lines.close()


@pytest.mark.asyncio
async def test_an_error_more_than_was_sent_is_forged_and_none_is_believed_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The kernel takes an error for a socket if it quotes its two ends: here our own port's, refused on purpose."""
    lines = Datagrams(Endpoint(HOST, 9), _nothing)
    for _ in range(3):
        lines.refused(forged=False)
    assert lines.is_closed(0)
    assert not lines.is_forged()
    lines.refused(forged=True)
    assert lines.is_forged()
    assert not lines.is_closed(0)
    monkeypatch.setattr(forward_datagram, "FORGED_S", 0.0)
    other = Datagrams(Endpoint(HOST, 9), _nothing)
    other.refused(forged=True)
    other.refused(forged=False)
    other.refused(forged=False)
    await until(lambda: other.is_closed(0))


@pytest.mark.asyncio
async def test_closing_tells_who_waits() -> None:
    async with serve(TABLE) as upstream:
        upstream.otherwise = (Way.SILENT,)
        before = open_sockets()
        lines = lines_to(upstream)
        waiting = send(lines)
        await until(lambda: upstream.exchanges["udp"] == 1)
        lines.close()
        with pytest.raises(ConnectionAbortedError):
            await waiting.came
        assert open_sockets() == before


@pytest.mark.asyncio
async def test_an_upstream_of_ipv6_is_asked_over_ipv6() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as upstream:
        upstream.bind(("::1", 0))
        upstream.setblocking(False)
        lines = Datagrams(Endpoint(*upstream.getsockname()[:2]), _nothing)
        waiting = send(lines)
        await asyncio.sleep(0)
        seen, peer = upstream.recvfrom(4096)
        upstream.sendto(dns.message.make_response(dns.message.from_wire(seen)).to_wire(), peer)
        assert await waiting.came
        lines.close()


@pytest.mark.asyncio
async def test_each_datagram_that_answers_no_query_is_told() -> None:
    told: list[None] = []
    async with serve(TABLE) as upstream:
        lines = Datagrams(Endpoint(HOST, upstream.port), lambda: told.append(None))
        upstream.script.append((Way.WRONG_ID, Way.WRONG_QUESTION, Way.HONEST))
        await ask(lines)
        lines.close()
    assert len(told) == 2


@pytest.mark.asyncio
async def test_a_socket_at_which_somebody_guesses_goes_and_who_waits_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward_datagram, "SOCKETS", 1)
    async with serve(TABLE) as upstream:
        before = open_sockets()
        strange: list[int] = []
        lines = Datagrams(Endpoint(HOST, upstream.port), lambda: strange.append(1))
        upstream.script.append((Way.WRONG_ID,) * (forward_datagram.STRANGE - 1))
        first = send(lines)
        await until(lambda: len(strange) == forward_datagram.STRANGE - 1)
        assert not first.guessed
        upstream.script.append((Way.WRONG_ID,))
        second = send(lines)
        await until(lambda: first.guessed and second.guessed)
        assert open_sockets() == before
        assert await ask(lines)
        assert len(set(upstream.sources)) == 2, "a port that nobody has seen"
        lines.close()


@pytest.mark.asyncio
async def test_strange_datagrams_count_only_while_somebody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward_datagram, "SOCKETS", 1)
    async with serve(TABLE) as upstream:
        told: list[None] = []
        lines = Datagrams(Endpoint(HOST, upstream.port), lambda: told.append(None))
        upstream.otherwise = (Way.HONEST, *(Way.WRONG_ID,) * 20)
        for number in range(5):
            asked = send(lines)
            await asked.came
            await until(lambda: len(told) == 20 * (number + 1))  # noqa: B023 - awaited within the turn
            assert not asked.guessed
        assert len(set(upstream.sources)) == 1
        lines.close()


@pytest.mark.asyncio
async def test_without_another_socket_an_open_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve(TABLE) as upstream:
        lines = lines_to(upstream)
        await ask(lines)

        def none_left(*_: object) -> None:
            raise OSError(24, "no more")

        monkeypatch.setattr(forward_datagram, "Line", none_left)
        for _ in range(5):
            assert await ask(lines)
        monkeypatch.undo()
        assert len(set(upstream.sources)) == 1
        lines.close()
        monkeypatch.setattr(forward_datagram, "Line", none_left)
        with pytest.raises(OSError, match="no more"):
            send(lines_to(upstream))
