"""Exchanges with upstreams: which server, how long, what counts as its reply, and who shares it."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.rdatatype
import pytest

from resolver.core import codes
from resolver.core.question import Question, parse
from resolver.query import forward
from resolver.query.forward import Forward, Overloaded, Unanswered, build_query
from resolver.values import Endpoint
from tests.fakes.upstream import HOST, Upstream, Way, records, serve
from tests.unit.query.parts import Message, open_sockets, query, until

TABLE = records({("open.test", "A"): ["198.51.100.7"], ("open.test", "TXT"): ["x"]})
SHORT_S = 0.3


def parsed(packet: bytes) -> Question:
    """What core.question reads from a query."""
    question = Question()
    parse(packet, len(packet), question)
    return question


def _nothing(told: bytes | Unanswered) -> None:
    """What an exchange that nobody keeps is told to."""


async def exchange(asking: Forward, asked: Message, digest: tuple[int, int] | None = None) -> Message:
    """One exchange, shared with nobody unless `digest` says so."""
    packet = asked.to_wire()
    reply = await asking.exchange(packet, parsed(packet), digest or (id(asked), 1), _nothing)
    return dns.message.from_wire(reply)


@asynccontextmanager
async def asking(*endpoints: Endpoint, timeout_s: float = 5) -> AsyncIterator[Forward]:
    """A Forward that is closed in the end, with nothing left open and nothing said by the loop."""
    said: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: said.append(context))
    one = Forward(endpoints, timeout_s=timeout_s, bounds_s=(0.1, 10))
    open_before = open_sockets()
    try:
        yield one
    finally:
        await one.close()
        await until(lambda: open_sockets() <= open_before)
    assert said == []


def at(upstream: Upstream) -> Endpoint:
    return Endpoint(HOST, upstream.port)


def closed_port() -> Endpoint:
    """Where nobody listens."""
    with socket.socket(type=socket.SOCK_DGRAM) as one:
        one.bind((HOST, 0))
        return Endpoint(*one.getsockname())


@pytest.mark.asyncio
async def test_ports_and_ids_are_random_and_never_the_clients() -> None:
    async with serve(TABLE) as upstream, asking(at(upstream)) as one:
        asked = [query("open.test") for _ in range(200)]
        replies = await asyncio.gather(*(exchange(one, q) for q in asked))
    assert all(reply.answer for reply in replies)
    ids = [seen.id for seen in upstream.queries]
    assert len(set(ids)) > 190
    assert sum(mine == theirs for mine, theirs in zip(ids, (q.id for q in asked), strict=True)) < 3
    assert len(set(upstream.sources)) > 60
    # Neither goes up or down from query to query, as a counter's would.
    for numbers in (ids, upstream.sources):
        steps = [b - a for a, b in pairwise(numbers)]
        assert len([step for step in steps if abs(step) <= 2]) < 40


@pytest.mark.asyncio
async def test_forged_replies_are_passed_over_and_the_honest_one_counts() -> None:
    async with serve(TABLE) as upstream, asking(at(upstream)) as one:
        for forged in (Way.WRONG_ID, Way.WRONG_QUESTION, Way.WRONG_PORT, Way.GARBAGE):
            upstream.script.append((forged, forged, Way.HONEST))
            assert (await exchange(one, query("open.test"))).answer
        assert upstream.exchanges["udp"] == 4
        failures = one.servers[0].failures
        assert failures["mismatch"] >= 2 * 2, "wrong ids and wrong questions show"
        assert sum(failures.values()) == failures["mismatch"]


@pytest.mark.asyncio
@pytest.mark.parametrize("way", [Way.WRONG_ID, Way.WRONG_QUESTION, Way.WRONG_PORT, Way.GARBAGE, Way.SILENT])
async def test_without_an_honest_reply_the_time_runs_out(way: Way) -> None:
    async with serve(TABLE) as upstream, asking(at(upstream), timeout_s=SHORT_S) as one:
        upstream.otherwise = (way,)
        started = time.monotonic()
        with pytest.raises(Unanswered) as failure:
            await exchange(one, query("open.test"))
        assert SHORT_S * 0.9 < time.monotonic() - started < SHORT_S + 1
        assert failure.value.ede == codes.EDE_NO_REACHABLE_AUTHORITY
        assert one.servers[0].failures["timeout"] == 2
        assert one.servers[0].up == 0
        assert upstream.exchanges["udp"] == 2, "asked again, in case it was lost"


@pytest.mark.asyncio
async def test_after_silence_the_next_server_and_the_silent_one_last_until_it_answers() -> None:
    async with serve(TABLE) as silent, serve(TABLE) as good, asking(at(silent), at(good), timeout_s=SHORT_S) as one:
        silent.otherwise = (Way.SILENT,)
        assert (await exchange(one, query("open.test"))).answer
        assert [server.up for server in one.servers] == [0, 1]
        for _ in range(5):
            await exchange(one, query("open.test"))
        assert silent.exchanges["udp"] == 1
        silent.otherwise = (Way.HONEST,)
        good.otherwise = (Way.SILENT,)
        await exchange(one, query("open.test"))
        assert [server.up for server in one.servers] == [1, 0]


@pytest.mark.asyncio
async def test_where_nobody_listens_the_next_is_asked_at_once() -> None:
    async with serve(TABLE) as good, asking(closed_port(), at(good)) as one:
        started = time.monotonic()
        assert (await exchange(one, query("open.test"))).answer
        assert time.monotonic() - started < 2, "without waiting for half of five seconds"
        assert one.servers[0].failures["refused"] == 1


@pytest.mark.asyncio
async def test_all_down_is_told_within_the_time_limit() -> None:
    async with asking(closed_port(), closed_port(), closed_port()) as one:
        started = time.monotonic()
        with pytest.raises(Unanswered) as failure:
            await exchange(one, query("open.test"))
        assert time.monotonic() - started < 4
        assert failure.value.ede == codes.EDE_NO_REACHABLE_AUTHORITY
        assert [server.failures["refused"] for server in one.servers] == [1, 1, 1]


@pytest.mark.asyncio
async def test_a_truncated_reply_is_asked_for_again_by_tcp() -> None:
    async with serve(TABLE) as upstream, asking(at(upstream)) as one:
        upstream.script.append((Way.TRUNCATED,))
        reply = await exchange(one, query("open.test"))
        assert reply.answer
        assert not reply.flags & dns.flags.TC
        assert upstream.exchanges == {"udp": 1, "tcp": 1}
        assert upstream.queries[0].question == upstream.queries[1].question


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("way", "reason"),
    [(Way.HALF, "network"), (Way.WRONG_ID, "mismatch"), (Way.WRONG_QUESTION, "mismatch"), (Way.GARBAGE, "mismatch")],
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
async def test_silence_by_tcp_leaves_time_for_the_next_server_and_ends_in_time() -> None:
    async with serve(TABLE) as bad, serve(TABLE) as good, asking(at(bad), at(good), timeout_s=SHORT_S) as one:
        bad.script.extend([(Way.TRUNCATED,), (Way.SILENT,)])
        assert (await exchange(one, query("open.test"))).answer
        assert one.servers[0].failures["timeout"] == 1
    async with serve(TABLE) as bad, asking(at(bad), timeout_s=SHORT_S) as one:
        bad.script.extend([(Way.TRUNCATED,), (Way.SILENT,), (Way.TRUNCATED,), (Way.SILENT,)])
        started = time.monotonic()
        with pytest.raises(Unanswered):
            await exchange(one, query("open.test"))
        assert time.monotonic() - started < SHORT_S * 1.5


@pytest.mark.asyncio
async def test_identical_questions_share_one_exchange_and_one_who_goes_takes_nothing_from_the_others() -> None:
    async with serve(TABLE) as upstream, asking(at(upstream)) as one:
        upstream.hold()
        waiting = [asyncio.ensure_future(exchange(one, query("open.test"), (1, 2))) for _ in range(10)]
        other = asyncio.ensure_future(exchange(one, query("open.test", "TXT"), (1, 3)))
        await until(lambda: upstream.exchanges["udp"] == 2)
        for gone in (waiting[0], waiting[5]):
            gone.cancel()
            with pytest.raises(asyncio.CancelledError):
                await gone
        upstream.release()
        for task in waiting[1:5] + waiting[6:]:
            assert (await task).answer
        assert (await other).answer[0].rdtype == dns.rdatatype.TXT
        assert upstream.exchanges["udp"] == 2
        assert (await exchange(one, query("open.test"), (1, 2))).answer
        assert upstream.exchanges["udp"] == 3, "an exchange is shared while it lasts, not after"


@pytest.mark.asyncio
async def test_an_exchange_is_told_once_and_before_anybody_who_waits() -> None:
    order: list[object] = []

    async def wait(one: Forward, packet: bytes) -> None:
        try:
            order.append(await one.exchange(packet, parsed(packet), (1, 2), order.append))
        except Unanswered as failure:
            order.append(failure.ede)

    packet = query("open.test").to_wire()
    async with serve(TABLE) as upstream, asking(at(upstream)) as one:
        await asyncio.gather(*(wait(one, packet) for _ in range(3)))
        assert len(order) == 4
        assert len(set(order)) == 1
        upstream.hold()
        one.refresh(packet, parsed(packet), (1, 2), order.append)
        one.refresh(packet, parsed(packet), (1, 2), order.append)
        await until(lambda: upstream.exchanges["udp"] == 2)
        upstream.release()
        await until(lambda: len(order) == 5)
    order.clear()
    async with asking(closed_port()) as one:
        await asyncio.gather(*(wait(one, packet) for _ in range(2)))
    assert isinstance(order[0], Unanswered)
    assert order[1:] == [order[0].ede] * 2


@pytest.mark.asyncio
async def test_who_has_no_more_patience_goes_and_the_exchange_goes_on() -> None:
    told: list[object] = []
    packet = query("open.test").to_wire()
    async with serve(TABLE) as upstream, asking(at(upstream)) as one:
        upstream.hold()
        patient = asyncio.ensure_future(exchange(one, query("open.test"), (1, 2)))
        await until(lambda: upstream.exchanges["udp"] == 1)
        with pytest.raises(TimeoutError):
            await one.exchange(packet, parsed(packet), (1, 2), told.append, 0.05)
        upstream.release()
        assert (await patient).answer
        assert told == [], "the outcome is the first caller's"
        assert (await one.exchange(packet, parsed(packet), (1, 2), told.append, 5))[2:]
        assert len(told) == 1


@pytest.mark.asyncio
async def test_a_failure_that_nobody_waits_for_any_more_is_nobodys() -> None:
    async with asking(closed_port()) as one:
        waiting = asyncio.ensure_future(exchange(one, query("open.test"), (1, 2)))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await until(lambda: one.servers[0].failures["refused"] == 2)
        await until(lambda: not one._shared)


@pytest.mark.asyncio
async def test_beyond_the_bound_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "MAX_IN_FLIGHT", 3)
    async with serve(TABLE) as upstream, asking(at(upstream)) as one:
        upstream.hold()
        waiting = [asyncio.ensure_future(exchange(one, query("open.test"), (n, 2))) for n in range(3)]
        await until(lambda: upstream.exchanges["udp"] == 3)
        with pytest.raises(Overloaded):
            await exchange(one, query("open.test"), (4, 2))
        shared = asyncio.ensure_future(exchange(one, query("open.test"), (1, 2)))
        upstream.release()
        for task in [*waiting, shared]:
            assert (await task).answer
        assert (await exchange(one, query("open.test"), (4, 2))).answer


@pytest.mark.asyncio
async def test_exchanges_are_counted_by_duration_and_failures_are_not() -> None:
    async with serve(TABLE) as upstream, asking(at(upstream), closed_port()) as one:
        for _ in range(3):
            await exchange(one, query("open.test"))
        assert sum(one.buckets) == 3
        assert len(one.buckets) == 3
        assert 0 < one.sum_us < 3_000_000
        assert [server.outstanding for server in one.servers] == [0, 0]
    async with asking(closed_port()) as one:
        with pytest.raises(Unanswered):
            await exchange(one, query("open.test"))
        assert one.buckets == [0, 0, 0]


@pytest.mark.asyncio
async def test_closing_ends_what_is_in_flight() -> None:
    async with serve(TABLE) as upstream:
        async with asking(at(upstream)) as one:
            upstream.hold()
            waiting = asyncio.ensure_future(exchange(one, query("open.test")))
            await until(lambda: upstream.exchanges["udp"] == 1)
        with pytest.raises(asyncio.CancelledError):
            await waiting


@pytest.mark.parametrize("flags", ["RD", "RD CD", "RD AD", "RD CD AD"])
@pytest.mark.parametrize("do", [False, True])
def test_what_goes_up_is_the_question_and_little_else(flags: str, do: bool) -> None:
    asked = query("oPeN.TEst", "HTTPS", do=do, flags=flags)
    asked.use_edns(
        0,
        dns.flags.DO if do else 0,
        4096,
        options=[
            dns.edns.ECSOption("192.0.2.10", 32),
            dns.edns.CookieOption(b"12345678", b""),
            dns.edns.GenericOption(65001, b"device 7"),
        ],
    )
    packet = asked.to_wire()
    built = build_query(packet, parsed(packet))
    sent = dns.message.from_wire(built)
    assert sent.question == asked.question
    assert sent.question[0].name.to_text() == "oPeN.TEst."
    assert sent.flags == asked.flags
    assert sent.options == ()
    assert sent.payload == 1232
    assert bool(sent.ednsflags & dns.flags.DO) == do
    assert b"device" not in built


def test_who_sends_no_edns_has_none_sent_up_and_rd_is_always_set() -> None:
    packet = query("open.test", edns=False, flags="").to_wire()
    built = build_query(packet, parsed(packet))
    sent = dns.message.from_wire(built)
    assert sent.edns == -1
    assert sent.flags == dns.flags.RD
    assert built[2:] == query("open.test", edns=False).to_wire()[2:]


def test_nothing_of_the_client_is_in_what_goes_up() -> None:
    """The octets sent up depend on the question alone, and on a random id (over TCP the one drawn here is sent)."""
    packets = [query("open.test").to_wire() for _ in range(2)]
    assert build_query(packets[0], parsed(packets[0]))[2:] == build_query(packets[1], parsed(packets[1]))[2:]
    assert len({build_query(packets[0], parsed(packets[0]))[:2] for _ in range(50)}) > 40
