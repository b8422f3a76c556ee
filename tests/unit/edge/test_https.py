"""DoH over HTTP/2: requests, responses, and what a client may not do."""

import asyncio
import gc
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hypothesis import given
from hypothesis import strategies as st

from resolver.core import codes
from resolver.edge import bounds, https
from resolver.edge.accept import Doors
from resolver.edge.https import Http2
from resolver.edge.secured import Above, Secured
from resolver.query.edge_frames import MAX_AGE_NONE
from tests.unit.edge.http2_client import DNS, PATH, Http2Client
from tests.unit.edge.sides import NAME, Side, side
from tests.unit.query.parts import until
from tests.unit.query.senders import asks

pytestmark = pytest.mark.loops

PING = b"\0\0\x08\x06\0\0\0\0\0" + bytes(8)
SETTINGS = b"\0\0\0\x04\0\0\0\0\0"


def frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body


def above(doors: Doors, connection: Secured, alpn: str | None) -> Above:
    assert alpn == https.ALPN
    return Http2(doors, connection, PATH)


@asynccontextmanager
async def served(folder: Path, **more: Any) -> AsyncIterator[tuple[Side, Http2Client]]:
    """A side, and a client of it."""
    async with side(folder, transport=codes.DOH, alpn=("h2", "http/1.1"), above=above, **more) as one:
        yield one, Http2Client(await one.connect("h2"))


def text(query: bytes) -> bytes:
    return urlsafe_b64encode(query).rstrip(b"=")


@pytest.mark.asyncio
async def test_a_post_and_a_get_are_answered(tmp_path: Path) -> None:
    async with served(tmp_path) as (one, client):
        one.service.answers = lambda query: query.message + b"answer"
        post, get = client.ask(asks(0)), client.head(b"GET", PATH + b"?dns=" + text(asks(7)))
        await client.until(post, get)
        assert (client.content[post], client.content[get]) == (asks(0) + b"answer", asks(7) + b"answer")
        assert {query.transport for query in one.service.queries} == {codes.DOH}
        for stream in (post, get):
            assert client.fields[stream] == {
                b":status": b"200",
                b"content-type": DNS,
                b"content-length": b"%d" % len(client.content[stream]),
                b"cache-control": b"private, max-age=60",
            }
        assert one.refused() == {}


@pytest.mark.asyncio
async def test_of_a_connection_that_has_ended_nothing_is_left_to_the_collector(tmp_path: Path) -> None:
    """The collector looks rarely, and clients that come and go would hold hundreds of megabytes meanwhile."""

    def of_connections() -> int:
        kinds = [type(one) for one in gc.get_objects() if isinstance(one, H2Connection | Http2)]
        return len([kind for kind in kinds if kind is not H2Connection])  # which the client has

    gc.collect()
    gc.disable()
    try:
        before = of_connections()
        async with side(tmp_path, transport=codes.DOH, alpn=("h2", "http/1.1"), above=above) as one:
            connected = await one.connect("h2")
            client = Http2Client(connected)
            await client.until(client.ask(asks(0)))
            await until(lambda: of_connections() == before + 2)
            await connected.close()
            await until(lambda: of_connections() == before)
    finally:
        gc.enable()


@pytest.mark.asyncio
async def test_the_first_answer_alone_has_what_is_said_once(tmp_path: Path) -> None:
    once = ((b"alt-svc", b'h3=":443"'),)

    def speaking(doors: Doors, connection: Secured, alpn: str | None) -> Above:
        return Http2(doors, connection, PATH, once)

    async with side(tmp_path, transport=codes.DOH, alpn=("h2",), above=speaking) as one:
        client = Http2Client(await one.connect("h2"))
        for number, request in enumerate((b"/other", PATH + b"?dns=" + text(asks(0)), PATH + b"?dns=" + text(asks(0)))):
            stream = client.head(b"GET", request)
            await client.until(stream)
            wanted = b'h3=":443"' if number == 1 else None  # the first is refused, the third knows
            assert client.fields[stream].get(b"alt-svc") == wanted


@pytest.mark.asyncio
async def test_who_ends_its_half_gets_the_responses_to_all_it_has_asked(tmp_path: Path) -> None:
    count = bounds.MOST_STREAMS
    async with served(tmp_path) as (one, _):
        client, spoken = await one.by_hand("h2"), H2Connection()
        spoken.initiate_connection()
        for number in range(count):
            head = [(":method", "POST"), (":path", PATH.decode()), (":scheme", "https"), (":authority", NAME)]
            spoken.send_headers(2 * number + 1, [*head, ("content-type", DNS.decode())])
            spoken.send_data(2 * number + 1, asks(number), end_stream=True)
        client.tls.write(spoken.data_to_send())
        client.end()
        said, ended = await client.rest(), set()
        while said:  # h2's own client takes nothing after a GOAWAY
            end = 9 + int.from_bytes(said[:3], "big")
            if said[3:5] == b"\0\1":
                ended.add(int.from_bytes(said[5:9], "big"))
            said = said[end:]
        assert ended == {2 * number + 1 for number in range(count)}
        assert [query.message for query in one.service.queries] == list(map(asks, range(count)))
        assert one.refused() == {}


