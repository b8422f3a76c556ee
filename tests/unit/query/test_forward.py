"""Exchanges with upstreams: which server, how long, what counts as its reply, and who shares it."""

import asyncio
import time
from itertools import pairwise

import dns.edns
import dns.flags
import dns.message
import dns.rdatatype
import pytest

from resolver.config.values import Endpoint
from resolver.core import codes
from resolver.query import forward, forward_group
from resolver.query.forward import Forward, Overloaded, Unanswered, build_query, local_loops, why
from tests.fakes.stopwatch import Stopwatch
from tests.fakes.upstream import Way, serve
from tests.unit.query.forwarding import SHORT_S, TABLE, asking, at, closed_port, exchange, parsed
from tests.unit.query.parts import query, until


@pytest.mark.asyncio
async def test_ports_and_ids_are_random_and_never_the_clients() -> None:
    async with serve(TABLE) as upstream, asking(at(upstream)) as one:
        asked = [query("open.test") for _ in range(200)]
        replies = await asyncio.gather(*(exchange(one, q) for q in asked))
    assert all(reply.answer for reply in replies)
    ids = [seen.id for seen in upstream.queries]
    assert len(set(ids)) > 190
    assert len(set(ids) & {q.id for q in asked}) < 10
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
        started, watch = time.monotonic(), Stopwatch()
        with pytest.raises(Unanswered) as failure:
            await exchange(one, query("open.test"))
        assert time.monotonic() - started > SHORT_S * 0.9
        assert watch.seconds < SHORT_S + 1
        assert failure.value.ede == codes.EDE_NETWORK_ERROR
        await until(lambda: one.servers[0].failures["timeout"] == 1)
        assert one.servers[0].up == 1, "one question tells nothing"
        # On a busy machine the last ones may come too late.
        assert upstream.exchanges["udp"] in (2, 3, 4), "asked again, in case it was lost"


@pytest.mark.asyncio
async def test_all_refusing_is_told_at_once() -> None:
    async with asking(closed_port(), closed_port(), closed_port()) as one:
        watch = Stopwatch()
        with pytest.raises(Unanswered) as failure:
            await exchange(one, query("open.test"))
        assert watch.seconds < 2
        assert failure.value.ede == codes.EDE_NETWORK_ERROR
        assert [server.failures["refused"] for server in one.servers] == [1, 1, 1]


@pytest.mark.asyncio
async def test_the_server_with_the_fewest_outstanding_is_asked_and_of_equals_the_fastest() -> None:
    async with serve(TABLE) as first, serve(TABLE) as second, asking(at(first), at(second)) as one:
        first.hold()
        waiting = asyncio.ensure_future(exchange(one, query("open.test")))
        await until(lambda: first.exchanges["udp"] == 1)
        for _ in range(5):
            await exchange(one, query("open.test"))
        assert (first.exchanges["udp"], second.exchanges["udp"]) == (1, 5)
        first.release()
        await waiting
        for _ in range(5):
            one.servers[0].smoothed_s, one.servers[1].smoothed_s = 0.001, 0.002
            await exchange(one, query("open.test"))
        assert (first.exchanges["udp"], second.exchanges["udp"]) == (6, 5)


@pytest.mark.asyncio
async def test_one_that_is_out_is_not_asked_and_where_all_are_only_a_few_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward_group, "LAST_HOPES", 2)
    async with serve(TABLE) as first, serve(TABLE) as second, asking(at(first), at(second), timeout_s=SHORT_S) as one:
        one.servers[0].up = 0
        one.choose()
        await asyncio.gather(*(exchange(one, query("open.test")) for _ in range(5)))
        assert first.exchanges["udp"] == 0
        assert second.exchanges["udp"] >= 5, "on a busy machine one is sent twice"
        second.exchanges["udp"] = 5
        assert one.is_up_for(parsed(query("open.test").to_wire()))
        one.servers[1].up = 0
        one.choose()
        assert not one.is_up_for(parsed(query("open.test").to_wire()))
        first.otherwise = second.otherwise = (Way.SILENT,)
        waiting = [asyncio.ensure_future(exchange(one, query("open.test"))) for _ in range(2)]
        await until(lambda: first.exchanges["udp"] + second.exchanges["udp"] >= 7)
        told: list[object] = []
        packet = query("open.test").to_wire()
        with pytest.raises(Unanswered) as failure:
            one.exchange(packet, parsed(packet), (5, 5), told.append)
        assert failure.value.ede == codes.EDE_NO_REACHABLE_AUTHORITY
        one.refresh(packet, parsed(packet), (5, 5), told.append)
        assert one.in_flight == 2
        for task in waiting:
            with pytest.raises(Unanswered) as failure:
                await task
            assert failure.value.ede == codes.EDE_NO_REACHABLE_AUTHORITY
        assert told == []
        first.otherwise = second.otherwise = (Way.HONEST,)
        assert (await exchange(one, query("open.test"))).answer
        assert 1 in [server.up for server in one.servers], "an answer brings a server back"


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
async def test_nobody_is_told_in_the_middle_of_asking() -> None:
    told: list[object] = []
    packet = query("open.test").to_wire()
    async with asking(closed_port()) as one:
        for number in range(300):
            one.refresh(packet, parsed(packet), (number, 2), told.append)
            assert len(told) == 0
        await until(lambda: len(told) == 300)
        assert all(isinstance(failure, Unanswered) for failure in told)


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
        await until(lambda: not one.in_flight)


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
async def test_at_the_bound_the_oldest_gives_way_once_it_had_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "MAX_IN_FLIGHT", 3)
    monkeypatch.setattr(forward, "LEAST_LIFE_S", 0.0)
    async with serve(TABLE) as upstream, asking(at(upstream)) as one:
        upstream.hold()
        waiting = [asyncio.ensure_future(exchange(one, query("open.test"), (n, 2))) for n in range(4)]
        await until(lambda: upstream.exchanges["udp"] == 4)
        with pytest.raises(Unanswered) as gone:
            await waiting[0]
        assert gone.value.ede == 0
        upstream.release()
        for task in waiting[1:]:
            assert (await task).answer


