"""DoH over HTTP/1.1: requests, responses, and what a client may not do."""

import asyncio
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.core import codes
from resolver.edge import bounds, http1
from resolver.edge.accept import Doors
from resolver.edge.http1 import Http1
from resolver.edge.secured import Above, Secured
from tests.unit.edge.sides import Side, TlsClient, side
from tests.unit.query.parts import until
from tests.unit.query.senders import asks

pytestmark = pytest.mark.loops

PATH = b"/dns-query"
TEXT = urlsafe_b64encode(asks(1)).rstrip(b"=")
GET = b"GET /dns-query?dns=" + TEXT + b" HTTP/1.1\r\nHost: dns.example.test\r\n\r\n"
HEAD_OF_POST = b"POST /dns-query HTTP/1.1\r\nHost: x\r\nContent-Type: application/dns-message\r\n"


def post(body: bytes, *more: bytes) -> bytes:
    return HEAD_OF_POST + b"".join(more) + b"Content-Length: %d\r\n\r\n" % len(body) + body


def above(doors: Doors, connection: Secured, alpn: str | None) -> Above:
    assert alpn in (None, http1.ALPN)
    return Http1(doors, connection, PATH)


@asynccontextmanager
async def served(folder: Path, **more: Any) -> AsyncIterator[tuple[Side, TlsClient]]:
    async with side(folder, transport=codes.DOH, alpn=("h2", "http/1.1"), above=above, **more) as one:
        one.service.answers = lambda query: query.message + b"answer"
        yield one, await one.connect("http/1.1")


