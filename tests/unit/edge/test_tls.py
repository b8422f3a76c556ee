"""DNS over TLS: framing, pipelining, and what ends a connection."""

import asyncio
import struct
from pathlib import Path

import pytest

from resolver.core import codes
from resolver.edge import bounds, link
from resolver.query.edge_frames import Query
from resolver.query.transport import framed
from tests.unit.edge.services import ANSWER_TO
from tests.unit.edge.sides import side
from tests.unit.query.parts import until
from tests.unit.query.senders import asks

pytestmark = pytest.mark.loops


def answer(number: int) -> bytes:
    return ANSWER_TO(Query(0, codes.DOT, b"", asks(number)))


@pytest.mark.asyncio
@pytest.mark.parametrize("alpn", [(), ("dot",), ("other",)])
async def test_a_query_is_answered_whatever_protocol_is_named(tmp_path: Path, alpn: tuple[str, ...]) -> None:
    async with side(tmp_path) as one:
        client = await one.connect(*alpn)
        client.send(asks(1))
        assert await client.reply() == answer(1)
        (query,) = one.service.queries
        assert (query.message, query.transport) == (asks(1), codes.DOT)
        assert query.client == bytes(10) + b"\xff\xff\x7f\0\0\1"
        assert one.tallies.handshakes == 1


@pytest.mark.asyncio
async def test_answers_come_as_they_are_ready(tmp_path: Path) -> None:
    async with side(tmp_path) as one:
        one.service.answers = lambda query: None
        client = await one.connect()
        client.send(*(asks(number) for number in (1, 2, 3)))
        await until(lambda: len(one.service.queries) == 3)
        for place in (2, 0, 1):
            one.service.give(one.service.queries[place])
        assert [await client.reply() for _ in range(3)] == [answer(3), answer(1), answer(2)]


@pytest.mark.asyncio
async def test_a_query_may_come_in_any_pieces(tmp_path: Path) -> None:
    async with side(tmp_path) as one:
        client = await one.connect()
        for octet in framed(asks(1)) + framed(asks(2)):
            client.writer.write(bytes([octet]))
            await asyncio.sleep(0)  # each octet in a record of its own
        assert [await client.reply(), await client.reply()] == [answer(1), answer(2)]


@pytest.mark.asyncio
async def test_the_largest_message_goes_both_ways(tmp_path: Path) -> None:
    async with side(tmp_path) as one:
        one.service.answers = lambda query: query.message
        client = await one.connect()
        client.send(bytes(range(256)) * 255 + bytes(255))
        assert await client.reply() == bytes(range(256)) * 255 + bytes(255)


@pytest.mark.asyncio
async def test_more_than_a_share_at_once_is_answered_whole(tmp_path: Path) -> None:
    count = 2 * bounds.QUERIES_A_TURN + 3
    async with side(tmp_path) as one:
        both = [await one.connect(), await one.connect()]
        for client in both:
            client.send(*map(asks, range(count)))
        for client in both:
            assert {await client.reply() for _ in range(count)} == set(map(answer, range(count)))


@pytest.mark.asyncio
@pytest.mark.parametrize("count", [bounds.MOST_IN_FLIGHT, 2 * bounds.QUERIES_A_TURN + 3])
async def test_who_ends_its_half_gets_the_answers_to_all_it_has_asked(tmp_path: Path, count: int) -> None:
    async with side(tmp_path) as one:
        client = await one.by_hand()
        client.send(*map(asks, range(count)))
        client.tls.write(framed(asks(count))[:-1])  # a query that never becomes whole
        client.end()
        assert sorted(await client.rest()) == sorted(b"".join(framed(answer(number)) for number in range(count)))
        assert len(one.service.queries) == count
        assert one.refused() == {}


@pytest.mark.asyncio
async def test_no_more_than_a_bound_waits_for_answers(tmp_path: Path) -> None:
    async with side(tmp_path) as one:
        one.service.answers = lambda query: None
        client = await one.connect()
        client.send(*map(asks, range(bounds.MOST_IN_FLIGHT + 1)))
        await until(lambda: len(one.service.queries) == bounds.MOST_IN_FLIGHT)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(one.service.queries) == bounds.MOST_IN_FLIGHT
        one.service.give(one.service.queries[0])
        await until(lambda: len(one.service.queries) == bounds.MOST_IN_FLIGHT + 1)
        for query in one.service.queries[1:]:
            one.service.give(query)
        assert len({await client.reply() for _ in range(bounds.MOST_IN_FLIGHT + 1)}) == bounds.MOST_IN_FLIGHT + 1


@pytest.mark.asyncio
async def test_what_cannot_be_framed_ends_the_connection_after_earlier_answers(tmp_path: Path) -> None:
    async with side(tmp_path) as one:
        client = await one.connect()
        client.writer.write(framed(asks(1)) + struct.pack("!H", 11) + bytes(11) + framed(asks(2)))
        assert await client.rest() == framed(answer(1))
        assert one.refused() == {"protocol": 1}


@pytest.mark.asyncio
async def test_a_query_without_an_answer_ends_nothing(tmp_path: Path) -> None:
    async with side(tmp_path) as one:
        one.service.answers = lambda query: b"" if query.message == asks(1) else query.message
        client = await one.connect()
        client.send(asks(1), asks(2))
        assert await client.reply() == asks(2)


@pytest.mark.asyncio
async def test_an_idle_connection_is_closed_in_order(tmp_path: Path) -> None:
    async with side(tmp_path, idle_s=0.2) as one:
        client = await one.connect()
        client.send(asks(1))
        assert await client.rest() == framed(answer(1))
        assert one.refused() == {}


@pytest.mark.asyncio
async def test_an_old_connection_is_closed_after_its_last_answer(tmp_path: Path) -> None:
    async with side(tmp_path, life_s=0.2) as one:
        one.service.answers = lambda query: None
        client = await one.connect()
        client.send(asks(1))
        await until(lambda: len(one.service.queries) == 1)
        await asyncio.sleep(0.4)  # its life ends while a query waits
        one.service.give(one.service.queries[0])
        assert await client.rest() == framed(answer(1))


@pytest.mark.asyncio
async def test_a_stop_lets_answers_reach_their_clients(tmp_path: Path) -> None:
    async with side(tmp_path) as one:
        one.service.answers = lambda query: None
        client = await one.connect()
        client.send(asks(1))
        await until(lambda: len(one.service.queries) == 1)
        stopping = asyncio.ensure_future(one.doors.stop())
        await asyncio.sleep(0)
        one.service.give(one.service.queries[0])
        assert await client.rest() == framed(answer(1))
        await stopping
        with pytest.raises(ConnectionError):
            await one.plain()


@pytest.mark.asyncio
async def test_without_the_service_the_edge_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "LOST_S", 0.1)
    async with side(tmp_path) as one:
        client = await one.connect()
        await one.service.stop()
        client.send(asks(1))
        reply = await client.reply()
        assert (reply[:2], reply[3] & 15) == (asks(1)[:2], codes.SERVFAIL)
        assert one.refused() == {"service": 1}
