"""The sockets towards one upstream: random, redrawn, closed."""

import asyncio
import random
import socket

import dns.message
import pytest

from resolver.core.question import Question, parse
from resolver.query import forward_datagram
from resolver.query.forward_datagram import Datagrams, Refused
from resolver.values import Endpoint
from tests.fakes.upstream import HOST, Upstream, Way, records, serve
from tests.unit.query.parts import open_sockets, query, until

TABLE = records({("open.test", "A"): ["198.51.100.7"]})


def _nothing() -> None:
    """What a datagram that answers no query does here."""


async def ask(lines: Datagrams, wait_s: float = 5, packet: bytes = b"") -> bytes:
    """One query and its reply."""
    packet = packet or query("open.test").to_wire()
    question = Question()
    parse(packet, len(packet), question)
    return await lines.ask(packet, question, wait_s)


def lines_to(upstream: Upstream) -> Datagrams:
    return Datagrams(Endpoint(HOST, upstream.port), _nothing)


@pytest.mark.asyncio
async def test_a_reply_comes_back_under_the_id_that_was_asked_with() -> None:
    async with serve(TABLE) as upstream:
        lines = lines_to(upstream)
        packet = query("open.test").to_wire()
        reply = await ask(lines, packet=packet)
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
        waiting = [asyncio.ensure_future(ask(lines)) for _ in range(4)]
        await until(lambda: upstream.exchanges["udp"] == 4)
        assert open_sockets() == before + 4
        upstream.release()
        for task in waiting:
            assert dns.message.from_wire(await task).answer
        await until(lambda: open_sockets() == before + 1)
        lines.close()
        assert open_sockets() == before


class Scripted(random.Random):
    """Draws these numbers first, for as long as there are some."""

    def __init__(self, numbers: list[int]) -> None:
        super().__init__(1)
        self.numbers = numbers

    def getrandbits(self, bits: int) -> int:
        return self.numbers.pop(0) if self.numbers else super().getrandbits(bits)

    def randrange(self, *_: int) -> int:
        return 0


@pytest.mark.asyncio
async def test_an_id_that_is_in_flight_is_not_drawn_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward_datagram, "_random", Scripted([7, 7, 7, 7, 9]))
    async with serve(TABLE) as upstream:
        lines = lines_to(upstream)
        upstream.hold()
        first, second = asyncio.ensure_future(ask(lines)), asyncio.ensure_future(ask(lines))
        await until(lambda: upstream.exchanges["udp"] == 2)
        assert [seen.id for seen in upstream.queries] == [7, 9]
        upstream.release()
        await asyncio.gather(first, second)
        lines.close()


@pytest.mark.asyncio
async def test_time_runs_out_and_a_late_reply_is_nobodys() -> None:
    async with serve(TABLE) as upstream:
        lines = lines_to(upstream)
        upstream.hold()
        with pytest.raises(TimeoutError):
            await ask(lines, 0.05)
        upstream.release()
        for _ in range(20):
            assert dns.message.from_wire(await ask(lines)).answer
        lines.close()


@pytest.mark.asyncio
async def test_replies_shorter_than_a_header_are_nothing() -> None:
    """Each length below 12, then the honest reply, from a socket that answers by hand."""
    with socket.socket(type=socket.SOCK_DGRAM) as upstream:
        upstream.bind((HOST, 0))
        upstream.setblocking(False)
        lines = Datagrams(Endpoint(*upstream.getsockname()), _nothing)
        waiting = asyncio.ensure_future(ask(lines))
        await asyncio.sleep(0)
        seen, peer = upstream.recvfrom(4096)
        honest = dns.message.make_response(dns.message.from_wire(seen)).to_wire()
        for size in range(12):
            upstream.sendto(honest[:size], peer)
        upstream.sendto(honest, peer)
        assert (await waiting)[2:] == honest[2:]
        lines.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("later", [1, 2, 3])
async def test_all_who_wait_on_a_socket_are_told_that_nobody_listens(
    monkeypatch: pytest.MonkeyPatch, later: int
) -> None:
    monkeypatch.setattr(forward_datagram, "SOCKETS", 1)
    with socket.socket(type=socket.SOCK_DGRAM) as one:
        one.bind((HOST, 0))
        lines = Datagrams(Endpoint(*one.getsockname()), _nothing)
        early = [asyncio.ensure_future(ask(lines)) for _ in range(3)]
        await asyncio.sleep(0)
    # The next one sent meets the closed port, and whoever sends after it learns of it first.
    late = [asyncio.ensure_future(ask(lines)) for _ in range(later)]
    for task in early + late:
        with pytest.raises(Refused):
            await task
    lines.close()


@pytest.mark.asyncio
async def test_closing_tells_who_waits() -> None:
    async with serve(TABLE) as upstream:
        upstream.otherwise = (Way.SILENT,)
        before = open_sockets()
        lines = lines_to(upstream)
        waiting = asyncio.ensure_future(ask(lines))
        await until(lambda: upstream.exchanges["udp"] == 1)
        lines.close()
        with pytest.raises(ConnectionAbortedError):
            await waiting
        assert open_sockets() == before


@pytest.mark.asyncio
async def test_an_upstream_of_ipv6_is_asked_over_ipv6() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as upstream:
        upstream.bind(("::1", 0))
        upstream.setblocking(False)
        lines = Datagrams(Endpoint(*upstream.getsockname()[:2]), _nothing)
        waiting = asyncio.ensure_future(ask(lines))
        await asyncio.sleep(0)
        seen, peer = upstream.recvfrom(4096)
        upstream.sendto(dns.message.make_response(dns.message.from_wire(seen)).to_wire(), peer)
        assert await waiting
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
