"""The quiet server: hostile bytes, crowds and slow clients leave no word in a log, and no connection open."""

import asyncio
import logging
import re
import socket
import struct
import time

import pytest
from aiohttp import web

from resolver.quiet_http.bounds import Bounds
from resolver.quiet_http.connection import MAX_HEAD
from resolver.quiet_http.serve import Respond, serve_http
from resolver.quiet_http.server import QuietServer
from tests.unit.wire import AMBIGUOUS, SECOND, exchange

pytestmark = pytest.mark.loops

CANARY = b"canary.example"
PLAIN = Bounds(connections=50, per_client=50, head_s=30, age_s=30)

HOSTILE = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00" + CANARY + b"\r\n\r\n",
    "an unknown method": b"CANARY /canary HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "a bad version": b"GET /canary HTTP/9.9\r\nHost: a.test\r\n\r\n",
    "a line too long": b"GET /" + CANARY * 4000 + b" HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "a field too large": b"GET / HTTP/1.1\r\nHost: a.test\r\nX: " + CANARY * 4000 + b"\r\n\r\n",
    "too many fields": b"GET / HTTP/1.1\r\nHost: a.test\r\n" + b"X: canary\r\n" * 200 + b"\r\n",
    "fields too large in all": b"GET / HTTP/1.1\r\nHost: a.test\r\n" + b"X: canary\r\n" * 1000 + b"\r\n",
    "an octet that no request begins with": b"\x16canary",
    "a field without a colon": b"GET / HTTP/1.1\r\nHost: a.test\r\ncanary\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: canary.test\r\nHost: b.test\r\n\r\n",
    "a bad authority": b"GET http://canary:99999/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "a bad length": b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: canary\r\n\r\n",
    "length and chunks": b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a NUL": b"GET /\0canary HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "not ASCII": b"GET /\xff\xfecanary HTTP/1.1\r\nHost: \xff\r\n\r\n",
}


async def answer(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text="quiet")


async def serve(bounds: Bounds = PLAIN, reply: Respond = answer) -> QuietServer:
    return await serve_http(reply, [("127.0.0.1", 0)], bounds)


