"""One question through the upstreams: sent again, elsewhere, without EDNS; what is the reply where all say no."""

import asyncio
import itertools
import time
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import pytest

from resolver.core import codes
from resolver.query.forward import NOBODY, Forward, Unanswered
from resolver.query.forward_exchange import HANDED_IN_A_TURN, with_case_of, with_drawn_case, without_opt
from resolver.query.forward_server import Server
from tests.fakes.stopwatch import Stopwatch
from tests.fakes.upstream import Way, serve
from tests.unit.query.forwarding import SHORT_S, TABLE, asking, at, closed_port, exchange, nothing, parsed
from tests.unit.query.parts import query, reply_of, until

pytestmark = pytest.mark.loops


@pytest.mark.asyncio
async def test_what_is_lost_is_sent_again_from_another_port_and_under_another_id() -> None:
    async with serve(TABLE) as upstream, asking(at(upstream), timeout_s=1) as one:
        upstream.script.extend([(Way.SILENT,)] * 3)
        assert (await exchange(one, query("open.test"))).answer
        assert upstream.exchanges["udp"] == 4
        assert len(set(upstream.sources)) > 1
        assert len({seen.id for seen in upstream.queries}) == 4
        assert one.servers[0].failures["timeout"] == 0, "it did answer"
        assert one.servers[0].outstanding == 0


@pytest.mark.asyncio
async def test_a_late_reply_to_what_was_sent_first_counts_and_the_others_are_no_forgeries() -> None:
    async with serve(TABLE) as upstream, asking(at(upstream), timeout_s=1) as one:
        upstream.hold()
        waiting = asyncio.ensure_future(exchange(one, query("open.test")))
        await until(lambda: upstream.exchanges["udp"] == 2)
        upstream.release()
        assert (await waiting).answer
        for _ in range(30):
            await exchange(one, query("open.test"))
        assert one.servers[0].failures["mismatch"] == 0
        await until(lambda: not one.servers[0].datagrams.in_flight)


@pytest.mark.asyncio
async def test_a_reply_after_the_time_limit_is_no_forgery_either() -> None:
    async with serve(TABLE) as upstream, asking(at(upstream), timeout_s=SHORT_S) as one:
        upstream.hold()
        with pytest.raises(Unanswered):
            await exchange(one, query("open.test"))
        upstream.release()
        for _ in range(30):
            await exchange(one, query("open.test"))
        assert one.servers[0].failures["mismatch"] == 0


@pytest.mark.asyncio
async def test_no_more_is_sent_than_so_often() -> None:
    async with serve(TABLE) as upstream, asking(at(upstream), timeout_s=1) as one:
        upstream.otherwise = (Way.SILENT,)
        with pytest.raises(Unanswered):
            await exchange(one, query("open.test"))
        await asyncio.sleep(0.1)  # what was sent last has arrived when it is counted
        assert upstream.exchanges["udp"] in (3, 4)
        one.servers[0].took(0.001, sure=True)
        upstream.exchanges.clear()
        with pytest.raises(Unanswered):
            await exchange(one, query("open.test"))
        assert upstream.exchanges["udp"] in (3, 4), "one that is known as fast is asked sooner, not more often"


@pytest.mark.asyncio
async def test_after_silence_the_next_server_is_asked_and_the_first_is_not_forgiven() -> None:
    async with serve(TABLE) as silent, serve(TABLE) as good, asking(at(silent), at(good), timeout_s=SHORT_S) as one:
        silent.otherwise = (Way.SILENT,)
        assert (await exchange(one, query("open.test"))).answer
        assert (silent.exchanges["udp"], good.exchanges["udp"]) == (1, 1)
        assert one.servers[0].outstanding == 1, "so the next query goes elsewhere"
        await exchange(one, query("open.test"))
        assert silent.exchanges["udp"] == 1
        await until(lambda: one.servers[0].failures["timeout"] == 1)
        assert one.servers[0].outstanding == 0


@pytest.mark.asyncio
async def test_where_nobody_listens_the_next_is_asked_at_once() -> None:
    async with serve(TABLE) as good, asking(closed_port(), at(good)) as one:
        watch = Stopwatch()
        assert (await exchange(one, query("open.test"))).answer
        assert watch.seconds < 1, "without waiting for a fifth of five seconds"
        await until(lambda: one.servers[0].failures["refused"] == 1)


