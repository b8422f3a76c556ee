"""Who is taken out and brought back, or asked last: by what queries meet, by probes, and for leading back to us."""

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import dns.message
import dns.name
import dns.rcode
import pytest

from resolver.core.question import Question
from resolver.query import forward_health
from resolver.query.forward import Forward, Unanswered
from resolver.query.forward_health import GOOD, LEAST, OUT, PROBES, SAMPLE
from tests.fakes.upstream import Way, serve
from tests.unit.query.forwarding import TABLE, asking, at, closed_port, exchange, parsed
from tests.unit.query.parts import query, until

pytestmark = pytest.mark.loops

PROBE_S = forward_health.PROBE_S
"""As it is outside of tests."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times short enough for a test."""
    for name, value in (("PROBE_S", 0.1), ("PAUSE_S", 0.01), ("FIRST_BACK_OFF_S", 0.05), ("LAST_BACK_OFF_S", 0.2)):
        monkeypatch.setattr(forward_health, name, value)


async def ask(one: Forward, times: int) -> int:
    """Ask so often, at once; return how often an answer came."""
    asked = (exchange(one, query("open.test")) for _ in range(times))
    return sum(not isinstance(came, Exception) for came in await asyncio.gather(*asked, return_exceptions=True))


@contextmanager
def said(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """The lines of the log within the block."""
    lines: list[str] = []
    with caplog.at_level(logging.INFO):
        yield lines
    lines += [record.getMessage() for record in caplog.records]


@pytest.mark.asyncio
async def test_a_silent_server_is_taken_out_after_probes_and_comes_back_by_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with said(caplog) as lines:
        async with serve(TABLE) as bad, serve(TABLE) as good, asking(at(bad), at(good), timeout_s=1) as one:
            bad.otherwise = (Way.SILENT,)
            assert await ask(one, 2 * LEAST) == 2 * LEAST, "the other one answers"
            await until(lambda: not one.servers[0].up)
            assert len(set(bad.probes)) == PROBES
            bad.exchanges.clear()
            assert await ask(one, 5) == 5
            assert bad.exchanges["udp"] == 0, "probes alone"
            bad.otherwise = (Way.HONEST,)
            await until(lambda: one.servers[0].up)
    assert lines == [
        f"upstream {one.servers[0].endpoint} does not answer and is taken out",
        f"upstream {one.servers[0].endpoint} answers again",
    ]


@pytest.mark.asyncio
async def test_a_good_probe_clears_a_server_for_a_while() -> None:
    async with serve(TABLE) as upstream, asking(at(upstream)) as one:
        upstream.otherwise = (Way.SERVFAIL,)
        server, health = one.servers[0], one.health[0]
        await ask(one, LEAST - 1)
        assert not health.watching
        await ask(one, 1)
        assert health.watching
        upstream.otherwise = (Way.HONEST,)
        await until(lambda: not health.watching)
        assert (server.up, server.poor) == (1, False)
        upstream.otherwise = (Way.SERVFAIL,)
        await ask(one, 3 * LEAST)
        assert not health.watching, "not again so soon"


@pytest.mark.asyncio
async def test_the_only_server_is_asked_whatever_it_answers(caplog: pytest.LogCaptureFixture) -> None:
    """One that knows only inside names: the queries for all others fail, and so do the probes."""
    with said(caplog) as lines:
        async with serve(TABLE) as upstream, asking(at(upstream), timeout_s=5) as one:
            server = one.servers[0]
            upstream.otherwise = (Way.SERVFAIL,)
            await ask(one, 2 * LEAST)
            await until(lambda: server.poor)
            assert (server.up, server.answers, server.fault) == (1, True, "answers SERVFAIL")
            assert one.answering
            upstream.script.extend([(Way.HONEST,)] * 100)
            assert await ask(one, 100) == 100, "all at once, not LAST_HOPES of them"
            assert server.poor, "answers to queries are no proof of more"
            upstream.otherwise = (Way.HONEST,)
            await until(lambda: not server.poor)
            assert (server.up, server.answers, server.fault) == (1, True, "")
    assert lines == [
        f"upstream {server.endpoint} answers SERVFAIL: it is asked only while no better one is up",
        f"upstream {server.endpoint} answers well again",
    ]


@pytest.mark.asyncio
async def test_of_two_servers_the_better_one_is_asked() -> None:
    async with serve(TABLE) as bad, serve(TABLE) as good, asking(at(bad), at(good), timeout_s=1) as one:
        bad.otherwise = (Way.SERVFAIL,)
        assert await ask(one, 3 * LEAST) == 3 * LEAST
        await until(lambda: one.servers[0].poor)
        bad.exchanges.clear()
        assert await ask(one, 50) == 50
        assert bad.exchanges["udp"] == 0
        assert one.servers[0].answers
        good.otherwise = (Way.SILENT,)
        await ask(one, 2 * LEAST)
        await until(lambda: not one.servers[1].up)
        bad.script.extend([(Way.HONEST,)] * 50)
        assert await ask(one, 50) == 50, "no better one is left"


@pytest.mark.asyncio
async def test_one_that_answers_some_queries_and_no_probe_stays() -> None:
    """An inside server without an uplink often says nothing of other names, for longer than anybody waits."""
    async with serve(TABLE) as upstream, asking(at(upstream), timeout_s=0.2) as one:
        server = one.servers[0]
        upstream.otherwise = (Way.SILENT,)
        one.health[0].look()
        while server.up and not server.poor:
            upstream.script.append((Way.HONEST,))
            assert await ask(one, 1) == 1
        assert (server.up, server.answers, server.fault) == (1, True, "answers some queries and no probe")


@pytest.mark.asyncio
async def test_few_failures_among_many_answers_are_no_reason() -> None:
    async with serve(TABLE) as upstream, asking(at(upstream)) as one:
        await ask(one, SAMPLE - 15)
        upstream.otherwise = (Way.SERVFAIL,)
        await ask(one, 15)
        assert not one.health[0].watching
        await ask(one, 5)
        assert one.health[0].watching


@pytest.mark.asyncio
@pytest.mark.parametrize("way", [Way.REFUSED, Way.NOTIMP, Way.HEADER_ONLY])
async def test_an_error_is_an_answer_of_one_that_lives(way: Way) -> None:
    async with serve(TABLE) as upstream, asking(at(upstream)) as one:
        upstream.otherwise = (way,)
        await ask(one, 2 * LEAST)
        assert not one.health[0].watching
        one.health[0].look()
        await until(lambda: not one.health[0].watching)
        assert one.servers[0].up == 1


@pytest.mark.asyncio
async def test_an_answered_query_brings_a_server_back_without_a_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward_health, "FIRST_BACK_OFF_S", 60.0)
    async with serve(TABLE) as upstream, asking(at(upstream), timeout_s=0.2) as one:
        upstream.otherwise = (Way.SILENT,)
        assert await ask(one, LEAST) == 0
        await until(lambda: not one.servers[0].up)
        upstream.script.append((Way.HONEST,))
        assert await ask(one, 1) == 1
        assert one.servers[0].up == 1
        assert one.groups[0].any_up()
        assert not one.servers[0].answers, "what is shown does not follow a single query"
        upstream.otherwise = (Way.HONEST,)
        assert await ask(one, LEAST - 2) == LEAST - 2
        assert not one.health[0].looking, "nor a few"
        assert await ask(one, 1) == 1
        await until(lambda: one.servers[0].answers)
        assert one.answering


