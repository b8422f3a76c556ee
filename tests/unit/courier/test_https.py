"""HTTP/2: what is asked, what counts as an answer, and what a server may do to a connection."""

import gc
from functools import partial

import dns.message
import pytest
from h2.settings import SettingCodes

from resolver.courier import connection
from resolver.courier.https import HEADER_OCTETS, MOST_FRAMES, Frames, Known
from resolver.query.courier_frames import Reason
from tests.fakes.sealed import NAME, Sealed, Way
from tests.unit.courier.sealing import Authority, answered, both, failed, query
from tests.unit.query.parts import until


def say(server: Sealed, stream: int, headers: list[tuple[str, str]]) -> None:
    """Send these headers of a response over the one connection."""
    (transport,) = server.open
    protocol = transport.get_protocol()  # type: ignore[attr-defined]  # it is a Transport
    protocol.http.send_headers(stream, headers)
    transport.write(protocol.http.data_to_send())  # type: ignore[attr-defined]  # it is a Transport


@pytest.mark.asyncio
async def test_a_request_says_nothing_but_the_question(authority: Authority) -> None:
    async with both(authority, https=True) as (server, one, service):
        one.ask(1, query())
        await answered(service, 1)
        assert server.headers == [
            {
                ":method": "POST",
                ":scheme": "https",
                ":authority": f"{NAME}:{server.port}",
                ":path": "/dns-query",
                "accept": "application/dns-message",
                "content-type": "application/dns-message",
                "content-length": "128",
            }
        ]


@pytest.mark.asyncio
async def test_what_is_no_answer_fails_its_query_and_no_other(authority: Authority) -> None:
    cases = {
        Way.REDIRECT: (Reason.REDIRECTED, 307),
        Way.NOT_FOUND: (Reason.STATUS, 404),
        Way.OTHER_TYPE: (Reason.CONTENT, 0),
        Way.LARGE: (Reason.LARGE, 0),
    }
    async with both(authority, https=True) as (server, one, service):
        for number, (way, expected) in enumerate(cases.items()):
            server.way = way
            one.ask(number, query())
            assert await failed(service, number) == expected
            server.way = Way.HONEST
            one.ask(100 + number, query())
            await answered(service, 100 + number)
        assert server.connections == 1


@pytest.mark.asyncio
async def test_settings_that_a_server_makes_up_are_not_kept(authority: Authority) -> None:
    kept = Known(client=False)
    kept[0xF000] = 1
    kept[SettingCodes.MAX_CONCURRENT_STREAMS] = 7
    kept.acknowledge()
    assert (0xF000 in kept, kept.max_concurrent_streams) == (False, 7)
    async with both(authority, https=True) as (server, one, service):
        one.ask(1, query())
        await answered(service, 1)
        (transport,) = server.open
        for first in range(0x1000, 0x6000, 2000):
            frame = b"".join(code.to_bytes(2) + bytes(4) for code in range(first, first + 2000))
            transport.write(len(frame).to_bytes(3) + b"\4\0" + bytes(4) + frame)  # type: ignore[attr-defined]  # it is a Transport
        one.ask(2, query())
        await answered(service, 2)
        assert server.connections == 1
        tracked = [each for each in gc.get_objects() if isinstance(each, Known)]
        assert len(tracked) >= 2
        assert max(map(len, tracked)) < 10