@pytest.mark.asyncio
async def test_one_server_gets_at_most_two_datagrams_soon_and_later_ones_after_pauses_that_double() -> None:
    seen: list[float] = []

    def noted(asked: dns.message.Message) -> dns.message.Message:
        seen.append(time.monotonic())
        return TABLE(asked)

    async with serve(noted) as upstream, asking(at(upstream), timeout_s=2) as one:
        upstream.otherwise = (Way.SILENT,)
        one.servers[0].took(0.001, sure=True)
        began = time.monotonic()
        with pytest.raises(Unanswered):
            await exchange(one, query("open.test"))
        pauses = [after - before for before, after in itertools.pairwise(seen)]
        # Datagrams are sent late on a busy machine, perhaps too late for the last one, but never early.
        assert 3 <= len(seen) <= 4, pauses
        assert seen[1] - began >= 0.09
        assert seen[2] - seen[0] >= 0.5
        assert all(pause >= 0.7 for pause in pauses[2:])


@pytest.mark.asyncio
async def test_a_late_answer_goes_to_the_outcome_once_and_to_nobody_who_waited() -> None:
    told: list[bytes | Unanswered] = []
    packet = query("open.test").to_wire()
    async with serve(TABLE) as upstream, asking(at(upstream), timeout_s=SHORT_S) as one:
        upstream.hold()
        with pytest.raises(Unanswered):
            await one.exchange(packet, parsed(packet), (1, 1), told.append)
        assert [type(each) for each in told] == [Unanswered]
        upstream.release()
        await until(lambda: len(told) == 2)
        late = told[1]
        assert isinstance(late, bytes)
        assert dns.message.from_wire(late).answer
        for _ in range(20):
            await exchange(one, query("open.test"))
        assert len(told) == 2, "the answers to what was sent again say nothing new"
        # Without a processor for long, one of the exchanges may end before its answer is read.
        assert one.servers[0].failures["mismatch"] <= 1


@pytest.mark.asyncio
@pytest.mark.parametrize("way", [Way.SERVFAIL, Way.TRUNCATED, Way.MALFORMED])
async def test_a_late_reply_that_is_no_answer_is_not_told(way: Way) -> None:
    told: list[bytes | Unanswered] = []
    packet = query("open.test").to_wire()
    async with serve(TABLE) as upstream, asking(at(upstream), timeout_s=SHORT_S) as one:
        upstream.otherwise = (way,)
        upstream.hold()
        with pytest.raises(Unanswered):
            await one.exchange(packet, parsed(packet), (1, 1), told.append)
        upstream.release()
        upstream.otherwise = (Way.HONEST,)
        await exchange(one, query("open.test"))
        await until(lambda: not one.servers[0].datagrams.in_flight)
        assert [type(each) for each in told] == [Unanswered]


@pytest.mark.asyncio
async def test_an_error_of_icmp_asks_elsewhere_at_once_and_the_first_server_still_counts() -> None:
    async with serve(TABLE) as first, serve(TABLE) as second, asking(at(first), at(second)) as one:
        first.hold()
        second.otherwise = (Way.SILENT,)
        waiting = asyncio.ensure_future(exchange(one, query("open.test")))
        await until(lambda: first.exchanges["udp"] == 1)
        hint(one.servers[0])
        await until(lambda: second.exchanges["udp"] == 1)
        hint(one.servers[1])
        first.release()
        assert (await waiting).answer
        assert one.servers[0].failures["refused"] == 0


@pytest.mark.asyncio
async def test_errors_of_icmp_do_not_end_the_wait_for_the_only_server() -> None:
    """As somebody sends them who tries all ports: soon there are more errors on a socket than datagrams were sent."""
    async with serve(TABLE) as upstream, asking(at(upstream)) as one:
        upstream.hold()
        waiting = asyncio.ensure_future(exchange(one, query("open.test")))
        await until(lambda: upstream.exchanges["udp"] == 1)
        for _ in range(20):
            hint(one.servers[0])
        upstream.release()
        assert (await waiting).answer
        assert upstream.exchanges["udp"] <= 4, "at most two more for such a reason"
        assert one.servers[0].failures["refused"] == 0


def hint(server: Server) -> None:
    """Report an error on each socket, as the kernel does if somebody tries all ports."""
    for line in server.datagrams.open_lines():
        line.hinted(ConnectionRefusedError(), tuple(line.flights.values()))


