"""Bodies that are posted to a Unix socket: taken whole within bounds, and nothing of a request comes back."""

import asyncio
import io
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from resolver.quiet_http import posts

MOST = 1000


class Taking:
    """A server and what it has taken; a body is answered with 204 unless it is `broken`."""

    def __init__(self, path: Path, client: aiohttp.ClientSession) -> None:
        self.path = path
        self.client = client
        self.taken: list[bytes] = []

    async def take(self, body: bytes) -> int:
        if body == b"broken":
            raise ValueError("canary")
        self.taken.append(body)
        return 204

    async def post(self, data: bytes | io.BytesIO | AsyncIterator[bytes]) -> int:
        async with self.client.post("http://here/anywhere", data=data) as response:
            assert await response.read() == b""
            assert response.headers["Server"] == "blocklist-resolver"
            return response.status

    async def said(self, request: bytes) -> bytes:
        """What comes back for raw octets, until the end."""
        reader, writer = await asyncio.open_unix_connection(str(self.path))
        writer.write(request)
        reply = await reader.read()
        writer.close()
        return reply


@pytest_asyncio.fixture
async def taking(tmp_path: Path) -> AsyncIterator[Taking]:
    path, stop = tmp_path / "socket", asyncio.Event()
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as client:
        one = Taking(path, client)
        serving = posts.serve_posts(one.take, posts.bound(path), stop, most=MOST, body_s=2.0, connections=3)
        task = asyncio.create_task(serving)
        yield one
        stop.set()
        await task


@pytest.mark.asyncio
async def test_a_body_is_taken_whole(taking: Taking) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"x" * 100

    assert [await taking.post(b"one"), await taking.post(b""), await taking.post(pieces())] == [204] * 3
    assert taking.taken == [b"one", b"", b"x" * 1000]


@pytest.mark.asyncio
async def test_what_is_too_large_is_not_taken(taking: Taking) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(2000):
            yield b"x" * 100

    assert await taking.post(io.BytesIO(b"x" * (MOST + 1))) == 413
    assert await taking.post(endless()) == 413
    async with taking.client.get("http://here/") as response:
        assert response.status == 405
    assert taking.taken == []


@pytest.mark.asyncio
async def test_a_body_that_does_not_end_is_given_up(taking: Taking) -> None:
    half = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf"
    assert (await taking.said(half)).startswith(b"HTTP/1.1 408 ")
    assert await taking.post(b"one") == 204


@pytest.mark.asyncio
async def test_an_error_has_a_type_and_nothing_more(taking: Taking, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    assert await taking.post(b"broken") == 500
    assert [one for one in caplog.messages if "canary" in one] == []
    assert "a posted request failed: ValueError" in caplog.messages
    said = await taking.said(b"\x16\x03\x01 canary\r\n\r\n")
    assert b" 400 " in said.partition(b"\r\n")[0]
    assert b"canary" not in said
    assert b"aiohttp" not in said
    assert "canary" not in caplog.text


@pytest.mark.asyncio
async def test_connections_beyond_the_bound_are_closed(taking: Taking) -> None:
    held = [await asyncio.open_unix_connection(str(taking.path)) for _ in range(3)]
    for _, writer in held:
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n")
        await writer.drain()
    assert await taking.said(b"") == b""
    for _, writer in held:
        writer.close()
        await writer.wait_closed()
    assert await taking.post(b"one") == 204


def test_a_socket_takes_the_place_of_one_that_nobody_listens_on(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    posts.bound(path).close()
    again = posts.bound(path)
    assert path.stat().st_mode & 0o777 == 0o660
    with pytest.raises(FileExistsError):
        posts.bound(path)
    again.close()
    with pytest.raises(OSError, match="No such file"):
        posts.bound(tmp_path / "nowhere/socket")
