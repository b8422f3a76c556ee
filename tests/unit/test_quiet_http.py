"""The quiet server: hostile bytes, crowds and slow clients leave no word in a log, and no connection open."""

import asyncio
import logging
import socket
import struct

import pytest
from aiohttp import web

from resolver import quiet_http
from resolver.quiet_http import Bounds, QuietServer
from tests.unit.wire import exchange

pytestmark = pytest.mark.loops

CANARY = b"canary.example"
PLAIN = Bounds(connections=50, idle_s=30, age_s=30)

HOSTILE = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00" + CANARY + b"\r\n\r\n",
    "an unknown method": b"CANARY /canary HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "a bad version": b"GET /canary HTTP/9.9\r\nHost: a.test\r\n\r\n",
    "a line too long": b"GET /" + CANARY * 4000 + b" HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "a field too large": b"GET / HTTP/1.1\r\nHost: a.test\r\nX: " + CANARY * 4000 + b"\r\n\r\n",
    "too many fields": b"GET / HTTP/1.1\r\nHost: a.test\r\n" + b"X: canary\r\n" * 1000 + b"\r\n",
    "a field without a colon": b"GET / HTTP/1.1\r\nHost: a.test\r\ncanary\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: canary.test\r\nHost: b.test\r\n\r\n",
    "a bad authority": b"GET http://canary:99999/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "a bad length": b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: canary\r\n\r\n",
    "length and chunks": b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a NUL": b"GET /\0canary HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "not ASCII": b"GET /\xff\xfecanary HTTP/1.1\r\nHost: \xff\r\n\r\n",
}


async def answer(request: web.BaseRequest) -> web.StreamResponse:
    reply = web.Response(text="quiet")
    reply.force_close()
    return reply


async def serve(bounds: Bounds = PLAIN, reply: quiet_http.Respond = answer) -> QuietServer:
    return await quiet_http.serve(reply, [("127.0.0.1", 0)], bounds)


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
    assert got or len(request_bytes) > 8192
    if got:  # An answer may be lost where the client was still sending.
        assert b" 400 " in head.split(b"\r\n")[0] + b" "
        assert body == b"bad request\n"
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
    assert "test_quiet_http.py" in caplog.text
    assert "canary" not in caplog.text
    assert "127.0.0.1" not in caplog.text


@pytest.mark.asyncio
async def test_a_connection_above_the_bound_is_turned_away_and_room_is_given_back() -> None:
    server = await serve(Bounds(connections=2, idle_s=30, age_s=30))
    held = [await asyncio.open_connection(*server.addresses[0]) for _ in range(2)]
    assert await exchange(server.addresses[0], b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n") == b""
    assert server.turned_away == 1
    for reader, writer in held:
        writer.write(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert (await reader.read()).endswith(b"quiet")
        writer.close()
        await writer.wait_closed()
    assert (await exchange(server.addresses[0], b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")).endswith(b"quiet")
    await server.stop()


@pytest.mark.asyncio
@pytest.mark.parametrize("part", [b"", b"GET / HTTP/1.1\r\nHost: a.test\r\nX: "])
async def test_a_client_that_does_not_finish_its_request_is_closed(part: bytes) -> None:
    server = await serve(Bounds(connections=2, idle_s=0.05, age_s=30))
    assert await exchange(server.addresses[0], part) == b""
    await server.stop()


@pytest.mark.asyncio
async def test_a_client_that_does_not_read_is_closed() -> None:
    async def reply(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=bytes(20_000_000))

    server = await serve(Bounds(connections=1, idle_s=30, age_s=0.05), reply)
    _, writer = await asyncio.open_connection(*server.addresses[0], limit=1)
    writer.write(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    while server.turned_away == 0:  # Until then the one place is taken by the client that does not read.
        if (await exchange(server.addresses[0], b"x\r\n\r\n")) == b"":
            continue
    while not (await exchange(server.addresses[0], b"x\r\n\r\n")).endswith(b"bad request\n"):
        pass
    writer.close()
    await server.stop()


@pytest.mark.asyncio
async def test_the_body_of_a_request_is_not_waited_for() -> None:
    server = await serve()
    request = b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000000\r\n\r\n" + bytes(10_000)
    assert (await exchange(server.addresses[0], request)).endswith(b"quiet")
    await server.stop()


@pytest.mark.asyncio
async def test_every_address_is_served_and_a_stop_closes_all() -> None:
    server = await quiet_http.serve(answer, [("127.0.0.1", 0), ("127.0.0.1", 0)], PLAIN)
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
        await quiet_http.serve(answer, [("127.0.0.1", 0), ("127.0.0.1", port)], PLAIN)
    await taken.stop()