@pytest.mark.asyncio
async def test_what_is_blocked_is_kept_by_no_cache(tmp_path: Path) -> None:
    async with served(tmp_path) as (one, client):
        one.service.max_age = MAX_AGE_NONE
        stream = client.ask(asks(0))
        await client.until(stream)
        assert client.fields[stream][b"cache-control"] == b"no-store"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("method", "target", "fields", "body", "status"),
    [
        (b"GET", b"/other?dns=" + text(asks(0)), (), None, 404),
        (b"PUT", PATH, (), None, 405),
        (b"HEAD", PATH + b"?dns=" + text(asks(0)), (), None, 405),
        (b"GET", PATH, (), None, 400),
        (b"GET", PATH + b"?dns=AA", (), None, 400),
        (b"POST", PATH, ((b"content-type", b"text/plain"),), asks(0), 415),
        (b"POST", PATH, ((b"content-type", DNS),), bytes(11), 400),
        (b"POST", PATH, ((b"content-type", DNS), (b"content-length", b"65536")), None, 413),
        (b"GET", PATH, tuple((b"x-%d" % number, b"") for number in range(80)), None, 431),
    ],
)
async def test_what_is_no_query_has_a_status_and_the_connection_goes_on(
    tmp_path: Path,
    method: bytes,
    target: bytes,
    fields: tuple[tuple[bytes, bytes], ...],
    body: bytes | None,
    status: int,
) -> None:
    async with served(tmp_path) as (one, client):
        stream = client.head(method, target, *fields, ends=body is None and status != 413)
        if body is not None:
            client.h2.send_data(stream, body, end_stream=True)
        await client.until(stream)
        assert (client.status[stream], client.content[stream]) == (status, b"")
        assert client.fields[stream][b"cache-control"] == b"no-store"
        assert client.fields[stream].get(b"allow") == (b"GET, POST" if status == 405 else None)
        assert set(client.fields[stream]) <= {b":status", b"content-length", b"cache-control", b"allow", b"accept"}
        good = client.ask(asks(0))
        await client.until(good)
        assert client.status[good] == 200
        assert one.refused() == {"request": 1}
        assert len(one.service.queries) == 1


@pytest.mark.asyncio
async def test_a_body_that_grows_too_large_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as (one, client):
        stream = client.head(b"POST", PATH, (b"content-type", DNS), ends=False)
        sent = 0
        while sent < 2**16:
            size = min(client.h2.local_flow_control_window(stream), client.h2.max_outbound_frame_size, 2**16 - sent)
            if size:
                client.h2.send_data(stream, bytes(size))
                sent += size
            else:
                await client.read()
            client.push()
        await client.until(stream)
        assert client.status[stream] == 413
        assert one.service.queries == []
        good = client.ask(asks(0))
        await client.until(good)
        assert client.status[good] == 200


@pytest.mark.asyncio
async def test_no_answer_of_the_service_is_400(tmp_path: Path) -> None:
    async with served(tmp_path) as (one, client):
        one.service.answers = lambda query: b""
        stream = client.ask(asks(0))
        await client.until(stream)
        assert client.status[stream] == 400


@pytest.mark.asyncio
async def test_answers_come_as_they_are_ready_and_many_at_once(tmp_path: Path) -> None:
    async with served(tmp_path) as (one, client):
        one.service.answers = lambda query: None
        streams = [client.ask(asks(number)) for number in range(90)]
        client.push()
        await until(lambda: len(one.service.queries) == 90, 60)
        for query in reversed(one.service.queries):
            one.service.give(query)
        await client.until(*streams)
        assert [client.content[stream][:2] for stream in streams] == [asks(number)[:2] for number in range(90)]


@pytest.mark.asyncio
async def test_an_answer_waits_for_the_client_s_window(tmp_path: Path) -> None:
    async with served(tmp_path) as (one, client):
        one.service.answers = lambda query: bytes(40000)
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1000})
        stream = client.ask(asks(0))
        await client.until(stream)
        assert client.content[stream] == bytes(40000)
        assert one.connection.buffered() == 0


@pytest.mark.asyncio
async def test_who_gives_no_window_is_closed_as_idle(tmp_path: Path) -> None:
    async with served(tmp_path, idle_s=0.3) as (one, client):
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
        client.ask(asks(0))
        await client.until()
        assert client.over
        assert len(one.service.queries) == 1


