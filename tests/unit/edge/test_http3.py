"""DoH over HTTP/3: requests, responses, and what ends a request or a connection."""

import asyncio
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aioquic.h3.connection import ErrorCode, H3Connection, Setting, encode_frame
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.events import QuicEvent

from resolver.core.codes import TRANSPORTS
from resolver.edge import http3
from resolver.edge.doh import MAX_AGE_NONE
from resolver.edge.http3 import HTTP3
from resolver.edge.quic_conversation import CANCELLED, STREAMS
from tests.unit.edge.quic_lab import LOOPBACK, NAME, QUERY, Client, Lab, Peer, client, frame, serving, until

STOP = 0x05
GET = "/dns-query?dns=" + urlsafe_b64encode(QUERY).decode().rstrip("=")
DNS = ("content-type", "application/dns-message")

Fields = list[tuple[bytes, bytes]]


class Browser(Client):
    """A client of HTTP/3."""

    def __init__(self, peer: Peer) -> None:
        super().__init__(peer)
        self.http = H3Connection(peer)
        self.fields: dict[int, Fields] = {}
        self.content: dict[int, bytes] = {}
        self.frames_of_control = b""

    def quic_event_received(self, event: QuicEvent) -> None:
        """Note an event, and what it says in HTTP/3."""
        super().quic_event_received(event)
        for one in self.http.handle_event(event):
            match one:
                case HeadersReceived(headers=fields, stream_id=number):
                    self.fields[number] = fields
                case DataReceived(data=data, stream_id=number):
                    self.content[number] = self.content.get(number, b"") + data

    def request(
        self, number: int, method: str, target: str, *more: tuple[str, str], content: bytes = b"", is_end: bool = True
    ) -> None:
        """Send a request."""
        texts = [(":method", method), (":scheme", "https"), (":authority", NAME), (":path", target), *more]
        fields = [(name.encode(), said.encode()) for name, said in texts]
        self.http.send_headers(number, fields, is_end and not content)
        if content:
            self.http.send_data(number, content, is_end)
        self.transmit()

    async def status(self, number: int) -> str:
        """Wait for a response; return its status, "reset" if there is none."""
        await self.whole(number)
        return dict(self.fields[number])[b":status"].decode() if number in self.fields else "reset"


@pytest_asyncio.fixture
async def lab() -> AsyncIterator[Lab]:
    """Serve DoH over HTTP/3."""
    async with serving(HTTP3) as made:
        yield made


@pytest_asyncio.fixture
async def one(lab: Lab) -> AsyncIterator[Any]:
    """Connect a Browser."""
    async with client(lab, "h3", make=Browser) as made:
        yield made


@pytest.mark.asyncio
async def test_get_and_post_are_answered_with_the_time_that_caches_may_keep_it(lab: Lab, one: Browser) -> None:
    one.request(0, "GET", GET)
    one.request(4, "POST", "/dns-query", DNS, content=QUERY)
    for number in (0, 4):
        assert await one.status(number) == "200"
        assert one.content[number] == QUERY[:2] + b"\x81" + QUERY[3:]
        assert one.fields[number] == [
            (b":status", b"200"),
            (b"content-type", b"application/dns-message"),
            (b"content-length", b"%d" % len(QUERY)),
            (b"cache-control", b"private, max-age=60"),
        ]
    assert lab.service.asked == [(QUERY, LOOPBACK, TRANSPORTS.index("doh"))] * 2


@pytest.mark.asyncio
async def test_what_no_cache_may_keep_says_so(lab: Lab, one: Browser) -> None:
    lab.service.max_age = MAX_AGE_NONE
    one.request(0, "GET", GET)
    await one.status(0)
    assert (b"cache-control", b"no-store") in one.fields[0]