@pytest.mark.asyncio
async def test_what_is_larger_than_was_asked_for_is_the_answer_where_tcp_fails() -> None:
    async with serve(TABLE) as upstream, asking(at(upstream)) as one:
        upstream.refuse_streams()
        await asyncio.sleep(0)
        upstream.otherwise = (Way.LARGE,)
        for number in range(5):
            packet = query("open.test").to_wire()
            octets = await one.exchange(packet, parsed(packet), (number, 1), lambda told: None)
            assert len(octets) > 1232
            assert dns.message.from_wire(octets).answer
        upstream.otherwise = (Way.TRUNCATED,)
        with pytest.raises(Unanswered):
            await exchange(one, query("open.test"))


@pytest.mark.asyncio
async def test_what_is_larger_than_was_asked_for_is_asked_for_by_tcp_first() -> None:
    async with serve(TABLE) as upstream, asking(at(upstream)) as one:
        upstream.script.extend([(Way.LARGE,), (Way.HONEST,)])
        reply = await exchange(one, query("open.test"))
        assert upstream.exchanges == {"udp": 1, "tcp": 1}
        assert len(reply.to_wire()) < 1232


@pytest.mark.asyncio
async def test_what_is_larger_is_the_answer_too_where_tcp_hangs() -> None:
    async with serve(TABLE) as upstream, asking(at(upstream), timeout_s=1) as one:
        upstream.otherwise = (Way.LARGE,)
        upstream.hold_streams = True
        assert (await exchange(one, query("open.test"))).answer
        assert upstream.exchanges["tcp"] == 1


ERRORS = [
    (Way.SERVFAIL, dns.rcode.SERVFAIL),
    (Way.REFUSED, dns.rcode.REFUSED),
    (Way.REFUSED_OPT_ONLY, dns.rcode.REFUSED),
    (Way.NOTIMP, dns.rcode.NOTIMP),
]


@pytest.mark.asyncio
@pytest.mark.parametrize(("way", "rcode"), ERRORS)
async def test_an_error_of_one_server_is_another_ones_to_answer(way: Way, rcode: dns.rcode.Rcode) -> None:
    async with serve(TABLE) as bad, serve(TABLE) as good, asking(at(bad), at(good)) as one:
        bad.otherwise = (way,)
        assert (await exchange(one, query("open.test"))).answer
        assert one.servers[0].failures["servfail" if way is Way.SERVFAIL else "error"] >= 1
        good.otherwise = (way,)
        watch = Stopwatch()
        reply = await exchange(one, query("open.test"))
        assert watch.seconds < 1
        assert reply.rcode() == rcode, "the last error is the answer"
        assert [server.up for server in one.servers] == [1, 1]


@pytest.mark.asyncio
async def test_half_an_answer_is_another_servers_to_give_whole() -> None:
    async with serve(TABLE) as bad, serve(TABLE) as good, asking(at(bad), at(good)) as one:
        bad.otherwise = (Way.MALFORMED,)
        assert (await exchange(one, query("open.test"))).answer
        assert one.servers[0].failures["malformed"] == 1
        one.servers[1].smoothed_s = 9.0
        good.otherwise = (Way.SERVFAIL,)
        reply = await exchange(one, query("open.test"))
        assert reply.rcode() == dns.rcode.SERVFAIL, "rather an error than half an answer"
        assert one.servers[0].failures["malformed"] == 2


@pytest.mark.asyncio
async def test_half_an_answer_of_the_only_server_is_handed_back_to_be_judged() -> None:
    async with serve(TABLE) as bad, asking(at(bad)) as one:
        bad.otherwise = (Way.MALFORMED,)
        packet = query("open.test").to_wire()
        reply = await one.exchange(packet, parsed(packet), (1, 1), lambda told: None)
        assert reply.endswith(b"\0\2\xff\xff")
        assert bad.exchanges["udp"] == 1
        assert one.servers[0].failures["malformed"] == 1


@pytest.mark.asyncio
async def test_octets_after_an_answer_are_counted_and_the_answer_is_used() -> None:
    async with serve(TABLE) as bad, serve(TABLE) as good, asking(at(bad), at(good)) as one:
        bad.otherwise = (Way.TRAILING,)
        packet = query("open.test").to_wire()
        reply = await one.exchange(packet, parsed(packet), (1, 1), lambda told: None)
        assert reply[3] & 15 == 0
        assert one.servers[0].failures["trailing"] == 1
        assert sum(one.servers[0].failures.values()) == 1
        assert (good.exchanges["udp"], [server.up for server in one.servers]) == (0, [1, 1])


