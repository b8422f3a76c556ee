"""Who is taken out and brought back: by what queries meet, by probes, and for leading back to us."""

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
from resolver.query.forward_health import LEAST, PROBES, SAMPLE
from tests.fakes.upstream import Upstream, Way, serve
from tests.unit.query.forwarding import TABLE, asking, at, closed_port, exchange, parsed
from tests.unit.query.parts import query, until

pytestmark = pytest.mark.loops


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times short enough for a test."""
    for name, value in (("PROBE_S", 0.1), ("PAUSE_S", 0.01), ("FIRST_BACK_OFF_S", 0.05), ("LAST_BACK_OFF_S", 0.2)):
        monkeypatch.setattr(forward_health, name, value)


def probes_of(upstream: Upstream) -> list[str]:
    """The names of probes that it saw."""
    names = [seen.question[0].name.to_text() for seen in upstream.queries]
    return [name for name in names if name.endswith(".example.")]


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
        async with serve(TABLE) as bad, serve(TABLE) as good, asking(at(bad), at(good), timeout_s=0.2) as one:
            bad.otherwise = (Way.SILENT,)
            assert await ask(one, 2 * LEAST) == 2 * LEAST, "the other one answers"
            await until(lambda: not one.servers[0].up)
            assert len(set(probes_of(bad))) == PROBES
            bad.exchanges.clear()
            assert await ask(one, 5) == 5
            assert len(probes_of(bad)) * 2 >= bad.exchanges["udp"], "probes alone"
            bad.otherwise = (Way.HONEST,)
            await until(lambda: one.servers[0].up)
    assert lines == [
        f"upstream {one.servers[0].endpoint} does not answer and is taken out",
        f"upstream {one.servers[0].endpoint} answers again",
    ]


@pytest.mark.asyncio
async def test_a_good_probe_clears_a_server_for_a_while() -> None:
    async with serve(TABLE) as upstream, asking(at(upstream)) as one:
        # Every query fails, but one who asks for the probe's name is told that it is not there.
        upstream.otherwise = (Way.SERVFAIL,)
        seen = upstream.answer
        server, health = one.servers[0], one.health[0]
        await ask(one, LEAST - 1)
        assert not health.watching
        upstream.answer = seen
        await ask(one, 1)
        assert health.watching
        upstream.otherwise = (Way.HONEST,)
        await until(lambda: not health.watching)
        assert server.up == 1
        upstream.otherwise = (Way.SERVFAIL,)
        await ask(one, 3 * LEAST)
        assert not health.watching, "not again so soon"


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
        upstream.otherwise = (Way.HONEST,)
        assert await ask(one, 1) == 1
        assert one.servers[0].up == 1
        assert one.any_up()


@pytest.mark.asyncio
async def test_one_that_comes_and_goes_is_asked_ever_more_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    async with asking(closed_port()) as one:
        health = one.health[0]
        back_offs = []
        for _ in range(4):
            health.take_out()
            back_offs.append(health.back_off_s)
            health.back_off_s = min(2 * health.back_off_s, forward_health.LAST_BACK_OFF_S)
            health.bring_back()
        assert back_offs == pytest.approx([0.05, 0.1, 0.2, 0.2])
        monkeypatch.setattr(forward_health, "STEADY_S", 0.0)
        health.take_out()
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
            assert one.servers[0].up == 0
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
        (name,) = probes_of(upstream)
        for other in (name, "open.test", f"{'a' * 26}.example"):
            assert not one.is_probe(parsed(query(other).to_wire()))
        assert not one.is_probe(Question())
        assert one.servers[0].up == 1


@pytest.mark.asyncio
async def test_an_idle_server_is_looked_at_and_a_busy_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward_health, "IDLE_S", 0.1)
    async with serve(TABLE) as upstream, asking(at(upstream), timeout_s=0.2) as one:
        await asyncio.sleep(0.2)
        assert upstream.exchanges["udp"] == 0, "not before the first query"
        deadline = time.monotonic() + 0.4
        while time.monotonic() < deadline:
            await exchange(one, query("open.test"))
        assert probes_of(upstream) == []
        await until(lambda: probes_of(upstream))
        assert one.servers[0].up == 1
        upstream.otherwise = (Way.SILENT,)
        await until(lambda: not one.servers[0].up)


@pytest.mark.asyncio
async def test_loss_alone_takes_nobody_out() -> None:
    """A third of all datagrams is lost, each way; nearly every query is answered and the only server stays."""
    async with serve(TABLE) as upstream, asking(at(upstream), timeout_s=2.0) as one:
        upstream.loss = 0.3
        # Not all at once: a burst of resends would overflow the upstream's buffer, and lose more.
        answered = sum([await ask(one, 50) for _ in range(6)])
        assert one.servers[0].up == 1
        assert answered >= 255
