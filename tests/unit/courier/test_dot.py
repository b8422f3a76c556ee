"""Messages over TLS: cut anywhere, with ids of their own; what is none ends the connection."""

import pytest

from resolver.query.courier_frames import Reason
from tests.fakes.sealed import Way
from tests.fakes.upstream import HUGE_OCTETS
from tests.unit.courier.sealing import Authority, answered, both, failed, flight_of, query
from tests.unit.query.parts import until


@pytest.mark.asyncio
@pytest.mark.parametrize("way", [Way.OTHER_ID, Way.GARBAGE])
async def test_an_answer_to_nothing_ends_the_connection(authority: Authority, way: Way) -> None:
    async with both(authority) as (server, one, service):
        server.way = way
        one.ask(1, query())
        assert await failed(service, 1) == (Reason.GARBLED, 0)
        assert one.connections == []
        assert len(server.seen) == 2, "asked once more over another"


@pytest.mark.asyncio
async def test_the_largest_answer_arrives_whole(authority: Authority) -> None:
    async with both(authority) as (server, one, service):
        made = server.reply_to
        server.reply_to = lambda asked: made(asked) + bytes(HUGE_OCTETS)  # type: ignore[method-assign]  # one answer
        one.ask(1, query())
        await answered(service, 1)
        assert len(service.answers[1]) > HUGE_OCTETS


@pytest.mark.asyncio
async def test_an_answer_that_nobody_waits_for_is_dropped(authority: Authority) -> None:
    async with both(authority) as (server, one, service):
        one.ask(0, query())
        await answered(service, 0)
        server.delay_s = 0.05
        one.ask(1, query("a.test"))
        one.ask(2, query("b.test"))
        await until(lambda: len(server.seen) == 3)
        (line,) = one.connections
        line.forget(flight_of(line, 1))
        assert len(line.left) == 1
        await answered(service, 2)
        await until(lambda: not line.left)
        assert (sorted(service.answers), service.failures) == ([0, 2], {})