@pytest.mark.asyncio
async def test_those_who_wait_get_the_answer_in_parts_with_turns_for_others_between() -> None:
    async with serve(TABLE) as upstream, asking(at(upstream)) as one:
        upstream.hold()
        packet, turns, number = query("open.test").to_wire(), [], 5 * HANDED_IN_A_TURN + 1
        waiting = [one.exchange(packet, parsed(packet), (1, 1), nothing) for _ in range(number)]

        async def others() -> None:
            while not all(waiter.done() for waiter in waiting):
                done = sum(waiter.done() for waiter in waiting)
                if done:
                    turns.append(done)
                await asyncio.sleep(0)

        upstream.release()
        await others()
        assert len({id(waiter.result()) for waiter in waiting}) == 1
        assert len(set(turns)) >= 5
        assert all(after - before <= 2 * HANDED_IN_A_TURN for before, after in itertools.pairwise(turns))
        assert (one.waiting, one.in_flight) == (0, 0)


@pytest.mark.asyncio
@pytest.mark.parametrize("way", [Way.NO_EDNS, Way.HEADER_ONLY, Way.OPT_ONLY, Way.FORMERR])
async def test_one_who_knows_no_edns_is_asked_once_more_without(way: Way) -> None:
    async with serve(TABLE) as upstream, asking(at(upstream)) as one:
        upstream.otherwise = (way,)
        for _ in range(2):
            upstream.queries.clear()
            packet = query("open.test", do=True).to_wire()
            reply = await one.exchange(packet, parsed(packet), (1, 1), lambda told: None)
            assert [seen.edns for seen in upstream.queries] == [0, -1], "nothing is remembered"
            assert reply[3] & 15 == (0 if way in (Way.NO_EDNS, Way.OPT_ONLY) else 1)
            if way in (Way.NO_EDNS, Way.OPT_ONLY):
                assert dns.message.from_wire(reply).answer
            if way is Way.HEADER_ONLY:
                assert len(reply) == 12


@pytest.mark.asyncio
async def test_what_the_outcome_raises_keeps_nobody_from_being_told() -> None:
    said: list[dict[str, Any]] = []

    def broken(told: object) -> None:
        raise ZeroDivisionError

    packet = query("open.test").to_wire()
    async with serve(TABLE) as upstream, asking(at(upstream)) as one:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: said.append(context))
        assert await one.exchange(packet, parsed(packet), (1, 1), broken)
    assert [type(context["exception"]) for context in said] == [ZeroDivisionError]


def test_without_opt_all_else_stays() -> None:
    plain, edns = query("open.test", edns=False, id=7), query("open.test", id=7)
    edns.use_edns(0, payload=1232)
    plain.id = edns.id
    assert without_opt(edns.to_wire()) == plain.to_wire()


def test_the_case_of_letters_is_drawn_and_nothing_else_changes() -> None:
    sent = query("a1-b.Example", "TXT").to_wire()
    drawn = [with_drawn_case(sent) for _ in range(200)]
    assert len(set(drawn)) > 100
    for one in drawn:
        assert one[:12] == sent[:12]
        assert one[-15:] == sent[-15:]
        assert one.lower() == sent.lower()
    assert with_drawn_case(query(".", "NS").to_wire())[12:17] == b"\0\0\2\0\1"


@pytest.mark.parametrize("rdata", ["A 192.0.2.1", "CNAME oPEN.test.", "TXT oPEN"])
def test_the_clients_case_comes_back_in_question_and_owners_alone(rdata: str) -> None:
    asked, sent = query("Open.test"), query("oPEN.test")
    reply = reply_of(sent, [f"oPEN.test. 300 {rdata}"], ["TEST. 300 NS oPEN.test."]).to_wire()
    back = dns.message.from_wire(with_case_of(reply, sent.to_wire(), asked.to_wire()))
    whole = dns.message.from_wire(reply)
    assert back.question[0].name.to_text() == back.answer[0].name.to_text() == "Open.test."
    assert back.answer == whole.answer
    assert back.authority == whole.authority
    assert len(with_case_of(reply, sent.to_wire(), asked.to_wire())) == len(reply)