@pytest.mark.asyncio
async def test_content_in_pieces_and_trailers_are_one_request(lab: Lab, one: Browser) -> None:
    one.request(0, "POST", "/dns-query", DNS, content=QUERY[:5], is_end=False)
    one.http.send_data(0, QUERY[5:], False)
    one.http.send_headers(0, [(b"a-trailer", b"x")], True)
    one.transmit()
    assert await one.status(0) == "200"
    assert [asked[0] for asked in lab.service.asked] == [QUERY]


@pytest.mark.asyncio
async def test_a_request_that_is_refused_leaves_the_connection(lab: Lab, one: Browser) -> None:
    one.request(0, "GET", "/elsewhere")
    one.request(4, "PUT", "/dns-query", DNS, content=QUERY)
    one.request(8, "POST", "/dns-query", ("content-type", "text/plain"), content=QUERY)
    one.request(12, "POST", "/dns-query", DNS, content=QUERY[:11])
    one.request(16, "GET", "/dns-query?dns=!")
    lab.service.reply = lambda query: b""
    one.request(20, "GET", GET)
    found = [await one.status(number) for number in range(0, 24, 4)]
    assert found == ["404", "405", "415", "400", "400", "400"]
    assert (b"allow", b"GET, POST") in one.fields[4]
    assert one.content == {}
    assert lab.tallies.reasons == ["request"] * 5
    lab.service.reply = lambda query: query
    one.request(24, "GET", GET)
    assert await one.status(24) == "200"


@pytest.mark.asyncio
async def test_content_that_is_too_long_is_refused_before_it_has_come(lab: Lab, one: Browser) -> None:
    one.request(0, "POST", "/dns-query", DNS, ("content-length", "70000"), content=bytes(10), is_end=False)
    assert await one.status(0) == "413"
    one.request(4, "POST", "/dns-query", DNS, content=bytes(66_000), is_end=False)
    assert await one.status(4) == "413"
    assert not lab.service.asked


@pytest.mark.asyncio
async def test_the_largest_message_passes(lab: Lab, one: Browser) -> None:
    lab.service.reply = lambda query: query
    large = QUERY + bytes(65535 - len(QUERY))
    one.request(0, "POST", "/dns-query", DNS, content=large)
    assert await one.status(0) == "200"
    assert one.content[0] == large


@pytest.mark.asyncio
async def test_no_dynamic_table_is_kept(lab: Lab, one: Browser) -> None:
    one.request(0, "GET", GET)
    await one.status(0)
    told = one.http.received_settings
    assert told is not None
    assert told[Setting.QPACK_MAX_TABLE_CAPACITY] == told[Setting.QPACK_BLOCKED_STREAMS] == 0
    one.send(6, b"\x02" + b"\x3f\xe1\x1f", is_end=False)  # the encoder of a second one: a table of 4096 octets
    assert await one.code() in (ErrorCode.H3_STREAM_CREATION_ERROR, ErrorCode.QPACK_ENCODER_STREAM_ERROR)


@pytest.mark.asyncio
async def test_a_client_that_makes_a_table_all_the_same_is_refused(lab: Lab) -> None:
    async with client(lab, "h3") as one:
        one.send(2, b"\x02" + b"\x3f\xe1\x1f" + b"\x41a\x01b", is_end=False)  # capacity 4096, then an entry
        assert await one.code() == ErrorCode.QPACK_ENCODER_STREAM_ERROR
    assert lab.tallies.reasons == ["protocol"]


@pytest.mark.asyncio
async def test_header_blocks_have_bounds(lab: Lab) -> None:
    async with client(lab, "h3", make=Browser) as one:
        one.request(0, "GET", GET, *((f"x-{number}", "y") for number in range(http3.FIELDS)))
        assert await one.code() == ErrorCode.H3_EXCESSIVE_LOAD
    async with client(lab, "h3") as one:
        one.send(0, encode_frame(0x01, b"\0\0" + b"\xd1" * http3.HEAD_OCTETS))  # one octet a field
        assert await one.code() == ErrorCode.H3_EXCESSIVE_LOAD
    assert lab.tallies.reasons == ["protocol", "protocol"]


