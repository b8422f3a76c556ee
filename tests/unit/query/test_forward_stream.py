"""One connection, one query, one reply; closed however it ends."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from resolver.config.values import Endpoint
from resolver.query.forward_stream import ask_by_stream
from tests.unit.query.parts import open_sockets, query, reply_of, until

pytestmark = pytest.mark.loops

ASKED = query("open.test")
REPLY = reply_of(ASKED, ["open.test. 300 A 198.51.100.7"]).to_wire()
FRAMED = len(REPLY).to_bytes(2, "big") + REPLY


async def asked_of(pieces: Sequence[bytes], *, stays: bool = False) -> bytes:
    """What comes of a server that sends these pieces, one a turn, and then ends (or stays)."""
    seen: list[bytes] = []
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = int.from_bytes(await reader.readexactly(2), "big")
        seen.append(await reader.readexactly(size))
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        if stays:
            await reader.read()
        writer.close()
        ended.set()

    return await with_server(serve, seen, ended)


async def with_server(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    seen: list[bytes],
    ended: asyncio.Event,
) -> bytes:
    before = open_sockets()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    packet = ASKED.to_wire()
    try:
        async with asyncio.timeout(5):
            return await ask_by_stream(Endpoint(*server.sockets[0].getsockname()), packet)
    finally:
        await ended.wait()
        assert seen == [packet]
        server.close()
        await server.wait_closed()
        await until(lambda: open_sockets() <= before)


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("stays", [False, True])
async def test_a_reply_in_pieces_of_any_size(size: int, stays: bool) -> None:
    pieces = [FRAMED[n : n + size] for n in range(0, len(FRAMED), size)]
    assert await asked_of(pieces, stays=stays) == REPLY


@pytest.mark.asyncio
@pytest.mark.parametrize("cut", [0, 1, 2, 3, 14, len(FRAMED) - 1])
async def test_a_reply_cut_short_is_none(cut: int) -> None:
    with pytest.raises((EOFError, ConnectionError)):
        await asked_of([FRAMED[:cut]])


@pytest.mark.asyncio
@pytest.mark.parametrize("size", range(12))
async def test_a_reply_shorter_than_a_header_is_none(size: int) -> None:
    with pytest.raises(EOFError):
        await asked_of([size.to_bytes(2, "big") + bytes(size)], stays=True)


@pytest.mark.asyncio
async def test_where_nobody_listens_it_is_an_error_of_the_network() -> None:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    endpoint = Endpoint(*server.sockets[0].getsockname())
    server.close()
    await server.wait_closed()
    with pytest.raises(ConnectionRefusedError):
        await ask_by_stream(endpoint, ASKED.to_wire())


@pytest.mark.asyncio
async def test_who_gives_up_leaves_no_connection() -> None:
    arrived, ended = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        try:
            await reader.read(4096)
            await reader.read(4096)
        except ConnectionError:
            pass  # A reset is an end as well.
        writer.close()
        ended.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    waiting = asyncio.ensure_future(
        ask_by_stream(Endpoint(*server.sockets[0].getsockname()), ASKED.to_wire()),
    )
    await arrived.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    async with asyncio.timeout(5):
        await ended.wait()
    server.close()
    await server.wait_closed()