def test_a_reply_without_a_question_or_cut_short_comes_back_as_it_is() -> None:
    asked, sent = query("Open.test").to_wire(), query("oPEN.test").to_wire()
    assert with_case_of(bytes(12), sent, asked) == bytes(12)
    cut = reply_of(dns.message.from_wire(sent), ["oPEN.test. 300 A 192.0.2.1"]).to_wire()[:-20]
    assert len(with_case_of(cut, sent, asked)) == len(cut)


def test_an_unanswered_question_says_why() -> None:
    assert Unanswered(codes.EDE_NETWORK_ERROR).ede == codes.EDE_NETWORK_ERROR


# Where a thread of the engine had to end.


async def gone_on(one: Forward, asked: dns.message.Message, ago_ms: int, reply: bytes = b"") -> dns.message.Message:
    packet = asked.to_wire()
    handed = (0, ago_ms, reply)
    told = await one.exchange(packet, parsed(packet), (id(asked), 1), nothing, None, NOBODY, handed)
    return dns.message.from_wire(told)


@pytest.mark.asyncio
async def test_what_a_thread_has_sent_counts_as_the_first_datagram() -> None:
    async with serve(TABLE) as upstream, asking(at(upstream), timeout_s=2) as one:
        upstream.otherwise = (Way.SILENT,)
        watch = Stopwatch()
        with pytest.raises(Unanswered):
            await gone_on(one, query("open.test"), 200)
        assert watch.seconds < 1.95, "the time limit began with the thread's"
        assert upstream.exchanges["udp"] in (2, 3)
        await until(lambda: one.servers[0].failures["timeout"])
        assert one.servers[0].failures["timeout"] == 1, "the thread's try and those after it are one"


@pytest.mark.asyncio
async def test_after_a_threads_silence_another_server_is_asked_at_once() -> None:
    async with serve(TABLE) as silent, serve(TABLE) as good, asking(at(silent), at(good)) as one:
        assert (await gone_on(one, query("open.test"), 100)).answer
        assert (silent.exchanges["udp"], good.exchanges["udp"]) == (0, 1)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("rcode", "exchanges", "says"),
    [
        (dns.rcode.SERVFAIL, {}, dns.rcode.SERVFAIL),
        (dns.rcode.REFUSED, {}, dns.rcode.REFUSED),
        (dns.rcode.FORMERR, {"udp": 1}, dns.rcode.NOERROR),
    ],
)
async def test_a_threads_answer_is_not_asked_for_again(
    rcode: dns.rcode.Rcode, exchanges: dict[str, int], says: dns.rcode.Rcode
) -> None:
    async with serve(TABLE) as upstream, asking(at(upstream)) as one:
        asked = query("open.test")
        reply = reply_of(asked)
        reply.set_rcode(rcode)
        assert (await gone_on(one, asked, 5, reply.to_wire())).rcode() == says
        assert dict(upstream.exchanges) == exchanges
        assert one.in_flight == 0
        failed = "servfail" if rcode == dns.rcode.SERVFAIL else "error"
        assert one.servers[0].failures[failed] == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("drawn", [False, True])
async def test_what_a_thread_got_truncated_is_asked_over_tcp_alone(drawn: bool) -> None:
    async with serve(TABLE) as upstream, asking(at(upstream), case_randomization=drawn) as one:
        asked = query("Open.test")
        reply = reply_of(asked)
        reply.flags |= dns.flags.TC
        assert (await gone_on(one, asked, 5, reply.to_wire())).answer
        assert dict(upstream.exchanges) == {"tcp": 1}
        assert one.servers[0].failures["mismatch"] == 0


@pytest.mark.asyncio
async def test_of_a_server_that_is_not_of_the_group_or_out_it_begins_anew() -> None:
    async with serve(TABLE) as zone, serve(TABLE) as good, asking(at(good), zones={"corp.test": [at(zone)]}) as one:
        assert not (await gone_on(one, query("in.corp.test"), 100)).answer
        assert (zone.exchanges["udp"], good.exchanges["udp"]) == (1, 0)
        one.servers[0].up = 0
        one.choose()
        assert (await gone_on(one, query("open.test"), 100)).answer
        assert good.exchanges["udp"] == 1