@pytest.mark.asyncio
async def test_one_that_answered_a_query_and_nothing_more_is_out_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward_health, "FIRST_BACK_OFF_S", 60.0)
    monkeypatch.setattr(forward_health, "TICK_S", 0.1)
    async with serve(TABLE) as upstream, asking(at(upstream), timeout_s=0.2) as one:
        upstream.otherwise = (Way.SILENT,)
        one.watch()
        await until(lambda: not one.servers[0].up)
        upstream.script.append((Way.HONEST,))
        assert await ask(one, 1) == 1
        assert one.groups[0].any_up()
        await until(lambda: not one.groups[0].any_up())
        assert not one.servers[0].answers


@pytest.mark.asyncio
async def test_one_that_comes_and_goes_is_asked_ever_more_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    async with asking(closed_port()) as one:
        health = one.health[0]
        back_offs = []
        for _ in range(4):
            health.settle(OUT)
            back_offs.append(health.back_off_s)
            health.back_off_s = min(2 * health.back_off_s, forward_health.LAST_BACK_OFF_S)
            health.settle(GOOD)
        assert back_offs == pytest.approx([0.05, 0.1, 0.2, 0.2])
        monkeypatch.setattr(forward_health, "STEADY_S", 0.0)
        health.settle(OUT)
        assert health.back_off_s == pytest.approx(0.05), "after a steady time it starts anew"