@pytest.mark.asyncio
async def test_a_large_block_of_headers_ends_the_connection(authority: Authority) -> None:
    async with both(authority, https=True) as (server, one, service):
        server.way = Way.SILENT
        one.ask(1, query())
        await until(lambda: len(server.seen) == 1)
        server.way = Way.HONEST
        more = [(f"x-{number}", "a" * 100) for number in range(HEADER_OCTETS // 100)]
        say(server, 1, [(":status", "200"), ("content-type", "application/dns-message"), *more])
        await answered(service, 1)
        assert server.connections == 2, "and is asked elsewhere"


@pytest.mark.asyncio
async def test_an_answer_of_a_cache_has_its_ttl_lowered(authority: Authority) -> None:
    async with both(authority, https=True) as (server, one, service):
        server.way = Way.OLD
        one.ask(1, query())
        await answered(service, 1)
        assert dns.message.from_wire(service.answers[1]).answer[0].ttl == 200


@pytest.mark.asyncio
@pytest.mark.parametrize("way", [Way.GOAWAY, Way.REFUSED_STREAM])
async def test_what_a_server_has_not_looked_at_is_asked_elsewhere(authority: Authority, way: Way) -> None:
    async with both(authority, https=True) as (server, one, service):
        server.way = way
        one.ask(1, query())
        await answered(service, 1)
        assert server.connections == 2
        assert service.failures == {}


@pytest.mark.asyncio
async def test_as_many_streams_are_open_as_the_server_allows(authority: Authority) -> None:
    async with both(authority, https=True) as (server, one, service):
        server.streams = 4
        one.ask(0, query())
        await answered(service, 0)
        server.way = Way.SILENT
        for number in range(1, 4):
            one.ask(number, query(f"n{number}.test"))
        assert len(one.connections) == 1
        one.ask(4, query())
        one.ask(5, query())
        await until(lambda: len(server.seen) == 6)
        assert len(one.connections) == 2
        assert service.failures == {}


@pytest.mark.asyncio
@pytest.mark.parametrize("octets", [b"\0\0\1\0\0\0\0\0\0x", b"HTTP/1.1 400 Bad Request\r\n\r\n" * 1000])
async def test_what_is_no_http_2_ends_the_connection(
    authority: Authority, octets: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What looks like the beginning of a huge frame is read no further than this.
    monkeypatch.setattr(connection, "EMPTY_OCTETS", 20_000)
    async with both(authority, https=True) as (server, one, service):
        one.ask(0, query())
        await answered(service, 0)
        server.way = Way.SILENT
        one.ask(1, query())
        await until(lambda: len(server.seen) == 2)
        (transport,) = server.open
        transport.write(octets)  # type: ignore[attr-defined]  # it is a Transport
        server.way = Way.HONEST
        await answered(service, 1)
        assert server.connections == 2, "and is asked elsewhere"


def frame(kind: int, body: bytes, stream: int = 0) -> bytes:
    """A frame of HTTP/2 (RFC 9113 4.1)."""
    return len(body).to_bytes(3) + bytes([kind, 0]) + stream.to_bytes(4) + body


@pytest.mark.parametrize("step", [1, 2, 8, 9, 10, 17, 1000])
def test_goaway_is_taken_out_wherever_what_comes_is_cut(step: int) -> None:
    settings, ping, data = frame(4, bytes(6)), frame(6, bytes(8)), frame(0, b"\0\0\x08\7" * 30, 1)
    goaways = [frame(7, last.to_bytes(4) + bytes(4) + more) for last, more in ((2**31 - 1, b""), (5, b"bye"), (9, b""))]
    short = frame(7, bytes(7))
    octets = b"".join((settings, goaways[0], ping, goaways[1], data, goaways[2], short, ping))
    frames, kept, lasts = Frames(), b"", [2**31 - 1]
    for at in range(0, len(octets), step):
        kept += frames.without_goaway(octets[at : at + step])
        if frames.last != lasts[-1]:
            lasts.append(frames.last)
    assert kept == settings + ping + data + short + ping, "one that is too short is left to h2"
    assert lasts == [2**31 - 1, 5]
    assert frames.count == 8


@pytest.mark.asyncio
async def test_what_is_under_way_when_a_server_goes_is_still_answered(authority: Authority) -> None:
    async with both(authority, https=True) as (server, one, service):
        one.ask(0, query())
        await answered(service, 0)
        server.delay_s = 0.05
        one.ask(1, query())
        one.ask(2, query())
        await until(lambda: len(server.seen) == 3)
        (transport,) = server.open
        # nginx and others say so after a number of requests: the first of two frames, and then the second.
        for last in (2**31 - 1, 5):
            transport.write(frame(7, last.to_bytes(4) + bytes(4)))  # type: ignore[attr-defined]  # it is a Transport
        await until(lambda: one.connections[0].retired)
        await answered(service, 1, 2)
        one.ask(3, query())
        await answered(service, 3)
        assert (server.connections, len(server.seen)) == (2, 4), "nothing is asked twice"
        assert (service.failures, service.notices) == ({}, [])


@pytest.mark.asyncio
async def test_frames_without_answers_end_the_connection(authority: Authority) -> None:
    async with both(authority, https=True) as (server, one, service):
        one.ask(1, query())
        await answered(service, 1)
        (line,), (transport,) = one.connections, server.open
        pings = frame(6, bytes(8)) * (MOST_FRAMES // 2)
        transport.write(pings)  # type: ignore[attr-defined]  # it is a Transport
        one.ask(2, query())
        await answered(service, 2)
        transport.write(pings)  # type: ignore[attr-defined]  # it is a Transport
        one.ask(3, query())
        await answered(service, 3)
        assert service.notices == [], "answers pay for them"
        transport.write(pings * 3)  # type: ignore[attr-defined]  # it is a Transport
        await until(lambda: line not in one.connections)
        assert service.notices == [(Reason.FLOOD, 0)]


@pytest.mark.asyncio
async def test_a_server_that_answers_with_errors_alone_is_no_flood(authority: Authority) -> None:
    """What is said of it is its status: to ask it was ours, and each of its responses ended a query."""
    async with both(authority, https=True) as (server, one, service):
        server.way = Way.NOT_FOUND
        one.ask(1, query())
        assert await failed(service, 1) == (Reason.STATUS, 404)
        (line,), (transport,) = one.connections, server.open
        for number in range(2, 5):
            transport.write(frame(6, bytes(8)) * (MOST_FRAMES // 2))  # type: ignore[attr-defined]  # it is a Transport
            one.ask(number, query())
            assert await failed(service, number) == (Reason.STATUS, 404)
        assert (one.connections, service.notices) == ([line], [])


def _has_seen(server: Sealed, queries: int) -> bool:
    return len(server.seen) == queries


@pytest.mark.asyncio
async def test_a_notice_says_how_many_queries_have_failed_by_it(authority: Authority) -> None:
    """The first connection's query is asked again over another one; then it fails, and is counted as such."""
    async with both(authority, https=True) as (server, one, service):
        server.way = Way.SILENT
        one.ask(1, query())
        for seen in (1, 2):
            await until(partial(_has_seen, server, seen))
            for transport in tuple(server.open):
                transport.write(frame(0, b"\0"))  # type: ignore[attr-defined]  # it is a Transport
        assert await failed(service, 1) == (Reason.GARBLED, 0)
        await until(lambda: len(service.notices) == 2)
        assert service.notices == [(Reason.GARBLED, 0), (Reason.GARBLED, 1)]