async def response(client: TlsClient) -> tuple[int, dict[str, str], bytes]:
    """The next response: status, fields, content."""
    async with asyncio.timeout(60):
        head = (await client.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = dict(line.split(": ", 1) for line in head[1:] if line)
        return int(head[0].split()[1]), fields, await client.reader.readexactly(int(fields.get("content-length", 0)))


@pytest.mark.asyncio
async def test_a_get_and_a_post_are_answered_over_one_connection(tmp_path: Path) -> None:
    async with served(tmp_path) as (one, client):
        for request, query in ((GET, asks(1)), (post(asks(2)), asks(2)), (GET, asks(1))):
            client.writer.write(request)
            assert await response(client) == (
                200,
                {
                    "content-type": "application/dns-message",
                    "content-length": str(len(query) + 6),
                    "cache-control": "private, max-age=60",
                },
                query + b"answer",
            )
        assert {query.transport for query in one.service.queries} == {codes.DOH}
        assert one.refused() == {}


@pytest.mark.asyncio
async def test_the_first_answer_alone_has_what_is_said_once(tmp_path: Path) -> None:
    def speaking(doors: Doors, connection: Secured, alpn: str | None) -> Above:
        return Http1(doors, connection, PATH, ((b"alt-svc", b'h3=":443"'),))

    async with side(tmp_path, transport=codes.DOH, alpn=("http/1.1",), above=speaking) as one:
        client = await one.connect("http/1.1")
        client.writer.write(GET + GET)
        assert [(await response(client))[1].get("alt-svc") for _ in range(2)] == ['h3=":443"', None]


@pytest.mark.asyncio
async def test_who_ends_its_half_gets_the_responses_to_all_it_has_asked(tmp_path: Path) -> None:
    count = bounds.MOST_STREAMS // 2
    async with served(tmp_path) as (one, _):
        client = await one.by_hand("http/1.1")
        client.tls.write(b"".join(post(asks(number)) for number in range(count)) + GET[:-1])
        client.end()
        said = await client.rest()
        assert said.count(b"HTTP/1.1 200 OK\r\n") == said.count(b"answer") == count
        assert [query.message for query in one.service.queries] == list(map(asks, range(count)))
        assert one.refused() == {}


@pytest.mark.asyncio
async def test_a_target_may_be_a_whole_url(tmp_path: Path) -> None:
    async with served(tmp_path) as (one, client):
        for scheme in (b"https", b"HTTP"):
            client.writer.write(GET.replace(PATH, scheme + b"://dns.isp.example:8443" + PATH))
            status, _, content = await response(client)
            assert (status, content) == (200, asks(1) + b"answer")
        assert [query.message for query in one.service.queries] == [asks(1), asks(1)]


@pytest.mark.asyncio
async def test_requests_in_one_write_and_in_single_octets_are_answered_in_order(tmp_path: Path) -> None:
    async with served(tmp_path) as (one, client):
        client.writer.write(b"".join(post(asks(number)) for number in range(20)))
        assert [(await response(client))[2][:2] for _ in range(20)] == [asks(number)[:2] for number in range(20)]
        for octet in post(asks(3)):
            client.writer.write(bytes([octet]))
            await asyncio.sleep(0)  # each octet in a record of its own
        assert (await response(client))[2] == asks(3) + b"answer"
        assert len(one.service.queries) == 21


@pytest.mark.asyncio
async def test_a_body_may_be_chunked_and_waits_for_leave(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, client):
        client.writer.write(HEAD_OF_POST + b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n")
        async with asyncio.timeout(60):
            assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        query = asks(4)
        client.writer.write(b"5\r\n" + query[:5] + b"\r\n%x\r\n" % len(query[5:]) + query[5:] + b"\r\n0\r\n\r\n")
        assert (await response(client))[2] == query + b"answer"


@pytest.mark.asyncio
async def test_who_wants_no_more_is_closed(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, client):
        client.writer.write(post(asks(1), b"Connection: close\r\n"))
        status, fields, _ = await response(client)
        assert (status, fields["connection"]) == (200, "close")
        assert await client.rest() == b""


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (GET.replace(PATH, b"/other"), 404),
        (GET.replace(PATH, b"https://dns.isp.example/other"), 404),
        (GET.replace(PATH + b"?dns=" + TEXT, b"https://dns.isp.example"), 404),
        (GET.replace(b"GET", b"PUT"), 405),
        (GET.replace(b"GET", b"HEAD"), 405),
        (GET.replace(TEXT, b"AA"), 400),
        (post(asks(1)).replace(b"application/dns-message", b"text/plain"), 415),
        (post(bytes(11)), 400),
        (HEAD_OF_POST + b"Content-Length: 65536\r\n\r\n", 413),
        (HEAD_OF_POST + b"Transfer-Encoding: chunked\r\n\r\n" + (b"1000\r\n" + bytes(4096) + b"\r\n") * 17, 413),
        (b"\x16\x03\x01 nothing\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (GET[:-2] + b"a: " + b"b" * 20000 + b"\r\n\r\n", 431),
        (GET[:-2] + b"a: b\r\n" * 200 + b"\r\n", 400),
        (HEAD_OF_POST + b"Content-Length: 12\r\nTransfer-Encoding: chunked\r\n\r\n" + bytes(12), 400),
        (HEAD_OF_POST + b"Content-Length: 12\r\nContent-Length: 13\r\n\r\n" + bytes(13), 400),
        (GET[:-2] + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n", 400),
    ],
)
async def test_what_is_no_query_has_a_status_and_an_end(tmp_path: Path, request_: bytes, status: int) -> None:
    async with served(tmp_path) as (one, client):
        client.writer.write(request_)
        found, fields, content = await response(client)
        assert (found, content, fields["connection"]) == (status, b"", "close")
        assert set(fields) <= {"content-length", "cache-control", "connection", "allow"}
        assert await client.rest() == b""
        assert one.refused() == {"request": 1}
        assert one.service.queries == []


@pytest.mark.asyncio
async def test_octets_that_ask_nothing_end_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "OCTETS_UNPAID", 20000)
    async with served(tmp_path) as (one, client):
        client.writer.write(b"\r\n" * 30000)
        await client.rest()
        assert sum(one.refused().values()) == 1


@pytest.mark.asyncio
async def test_an_end_lets_the_response_that_is_due_leave(tmp_path: Path) -> None:
    async with served(tmp_path) as (one, client):
        one.service.answers = lambda query: None
        client.writer.write(GET)
        await until(lambda: len(one.service.queries) == 1)
        stopping = asyncio.ensure_future(one.doors.stop())
        await asyncio.sleep(0.1)  # the stop comes first
        one.service.give(one.service.queries[0], asks(1))
        status, fields, content = await response(client)
        assert (status, fields["connection"], content) == (200, "close", asks(1))
        await stopping


@pytest.mark.asyncio
async def test_a_request_that_never_ends_is_idle(tmp_path: Path) -> None:
    async with served(tmp_path, idle_s=0.3) as (one, client):
        client.writer.write(GET[:-2])
        assert await client.rest() == b""
        assert one.service.queries == []


class Alone:
    """As much of doors and connection as Http1 uses, for octets of any kind."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.reasons: list[str] = []
        self.sent = b""
        self.client = bytes(16)
        self.is_open = self.writable = True
        self.places = self
        self.post = lambda message, client, done: done(message[:12], 60)
        self.granted = lambda connection, taken: 1000
        self.loop = loop

    def refuse(self, reason: str) -> None:
        self.reasons.append(reason)

    def send(self, data: bytes) -> None:
        self.sent += data

    def close(self) -> None:
        self.is_open = False

    def nothing(self, *_: object, **__: object) -> None:
        """Take whatever is said."""

    says = took = busy = idle = pace = nothing


LINES = st.sampled_from(
    [b"\r\n", b"\n", b"GET", b"POST ", PATH, b" HTTP/1.1\r\n", b": ", b"Host: x", b"0\r\n", GET, post(asks(1))]
)


@given(st.lists(LINES | st.binary(max_size=20), max_size=30))
def test_any_octets_give_an_end_or_an_answer_and_never_an_exception(pieces: list[bytes]) -> None:
    async def all_of_them() -> None:
        alone: Any = Alone(asyncio.get_running_loop())
        one = Http1(alone, alone, PATH)
        for piece in pieces:
            one.received(piece)
            one.flush()
        assert set(alone.reasons) <= {"flood", "request"}
        assert alone.sent.startswith(b"HTTP/1.1 ") or not alone.sent
        assert one.buffered() <= bounds.OCTETS_UNPAID

    asyncio.run(all_of_them())