@pytest.mark.asyncio
async def test_a_request_that_never_ends_is_idle(tmp_path: Path) -> None:
    async with served(tmp_path, idle_s=0.3) as (one, client):
        client.ask(asks(0), ends=False)
        await client.until()
        assert client.gone == ErrorCodes.NO_ERROR
        assert one.service.queries == []


@pytest.mark.asyncio
async def test_an_end_says_goaway_and_answers_what_was_asked(tmp_path: Path) -> None:
    async with served(tmp_path) as (one, client):
        one.service.answers = lambda query: None
        stream = client.ask(asks(0))
        client.push()
        await until(lambda: len(one.service.queries) == 1)
        stopping = asyncio.ensure_future(one.doors.stop())
        await until(lambda: one.connection.is_open)
        await asyncio.sleep(0.1)  # the farewell leaves first
        one.service.give(one.service.queries[0])
        octets, kinds = await client.client.rest(), []
        while octets:
            kinds.append(octets[3])
            octets = octets[9 + int.from_bytes(octets[:3], "big") :]
        goaway, headers, data = 7, 1, 0
        assert kinds[-3:] == [goaway, headers, data]
        await stopping
        assert stream == 1


@pytest.mark.asyncio
async def test_an_answer_to_a_stream_that_was_given_up_is_nobody_s(tmp_path: Path) -> None:
    async with served(tmp_path) as (one, client):
        one.service.answers = lambda query: None
        stream = client.ask(asks(0))
        client.push()
        await until(lambda: len(one.service.queries) == 1)
        client.h2.reset_stream(stream, ErrorCodes.CANCEL)
        client.push()
        one.service.give(one.service.queries[0])
        one.service.answers = lambda query: query.message
        other = client.ask(asks(1))
        await client.until(other)
        assert client.content == {other: asks(1)}


@pytest.mark.asyncio
async def test_streams_that_are_opened_and_reset_end_the_connection(tmp_path: Path) -> None:
    """Rapid reset (CVE-2023-44487)."""
    async with served(tmp_path) as (one, client):
        one.service.answers = lambda query: None
        for number in range(400):
            stream = client.ask(asks(number))
            client.h2.reset_stream(stream, ErrorCodes.CANCEL)
        await client.until()
        assert client.gone == ErrorCodes.ENHANCE_YOUR_CALM
        assert one.refused() == {"flood": 1}
        assert len(one.service.queries) <= bounds.CREDIT // https.COST_OF_A_RESET + 20


@pytest.mark.asyncio
async def test_queries_of_streams_that_were_reset_are_in_flight_until_they_are_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "CREDIT", 10**6)
    async with served(tmp_path) as (one, client):
        one.service.answers = lambda query: None
        for number in range(2 * bounds.MOST_IN_FLIGHT):
            client.h2.reset_stream(client.ask(asks(number)), ErrorCodes.CANCEL)
        await client.until()
        assert client.gone == ErrorCodes.ENHANCE_YOUR_CALM
        assert one.refused() == {"flood": 1}
        assert len(one.service.queries) <= bounds.MOST_IN_FLIGHT + 20


@pytest.mark.asyncio
async def test_many_answers_without_a_window_end_the_connection(tmp_path: Path) -> None:
    async with served(tmp_path) as (one, client):
        one.service.answers = lambda query: None
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
        for number in range(20):
            client.ask(asks(number))
        client.push()
        await until(lambda: len(one.service.queries) == 20, 60)
        for query in one.service.queries:  # no octet comes from the client meanwhile
            one.service.give(query, bytes(60000))
        await client.until()
        assert client.gone == ErrorCodes.ENHANCE_YOUR_CALM
        assert one.refused() == {"flood": 1}


@pytest.mark.asyncio
async def test_what_all_hold_for_want_of_a_window_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "BUFFERED_OCTETS", 2**19)
    async with served(tmp_path) as (one, client):
        one.service.answers = lambda query: bytes(60000)
        for each in (client, *[Http2Client(await one.connect("h2")) for _ in range(3)]):
            each.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
            for number in range(4):
                each.ask(asks(number))
            each.push()
        await until(lambda: one.refused() != {}, 60)
        assert set(one.refused()) == {"connection_limit"}


@pytest.mark.asyncio
async def test_our_table_of_fields_does_not_grow_with_the_client_s_permission(tmp_path: Path) -> None:
    async with served(tmp_path) as (one, client):
        client.h2.update_settings({SettingCodes.HEADER_TABLE_SIZE: 2**24})
        for number in range(40):
            one.service.max_age = number
            stream = client.ask(asks(number))
            await client.until(stream)
            assert client.fields[stream][b"cache-control"] == b"private, max-age=%d" % number
        assert client.h2.decoder.header_table.maxsize == https.TABLE_OCTETS  # as the responses have said