def said(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Log lines but those of a loop that says which selector it uses."""
    return [record for record in caplog.records if not record.getMessage().startswith("Using selector")]


@pytest.mark.asyncio
@pytest.mark.parametrize("request_bytes", HOSTILE.values(), ids=HOSTILE)
async def test_hostile_bytes_get_a_constant_answer_and_no_log_line(
    request_bytes: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    server = await serve()
    with caplog.at_level(logging.DEBUG):
        got = await exchange(server.addresses[0], request_bytes)
        await server.stop()
    head, _, body = got.partition(b"\r\n\r\n")
    status, text = (b"431", b"request too large\n") if len(request_bytes) > MAX_HEAD else (b"400", b"bad request\n")
    assert re.match(rb"HTTP/1\.[01] " + status + b" ", head)
    assert body == text
    assert b"canary" not in got.lower()
    assert b"aiohttp" not in got
    assert said(caplog) == []


@pytest.mark.asyncio
async def test_a_client_that_goes_away_leaves_no_log_line(caplog: pytest.LogCaptureFixture) -> None:
    large = web.Response(body=b"x" * 5_000_000)

    async def reply(request: web.BaseRequest) -> web.StreamResponse:
        return large

    server = await serve(reply=reply)
    loop = asyncio.get_running_loop()
    with caplog.at_level(logging.DEBUG):
        for part in (b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"):
            client = socket.socket()
            client.setblocking(False)
            # Closing with this option set sends a reset, not an end.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await loop.sock_connect(client, server.addresses[0])
            await loop.sock_sendall(client, part)
            client.close()
            assert await exchange(server.addresses[0], b"x\r\n\r\n")
        await server.stop()
    assert said(caplog) == []


@pytest.mark.asyncio
async def test_an_error_of_our_own_is_told_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(request: web.BaseRequest) -> web.StreamResponse:
        raise ValueError(f"canary {request.remote} {request.path}")

    server = await serve(reply=broken)
    got = await exchange(server.addresses[0], b"GET /canary HTTP/1.1\r\nHost: a.test\r\n\r\n")
    await server.stop()
    assert got.startswith(b"HTTP/1.1 500 ")
    assert got.endswith(b"\r\n\r\ninternal error\n")
    assert len(said(caplog)) == 1
    assert "ValueError" in caplog.text
    assert "test_serve.py" in caplog.text
    assert "canary" not in caplog.text
    assert "127.0.0.1" not in caplog.text


@pytest.mark.asyncio
async def test_a_connection_has_one_request_and_says_so() -> None:
    server = await serve()
    got = await exchange(server.addresses[0], b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n" * 50)
    await server.stop()
    assert got.count(b"quiet") == got.count(b"HTTP/1.1 200 ") == got.count(b"Connection: close\r\n") == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("request_bytes", AMBIGUOUS.values(), ids=AMBIGUOUS)
async def test_one_connection_never_gets_two_responses(request_bytes: bytes) -> None:
    server = await serve()
    got = await exchange(server.addresses[0], request_bytes + SECOND)
    await server.stop()
    assert re.findall(rb"HTTP/1\.\d (\d+)", got) in ([b"400"], [b"200"])
    assert got.endswith((b"\r\n\r\nquiet", b"\r\n\r\nbad request\n", b"\r\n\r\n"))


@pytest.mark.asyncio
async def test_who_asks_is_not_known_where_it_is_answered() -> None:
    seen: list[object] = []

    async def reply(request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport
        seen.extend([request.remote, *map(request.transport.get_extra_info, ("peername", "socket", "sockname"))])
        return await answer(request)

    server = await serve(reply=reply)
    address = server.addresses[0]
    assert (await exchange(address, b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")).endswith(b"quiet")
    await server.stop()
    assert seen == [None, None, None, address], "only which of our addresses was reached"


@pytest.mark.asyncio
async def test_the_work_of_a_response_is_followed_by_a_rest() -> None:
    spans: list[tuple[float, float]] = []

    async def reply(request: web.BaseRequest) -> web.StreamResponse:
        began, worked = time.monotonic(), time.thread_time()
        while time.thread_time() - worked < 0.01:
            pass
        spans.append((began, time.monotonic()))
        return await answer(request)

    server = await serve(reply=reply)
    for _ in range(2):
        await exchange(server.addresses[0], b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    await server.stop()
    assert spans[1][0] - spans[0][1] >= 0.09


@pytest.mark.asyncio
async def test_the_body_of_a_request_is_not_waited_for() -> None:
    server = await serve()
    request = b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000000\r\n\r\n" + bytes(10_000)
    assert (await exchange(server.addresses[0], request)).endswith(b"quiet")
    await server.stop()


@pytest.mark.asyncio
async def test_every_address_is_served_and_a_stop_closes_all() -> None:
    server = await serve_http(answer, [("127.0.0.1", 0), ("127.0.0.1", 0)], PLAIN)
    assert len(set(server.addresses)) == 2
    addresses = server.addresses
    for address in addresses:
        assert (await exchange(address, b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")).endswith(b"quiet")
    await server.stop()
    for address in addresses:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*address)


@pytest.mark.asyncio
async def test_an_address_in_use_leaves_nothing_open() -> None:
    taken = await serve()
    port = taken.addresses[0][1]
    with pytest.raises(OSError, match="in use"):
        await serve_http(answer, [("127.0.0.1", 0), ("127.0.0.1", port)], PLAIN)
    await taken.stop()


@pytest.mark.asyncio
async def test_a_socket_that_was_bound_before_is_listened_on() -> None:
    first = await serve()
    (kept,) = [one.dup() for one in first.sockets]
    where = kept.getsockname()
    await first.stop()
    second = await serve_http(answer, [where], PLAIN, given=[kept])
    assert second.sockets == (kept,)
    assert b" 200 OK" in await exchange(where, b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    await second.stop()
