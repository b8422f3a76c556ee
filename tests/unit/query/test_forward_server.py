"""One query at one server: what counts as its reply, when TCP is asked, and what is known of the server after."""

import asyncio
import contextlib
import itertools
import random
import socket
from collections import Counter
from statistics import mean

import pytest

from resolver.config.values import Endpoint
from resolver.core import codes
from resolver.query import forward_server, forward_stream
from resolver.query.forward import Unanswered
from resolver.query.forward_server import LEAST_FOR_QUANTILES, USUAL_FOR_QUANTILES, Server
from resolver.query.forward_wheel import Wheel
from tests.fakes.stopwatch import Stopwatch
from tests.fakes.upstream import HOST, Way, serve
from tests.unit.query.forwarding import SHORT_S, TABLE, asking, at, exchange, parsed
from tests.unit.query.parts import query, until

pytestmark = pytest.mark.loops


def one_server(timeout_s: float = 2) -> Server:
    return Server(Endpoint("192.0.2.1", 53), Wheel(), timeout_s)


@pytest.mark.asyncio
async def test_a_truncated_reply_is_asked_for_again_by_tcp() -> None:
    async with serve(TABLE) as upstream, asking(at(upstream)) as one:
        upstream.script.append((Way.TRUNCATED,))
        reply = await exchange(one, query("open.test"))
        assert reply.answer
        assert upstream.exchanges == {"udp": 1, "tcp": 1}
        assert upstream.queries[0].question == upstream.queries[1].question


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("way", "reason"),
    [
        (Way.HALF, "network"),
        (Way.RESET, "network"),
        (Way.WRONG_ID, "mismatch"),
        (Way.WRONG_QUESTION, "mismatch"),
        (Way.GARBAGE, "mismatch"),
    ],
)
async def test_a_reply_by_tcp_that_is_cut_or_forged_is_no_reply(way: Way, reason: str) -> None:
    async with serve(TABLE) as upstream, asking(at(upstream)) as one:
        upstream.script.extend([(Way.TRUNCATED,), (way,), (Way.TRUNCATED,), (way,)])
        with pytest.raises(Unanswered):
            await exchange(one, query("open.test"))
        assert one.servers[0].failures[reason] == 2
        upstream.script.extend([(Way.TRUNCATED,), (way,), (Way.HONEST,)])
        assert (await exchange(one, query("open.test"))).answer, "the second try is another"


@pytest.mark.asyncio
@pytest.mark.parametrize("way", [Way.TRUNCATED, Way.HUGE])
async def test_64_kb_come_whole_by_tcp_and_never_in_a_datagram(way: Way) -> None:
    async with serve(TABLE) as upstream, asking(at(upstream), timeout_s=1) as one:
        upstream.script.extend([(way,), (Way.HUGE,)])
        packet = query("open.test").to_wire()
        reply = await one.exchange(packet, parsed(packet), (1, 1), lambda told: None)
        assert len(reply) > 60_000
        assert upstream.exchanges == {"udp": 1, "tcp": 1}


@pytest.mark.asyncio
async def test_silence_by_tcp_leaves_time_for_the_next_server_and_ends_in_time() -> None:
    async with serve(TABLE) as bad, serve(TABLE) as good, asking(at(bad), at(good), timeout_s=SHORT_S) as one:
        bad.script.extend([(Way.TRUNCATED,), (Way.SILENT,)])
        assert (await exchange(one, query("open.test"))).answer
        await until(lambda: one.servers[0].failures["timeout"] == 1)
    # Long enough that no datagram is sent again before the first reply is there, however busy the machine.
    async with serve(TABLE) as bad, asking(at(bad), timeout_s=2) as one:
        bad.script.append((Way.TRUNCATED,))
        bad.otherwise = (Way.SILENT,)
        watch = Stopwatch()
        with pytest.raises(Unanswered):
            await exchange(one, query("open.test"))
        assert watch.seconds < 3
        assert bad.exchanges["udp"] == 1, "while TCP may still answer, no datagram follows"


@pytest.mark.asyncio
async def test_no_more_connections_than_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward_stream, "STREAMS", 2)
    async with serve(TABLE) as upstream, asking(at(upstream), timeout_s=1) as one:
        upstream.otherwise = (Way.TRUNCATED,)
        most = 0
        waiting = [asyncio.ensure_future(exchange(one, query("open.test"))) for _ in range(20)]
        while not all(task.done() for task in waiting):
            most = max(most, upstream.connections)
            await asyncio.sleep(0)
        assert all(task.result().answer for task in waiting)
        assert most == 2