@pytest.mark.asyncio
async def test_exchanges_are_counted_by_duration_and_failures_are_not() -> None:
    async with serve(TABLE) as upstream, asking(at(upstream), closed_port()) as one:
        for _ in range(3):
            await exchange(one, query("open.test"))
        assert sum(one.buckets) == 3
        assert len(one.buckets) == 3
        assert 0 < one.sum_us < 3_000_000
        assert [server.outstanding for server in one.servers] == [0, 0]
        assert one.waiting == 0
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
    assert sent.flags == asked.flags | dns.flags.AD
    assert sent.options == ()
    assert sent.payload == 1232
    assert bool(sent.ednsflags & dns.flags.DO) == do
    assert b"device" not in built


def test_all_forms_of_a_question_go_up_in_one_shape() -> None:
    """RD, AD and EDNS say what the client reads, not what is asked; DO and CD do."""
    forms = [query("open.test", edns=edns, flags=flags) for edns in (False, True) for flags in ("RD", "RD AD", "")]
    forms += [query("open.test", payload=payload) for payload in (512, 4096)]
    built = {build_query(packet, parsed(packet))[2:] for packet in (form.to_wire() for form in forms)}
    assert len(built) == 1
    sent = dns.message.from_wire(b"\0\0" + built.pop())
    assert (sent.edns, sent.payload, sent.ednsflags, sent.options) == (0, 1232, 0, ())
    assert sent.flags == dns.flags.RD | dns.flags.AD


def test_nothing_of_the_client_is_in_what_goes_up() -> None:
    """The octets sent up depend on the question alone, and on a random id (over TCP the one drawn here is sent)."""
    packets = [query("open.test").to_wire() for _ in range(2)]
    assert build_query(packets[0], parsed(packets[0]))[2:] == build_query(packets[1], parsed(packets[1]))[2:]
    assert len({build_query(packets[0], parsed(packets[0]))[:2] for _ in range(50)}) > 40


@pytest.mark.asyncio
async def test_a_name_in_drawn_case_goes_up_and_the_clients_own_comes_back() -> None:
    async with serve(TABLE) as upstream, asking(at(upstream), case_randomization=True) as one:
        for way in (Way.HONEST, Way.SPELLED_OUT):
            upstream.otherwise = (way,)
            for _ in range(5):
                reply = await exchange(one, query("Open.test"))
                assert reply.question[0].name.to_text() == reply.answer[0].name.to_text() == "Open.test."
        names = {seen.question[0].name.to_text() for seen in upstream.queries}
        assert len(names) > 5
        assert {name.lower() for name in names} == {"open.test."}
        assert upstream.exchanges["tcp"] == 0


@pytest.mark.asyncio
async def test_a_reply_in_another_case_is_asked_for_again_by_tcp() -> None:
    async with serve(TABLE) as upstream, asking(at(upstream), case_randomization=True) as one:
        upstream.otherwise = (Way.LOWER_CASE,)
        for _ in range(5):
            assert (await exchange(one, query("OPEN.TEST"))).answer
        drawn = [seen for seen in upstream.queries if not seen.question[0].name.to_text().islower()]
        assert upstream.exchanges["tcp"] == len(drawn) // 2 > 0
        assert one.servers[0].failures["mismatch"] == upstream.exchanges["tcp"]


def test_an_upstream_at_our_own_port_of_any_address_of_this_host_is_ourselves() -> None:
    here, there = Endpoint("127.0.0.1", 53), Endpoint("192.0.2.1", 53)
    everywhere, six = Endpoint("0.0.0.0", 53), Endpoint("::", 53)
    assert local_loops([there, here], [everywhere]) == here
    assert local_loops([Endpoint("::1", 53)], [six]) == Endpoint("::1", 53)
    assert local_loops([there], [everywhere]) is None
    assert local_loops([here], [six]) is None
    assert local_loops([here], [Endpoint("0.0.0.0", 54)]) is None
    assert local_loops([here], [Endpoint("127.0.0.2", 53)]) is None, "equal addresses are the configuration's to refuse"


def test_why_no_answer_came_is_an_extended_error_and_a_reason_to_count() -> None:
    assert why(Unanswered(codes.EDE_NETWORK_ERROR)) == (codes.EDE_NETWORK_ERROR, codes.FAILED_UPSTREAM)
    assert why(TimeoutError()) == (codes.EDE_NO_REACHABLE_AUTHORITY, codes.FAILED_UPSTREAM)
    assert why(Overloaded()) == (codes.EDE_OTHER, codes.FAILED_OVERLOAD)
