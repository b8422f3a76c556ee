"""What waits of a connection until it is taken: nothing of it is lost, and it is bounded."""

import asyncio
from pathlib import Path

import pytest

from resolver.core import codes
from resolver.edge import bounds, http1
from resolver.edge.http1 import Http1
from resolver.query.edge_frames import Query
from resolver.query.transport import framed
from tests.unit.edge.services import ANSWER_TO
from tests.unit.edge.sides import Handmade, Side, client_context, side
from tests.unit.query.parts import until
from tests.unit.query.senders import asks

pytestmark = pytest.mark.loops

PATH = "/dns-query"


def answer(number: int) -> bytes:
    return ANSWER_TO(Query(0, codes.DOT, b"", asks(number)))


async def shaken(one: Side, *alpn: str) -> Handmade:
    """A client whose octets are in its hands."""
    client = Handmade(await one.plain(), client_context(*alpn))
    await client.shake()
    return client


@pytest.mark.asyncio
async def test_a_client_that_sends_no_more_gets_the_answers_to_what_waits(tmp_path: Path) -> None:
    count = bounds.MOST_IN_FLIGHT + bounds.QUERIES_A_SHARE + 1
    async with side(tmp_path) as one:
        client = await one.by_hand()
        client.send(*map(asks, range(count)))
        client.end()
        said, size = await client.rest(), len(framed(answer(0)))
        assert len(said) == count * size
        found = {said[at : at + size] for at in range(0, len(said), size)}
        assert found == {framed(answer(number)) for number in range(count)}
        assert one.refused() == {}


@pytest.mark.asyncio
async def test_what_is_no_whole_query_at_the_end_is_not_waited_for(tmp_path: Path) -> None:
    async with side(tmp_path) as one:
        client = await one.by_hand()
        client.tls.write(framed(asks(1)) + framed(asks(2))[:-1])
        client.push()
        client.end()
        assert await client.rest() == framed(answer(1))


@pytest.mark.asyncio
async def test_requests_that_wait_for_one_another_are_answered_in_order_and_to_the_last(tmp_path: Path) -> None:
    bodies = [asks(number) for number in range(3)]
    head = f"POST {PATH} HTTP/1.1\r\nhost: a.test\r\ncontent-type: application/dns-message\r\ncontent-length: "
    requests = [f"{head}{len(body)}\r\n\r\n".encode() + body for body in bodies]
    async with side(
        tmp_path,
        transport=codes.DOH,
        alpn=(http1.ALPN,),
        above=lambda doors, connection, alpn: Http1(doors, connection, PATH.encode()),
    ) as one:
        one.service.answers = lambda query: None
        client = await shaken(one, http1.ALPN)
        client.tls.write(requests[0])
        client.push()
        await until(lambda: len(one.service.queries) == 1)
        client.tls.write(b"".join(requests[1:]))  # comes while the first one waits for its answer
        client.push()
        client.end()
        for number in range(3):
            await until(lambda number=number: len(one.service.queries) == number + 1)  # type: ignore[misc]  # a default is no argument
            one.service.give(one.service.queries[number])
        said = await client.rest()
        places = [said.index(answer(number)) for number in range(3)]
        assert places == sorted(places)
        assert said.count(b"HTTP/1.1 200 ") == 3


@pytest.mark.asyncio
async def test_what_waits_is_bounded(tmp_path: Path) -> None:
    async with side(tmp_path) as one:
        one.service.answers = lambda query: None
        client = await one.by_hand()
        query = framed(asks(1) + bytes(1000))
        count = bounds.MOST_IN_FLIGHT + 4 * bounds.READ_OCTETS // len(query)
        for _ in range(count):
            client.tls.write(query)
        client.push()
        client.end()
        await until(lambda: one.connection.buffered() >= bounds.UNREAD_OCTETS)
        for _ in range(50):
            await asyncio.sleep(0)
        assert one.connection.buffered() <= bounds.UNREAD_OCTETS + bounds.READ_OCTETS
        assert len(one.service.queries) == bounds.MOST_IN_FLIGHT
        one.service.answers = ANSWER_TO
        for waiting in one.service.queries[:]:
            one.service.give(waiting)
        assert len(await client.rest()) == count * len(query)