@pytest.mark.asyncio
async def test_the_back_off_doubles_to_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    async with asking(closed_port(), timeout_s=0.2) as one:
        await ask(one, LEAST)
        await until(lambda: not one.servers[0].up)
        await until(lambda: one.health[0].back_off_s == forward_health.LAST_BACK_OFF_S)
        with pytest.raises(Unanswered):
            await exchange(one, query("open.test"))


@pytest.mark.asyncio
async def test_one_that_leads_back_to_us_is_out_until_it_does_not(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the server says to a probe: once it is seen here as a query, that was no good answer."""
    with said(caplog) as lines:
        async with serve(TABLE) as upstream, asking(at(upstream), timeout_s=0.3) as one:
            honest, leads_back = upstream.answer, True

            def answer(asked: dns.message.Message) -> dns.message.Message:
                if leads_back:
                    packet = asked.to_wire()
                    assert one.is_probe(parsed(packet)) == (asked.question[0].name != dns.name.from_text("open.test"))
                return honest(asked)

            upstream.answer = answer
            one.health[0].look()
            await until(lambda: one.servers[0].failures["loop"] == 3)
            assert (one.servers[0].up, one.servers[0].answers) == (0, False)
            assert await ask(one, 1) == 1
            assert one.servers[0].up == 0, "an answer is no proof here"
            leads_back = False
            await until(lambda: one.servers[0].up)
    assert lines == [
        f"upstream {one.servers[0].endpoint} leads back to us: it is not asked until a probe shows no loop; "
        "check where it forwards to",
        f"upstream {one.servers[0].endpoint} answers again",
    ]


@pytest.mark.asyncio
async def test_only_a_probe_on_its_way_is_a_probe() -> None:
    async with serve(TABLE) as upstream, asking(at(upstream)) as one:
        one.health[0].look()
        await until(lambda: not one.health[0].watching)
        (name,) = upstream.probes
        for other in (name, "open.test", f"{'a' * 26}.example"):
            assert not one.is_probe(parsed(query(other).to_wire()))
        assert not one.is_probe(Question())
        assert one.servers[0].up == 1


@pytest.mark.asyncio
async def test_a_server_is_looked_at_before_the_first_query_and_while_nothing_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forward_health, "TICK_S", 0.05)
    async with serve(TABLE) as upstream, asking(at(upstream), timeout_s=0.2) as one:
        assert not one.servers[0].asked
        assert not one.answering
        told: list[bool] = []
        one.shown = lambda: told.append(one.answering)
        one.watch()
        await until(lambda: one.answering)
        assert told == [True]
        assert (len(upstream.probes), upstream.exchanges["udp"]) == (1, 0)
        await until(lambda: len(upstream.probes) > 2)
        upstream.otherwise = (Way.SILENT,)
        await until(lambda: not one.answering)
        assert not one.groups[0].any_up()
        assert told[-1] is False


@pytest.mark.asyncio
async def test_a_server_that_answers_is_not_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward_health, "TICK_S", 0.2)
    async with serve(TABLE) as upstream, asking(at(upstream)) as one:
        one.watch()
        await until(lambda: one.answering)
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            await exchange(one, query("open.test"))
        assert len(upstream.probes) == 1


def test_an_outage_is_told_within_five_seconds() -> None:
    """An answer just after a tick, a tick that saw it, one that saw nothing, and a look in vain."""
    assert 2 * forward_health.TICK_S + PROBES * PROBE_S < 4.5


@pytest.mark.asyncio
async def test_loss_alone_takes_nobody_out() -> None:
    """A third of all datagrams is lost, each way; nearly every query is answered and the only server stays."""
    async with serve(TABLE) as upstream, asking(at(upstream), timeout_s=2.0) as one:
        upstream.loss = 0.3
        # Not all at once: a burst of resends would overflow the upstream's buffer, and lose more.
        answered = sum([await ask(one, 50) for _ in range(6)])
        assert one.servers[0].up == 1
        assert answered >= 255