@pytest.mark.asyncio
@pytest.mark.parametrize(("rcode", "counts"), [(1, True), (2, True), (4, True), (5, True), (3, False), (6, False)])
async def test_only_an_error_may_come_without_the_question(rcode: int, counts: bool) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as upstream:
        upstream.bind((HOST, 0))
        upstream.setblocking(False)
        async with asking(Endpoint(*upstream.getsockname()), timeout_s=SHORT_S) as one:
            packet = query("open.test", edns=False).to_wire()
            waiting = one.exchange(packet, parsed(packet), (1, 1), lambda told: None)
            sends = 0
            while not waiting.done():
                with contextlib.suppress(BlockingIOError):
                    seen, peer = upstream.recvfrom(4096)
                    sends += 1
                    upstream.sendto(seen[:2] + b"\x81" + bytes([0x80 | rcode]) + bytes(8), peer)
                await asyncio.sleep(0)
            if counts:
                assert await waiting == packet_of(await waiting, rcode)
                assert sends == (2 if rcode in (codes.FORMERR, codes.NOTIMP) else 1), "once more without EDNS"
            else:
                with pytest.raises(Unanswered):
                    await waiting
                assert one.servers[0].failures["mismatch"] == 2


def packet_of(reply: bytes, rcode: int) -> bytes:
    """A header that holds this rcode, and no more, under the reply's id."""
    return reply[:2] + b"\x81" + bytes([0x80 | rcode]) + bytes(8)


@pytest.mark.asyncio
async def test_where_somebody_guesses_tcp_is_asked() -> None:
    async with serve(TABLE) as upstream, asking(at(upstream)) as one:
        upstream.script.append((Way.WRONG_ID,) * 10)
        assert (await exchange(one, query("open.test"))).answer
        assert upstream.exchanges == {"udp": 1, "tcp": 1}
        assert one.servers[0].failures["mismatch"] == 10


def test_quantiles_are_told_above_a_hundred_exchanges_of_the_last_thousand() -> None:
    server = one_server()
    for _ in range(LEAST_FOR_QUANTILES - 1):
        server.took(0.5, sure=True)
    assert server.latency(0.5) is None
    while server.latency(0.5) is None:
        server.took(0.5, sure=False)
    assert server.latency(0.5) == 0.5
    for number in range(10_000):
        server.took(number % 1000 / 1000, sure=True)
    assert server.latency(0.5) == pytest.approx(0.5, abs=0.002)
    assert server.latency(0.99) == pytest.approx(0.99, abs=0.002)


def test_no_single_exchange_is_seen_in_the_quantiles() -> None:
    """Whoever reads them before and after a query would else know whether it was forwarded, and so not blocked."""
    server, changes = one_server(), [0]
    told = server.latency(0.5)
    for number in range(40_000):
        server.took(float(number), sure=True)
        if server.latency(0.5) != told:
            told = server.latency(0.5)
            changes.append(number)
    gaps = [after - before for before, after in itertools.pairwise(changes)]
    assert min(gaps) >= LEAST_FOR_QUANTILES
    assert mean(gaps) == pytest.approx(USUAL_FOR_QUANTILES, rel=0.15)


def test_one_exchange_more_is_nearly_as_likely_between_two_changes_as_one_less(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = random.Random(7)
    monkeypatch.setattr(forward_server, "draw", lambda: draws.getrandbits(16))
    drawn = Counter(forward_server.exchanges_between_quantiles() for _ in range(10_000))
    for least in range(200, 400, 10):
        some, next_ones = (sum(drawn[start + number] for number in range(10)) for start in (least, least + 10))
        assert 0.5 < some / next_ones < 2, "ten more: e to the power of ten 32ths, and chance"
    assert min(drawn) >= LEAST_FOR_QUANTILES
    assert sum(drawn[number] for number in range(LEAST_FOR_QUANTILES, 110)) < 20, "the bound is hardly ever met"


def test_patience_follows_the_round_trips_within_its_bounds() -> None:
    server = one_server(timeout_s=2)
    assert server.patience_s() == pytest.approx(0.2)
    for _ in range(50):
        server.took(0.001, sure=True)
    assert server.patience_s() == pytest.approx(0.1)
    for _ in range(50):
        server.took(5.0, sure=False)
    assert server.patience_s() == pytest.approx(0.1), "nobody knows which one was answered"
    for _ in range(50):
        server.took(0.2, sure=True)
    assert 0.2 < server.patience_s() < 0.25
    for _ in range(50):
        server.took(1.0, sure=True)
    assert server.patience_s() == pytest.approx(0.4)