@pytest.mark.asyncio
async def test_a_control_stream_does_not_pile_up(lab: Lab) -> None:
    async with client(lab, "h3") as one:
        one.send(2, b"\x00\x04\x80\x10\x00\x00" + bytes(3000), is_end=False)  # SETTINGS of a megabyte
        one.send(2, bytes(3000), is_end=False)
        assert await one.code() == ErrorCode.H3_EXCESSIVE_LOAD
    assert lab.tallies.reasons == ["flood"]


@pytest.mark.asyncio
async def test_frames_of_unknown_types_pass_on_a_control_stream_as_long_as_it_lasts(lab: Lab, one: Browser) -> None:
    """Browsers send a PRIORITY_UPDATE for each request."""
    one.request(0, "GET", GET)
    await one.status(0)
    for number in range(4, 4 * 40, 4):
        one.send(2, encode_frame(0xF0700, bytes(4000)), is_end=False)
        one.request(number, "GET", GET)
        assert await one.status(number) == "200"


@pytest.mark.asyncio
async def test_a_cancelled_request_gets_no_response_and_others_do(lab: Lab, one: Browser) -> None:
    lab.service.reply = lambda query: None
    one.request(0, "GET", GET)
    one.request(4, "GET", GET)
    one.request(8, "POST", "/dns-query", DNS, content=QUERY[:3], is_end=False)
    await until(lambda: len(lab.service.waiting) == 2)
    one.peer.reset_stream(8, ErrorCode.H3_REQUEST_CANCELLED)
    one.send_frames(frame(STOP, 0, ErrorCode.H3_REQUEST_CANCELLED))
    assert await one.status(0) == "reset"
    for done in lab.service.waiting:
        done(QUERY, 1)
    assert await one.status(4) == "200"
    assert not one.closed.done()


@pytest.mark.asyncio
async def test_who_cancels_most_requests_is_refused(lab: Lab, one: Browser) -> None:
    lab.service.reply = lambda query: None
    for number in range(0, 4 * (CANCELLED + STREAMS), 4):
        if one.closed.done():
            break
        one.request(number, "GET", GET)
        one.send_frames(frame(STOP, number, ErrorCode.H3_REQUEST_CANCELLED))
        await asyncio.wait_for(asyncio.wait({one.end_of(number), one.closed}, return_when="FIRST_COMPLETED"), 20)
    assert await one.code() == ErrorCode.H3_EXCESSIVE_LOAD
    assert lab.tallies.reasons == ["flood"]


@pytest.mark.asyncio
async def test_a_stop_announces_itself(lab: Lab, one: Browser) -> None:
    lab.service.reply = lambda query: None
    one.request(0, "GET", GET)
    await until(lambda: bool(lab.service.waiting))
    stopping = asyncio.create_task(lab.server.close(20))
    await until(lambda: one.received[3].endswith(encode_frame(0x07, b"\x04")))  # GOAWAY, of stream 4 and later
    lab.service.waiting[0](QUERY, 60)
    assert await one.status(0) == "200"
    assert await one.code() == ErrorCode.H3_NO_ERROR
    await asyncio.wait_for(stopping, 20)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("stream", "octets", "code"),
    [
        (0, encode_frame(0x00, b"x"), ErrorCode.H3_FRAME_UNEXPECTED),
        (0, encode_frame(0x01, b"\xff\xff\xff"), ErrorCode.QPACK_DECOMPRESSION_FAILED),
        (2, b"\x01", ErrorCode.H3_STREAM_CREATION_ERROR),
        (2, b"\x00" + encode_frame(0x07, b"\0"), ErrorCode.H3_MISSING_SETTINGS),
    ],
    ids=["data-first", "no-block", "push", "no-settings"],
)
async def test_a_protocol_error_ends_the_connection(lab: Lab, stream: int, octets: bytes, code: int) -> None:
    async with client(lab, "h3") as one:
        one.send(stream, octets, is_end=False)
        assert await one.code() == code
    assert lab.tallies.reasons == ["protocol"]
    assert not lab.server.conversations