FLOODS = {
    "pings": PING * 2000,
    "settings": SETTINGS * 2000,
    "settings of no kind": frame(
        4, 0, 0, b"".join(number.to_bytes(2, "big") + bytes(4) for number in range(100, 2800))
    ),
    "window updates": frame(8, 0, 0, b"\0\0\0\1") * 2000,
    "priorities": frame(2, 0, 1, bytes(4) + b"\1") * 2000,
    "frames of no kind": frame(0xBB, 0, 0, bytes(20)) * 20000,
    "empty data": frame(1, 4, 1, b"\x83\x87\x04\x0a" + PATH + b"\x0f\x10\x17" + DNS) + frame(0, 0, 1, b"") * 2000,
    "headers without an end": frame(1, 0, 1, b"\x83") + frame(9, 0, 1, b"") * 20000,
    "headers that grow": frame(1, 0, 1, b"\x83") + frame(9, 0, 1, b"\x00\x01a\x7f\x01" + b"b" * 128) * 5000,
    "resets of nothing": frame(3, 0, 1, bytes(4)) * 2000,
    "many streams": b"".join(frame(1, 4, 2 * number + 1, b"\x83\x87\x04\x0a" + PATH) for number in range(300)),
    "a table that expands": frame(
        1, 5, 1, b"\x83\x87\x44\x0a" + PATH + b"\x40\x01a\x7f\x80\x1d" + b"b" * 3839 + b"\xbe" * 8000
    ),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("octets", FLOODS.values(), ids=FLOODS)
async def test_a_flood_ends_the_connection_and_nobody_else_s(tmp_path: Path, octets: bytes) -> None:
    async with served(tmp_path) as (one, client):
        other = Http2Client(await one.connect("h2"))
        client.push(octets)
        stream = other.ask(asks(1))
        await other.until(stream)
        assert other.status[stream] == 200
        async with asyncio.timeout(60):
            assert await client.client.rest() is not None
        assert sum(one.refused().values()) == 1
        assert set(one.refused()) <= {"flood", "protocol"}


@pytest.mark.asyncio
@pytest.mark.parametrize("octets", [b"GET / HTTP/1.1\r\n\r\n" + bytes(20), bytes(100), b"\xff" * 3000])
async def test_what_is_no_http_2_ends_the_connection(tmp_path: Path, octets: bytes) -> None:
    async with side(tmp_path, transport=codes.DOH, alpn=("h2",), above=above) as one:
        client = await one.connect("h2")
        client.writer.write(octets)
        assert await client.rest()
        assert one.refused() == {"protocol": 1}


@pytest.mark.asyncio
async def test_bodies_together_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "BODY_OCTETS", 5000)
    async with served(tmp_path) as (one, client):
        for number in range(20):
            client.ask(asks(number) + bytes(1000), ends=False)
        await client.until()
        assert client.gone == ErrorCodes.ENHANCE_YOUR_CALM
        assert one.refused() == {"flood": 1}


class Alone:
    """As much of doors and connection as Http2 uses, for octets of any kind."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.sent = 0
        self.client = bytes(16)
        self.is_open = self.writable = True
        self.places = self
        self.post = lambda message, client, done: done(message[:12], 60)
        self.granted = lambda connection, taken: 1000
        self.loop = self

    def refuse(self, reason: str) -> None:
        self.reasons.append(reason)

    def send(self, data: bytes) -> None:
        self.sent += len(data)

    def time(self) -> float:
        return 0.0

    def close(self) -> None:
        self.is_open = False

    def nothing(self, *_: object, **__: object) -> None:
        """Take whatever is said."""

    says = took = busy = idle = pace = nothing


FRAMES = st.builds(frame, st.integers(0, 11), st.integers(0, 255), st.integers(0, 9), st.binary(max_size=60))
START = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SETTINGS
REQUEST = frame(1, 5, 1, b"\x83\x87\x04\x0a" + PATH)


@given(st.lists(FRAMES | st.binary(max_size=40) | st.just(REQUEST), max_size=30))
def test_any_frames_give_an_end_or_an_answer_and_never_an_exception(frames: list[bytes]) -> None:
    alone: Any = Alone()
    one = Http2(alone, alone, PATH)
    for piece in (START, *frames):
        one.received(piece)
        one.flush()
    assert alone.sent > 0
    assert set(alone.reasons) <= {"protocol", "flood", "request"}
    assert one.buffered() <= bounds.BODY_OCTETS + bounds.UNSENT_OCTETS
