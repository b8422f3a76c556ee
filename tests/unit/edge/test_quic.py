"""DoQ: a query a stream, and what ends a connection (RFC 9250)."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from resolver.core.codes import TRANSPORTS
from resolver.edge import quic
from resolver.edge.quic import DOQ
from resolver.edge.quic_conversation import CANCELLED, STREAMS
from tests.unit.edge.quic_lab import LOOPBACK, QUERY, Client, Lab, client, frame, serving, until

KEEPALIVE = QUERY[:11] + b"\x01" + QUERY[12:] + bytes.fromhex("00 0029 04d0 00000000 0004 000b 0000")
RESET, STOP = 0x04, 0x05


def framed(query: bytes) -> bytes:
    """Return a message behind its length."""
    return len(query).to_bytes(2, "big") + query


@pytest_asyncio.fixture
async def lab() -> AsyncIterator[Lab]:
    """Serve DoQ."""
    async with serving(DOQ) as made:
        yield made


@pytest_asyncio.fixture
async def one(lab: Lab) -> AsyncIterator[Client]:
    """Connect a client."""
    async with client(lab, "doq") as made:
        yield made


@pytest.mark.asyncio
async def test_a_query_is_answered_on_its_stream_with_its_client_and_transport(lab: Lab, one: Client) -> None:
    one.send(0, framed(QUERY))
    answer = await one.whole(0)
    assert answer[:2] == len(QUERY).to_bytes(2, "big")
    assert answer[2:4] == b"\0\0"
    assert answer[4] & 0x80
    assert lab.service.asked == [(QUERY, LOOPBACK, TRANSPORTS.index("doq"))]


@pytest.mark.asyncio
async def test_answers_come_in_any_order(lab: Lab, one: Client) -> None:
    lab.service.reply = lambda query: None
    for number in (0, 4, 8):
        one.send(number, framed(QUERY))
    await until(lambda: len(lab.service.waiting) == 3)
    for number, done in zip((8, 0, 4), (lab.service.waiting[at] for at in (2, 0, 1)), strict=True):
        done(QUERY + bytes((number,)), 0)
        assert (await one.whole(number))[-1] == number


@pytest.mark.asyncio
async def test_a_query_in_pieces_waits_for_the_end_of_its_stream(lab: Lab, one: Client) -> None:
    for octet in framed(QUERY):
        one.send(0, bytes((octet,)), is_end=False)
        await asyncio.sleep(0)  # a datagram for each
    one.send(4, framed(QUERY))
    await one.whole(4)
    assert len(lab.service.asked) == 1, "the first stream has not ended"
    one.send(0, b"")
    assert len(await one.whole(0)) == 2 + len(QUERY)


@pytest.mark.asyncio
async def test_the_largest_query_and_answer_pass(lab: Lab, one: Client) -> None:
    lab.service.reply = lambda query: query
    large = QUERY + bytes(65535 - len(QUERY))
    one.send(0, framed(large))
    assert await one.whole(0) == framed(large)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("octets", "is_end"),
    [
        (framed(b"\0\1" + QUERY[2:]), True),
        (framed(KEEPALIVE), True),
        (framed(QUERY)[:-1], True),
        (framed(QUERY) + b"x", True),
        (framed(QUERY) + b"x", False),
        (framed(QUERY) + framed(QUERY), True),
        (framed(QUERY[:11]), True),
        (b"\0\0", True),
        (b"\0", True),
        (b"", True),
    ],
    ids=["id", "keepalive", "short", "long", "long-open", "two", "header", "empty", "half", "nothing"],
)
async def test_a_protocol_error_ends_the_connection(lab: Lab, one: Client, octets: bytes, is_end: bool) -> None:
    one.send(0, octets, is_end=is_end)
    assert await one.code() == quic.PROTOCOL_ERROR
    assert lab.tallies.reasons == ["protocol"]
    assert not lab.service.asked
    assert not lab.server.conversations


@pytest.mark.asyncio
async def test_a_query_without_an_answer_has_its_stream_reset(lab: Lab, one: Client) -> None:
    lab.service.reply = lambda query: b""
    one.send(0, framed(QUERY))
    assert await one.whole(0) == b""
    assert one.resets == {0: quic.UNSPECIFIED_ERROR}
    assert not one.closed.done()


@pytest.mark.asyncio
async def test_a_cancelled_query_gets_no_answer_and_others_do(lab: Lab, one: Client) -> None:
    lab.service.reply = lambda query: None
    one.send(0, framed(QUERY))
    one.send(4, framed(QUERY))
    await until(lambda: len(lab.service.waiting) == 2)
    one.send_frames(frame(STOP, 0, quic.REQUEST_CANCELLED))
    assert await one.whole(0) == b""
    for done in lab.service.waiting:
        done(QUERY, 0)
    assert await one.whole(4) == framed(QUERY)
    assert one.resets == {0: quic.REQUEST_CANCELLED}


@pytest.mark.asyncio
async def test_a_stream_that_is_reset_before_its_query_is_whole_is_reset_back(lab: Lab, one: Client) -> None:
    one.send(0, framed(QUERY)[:5], is_end=False)
    one.send_frames(frame(RESET, 0, quic.REQUEST_CANCELLED, 5))
    assert await one.whole(0) == b""
    assert one.resets == {0: quic.REQUEST_CANCELLED}
    assert not lab.service.asked


@pytest.mark.asyncio
async def test_a_query_on_a_stream_that_was_stopped_before_is_not_asked(lab: Lab, one: Client) -> None:
    one.send(0, b"", is_end=False)
    one.send_frames(frame(STOP, 0, quic.REQUEST_CANCELLED))
    assert await one.whole(0) == b""
    one.send(0, framed(QUERY))
    one.send(4, framed(QUERY))
    await one.whole(4)
    assert len(lab.service.asked) == 1


@pytest.mark.asyncio
async def test_who_cancels_most_queries_is_refused(lab: Lab, one: Client) -> None:
    lab.service.reply = lambda query: None
    for number in range(0, 4 * (CANCELLED + STREAMS), 4):
        if one.closed.done():
            break
        one.send(number, framed(QUERY))
        one.send_frames(frame(STOP, number, quic.REQUEST_CANCELLED))
        await asyncio.wait_for(asyncio.wait({one.end_of(number), one.closed}, return_when="FIRST_COMPLETED"), 20)
    assert await one.code() == quic.EXCESSIVE_LOAD
    assert lab.tallies.reasons == ["flood"]
    assert len(lab.service.asked) <= STREAMS, "cancelled queries are in flight too"


@pytest.mark.asyncio
async def test_a_client_that_does_not_read_answers_is_closed(lab: Lab) -> None:
    lab.service.reply = lambda query: query + bytes(60_000)
    async with client(lab, "doq", max_stream_data=1000, max_data=1000) as one:
        for number in range(0, 4 * 12, 4):
            one.send(number, framed(QUERY))
        assert await one.code() == quic.EXCESSIVE_LOAD
    assert lab.tallies.reasons == ["slow"]
