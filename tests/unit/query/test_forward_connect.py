"""A TCP connection, or the error of the system; nothing left open."""

import asyncio

import pytest

from resolver.config.values import Endpoint
from resolver.query.forward_connect import connected
from tests.unit.query.forwarding import closed_port
from tests.unit.query.parts import open_sockets, until

pytestmark = pytest.mark.loops


@pytest.mark.asyncio
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_connection_carries_octets(host: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(3))
        writer.close()

    server = await asyncio.start_server(serve, host, 0)
    one = await connected(Endpoint(*server.sockets[0].getsockname()[:2]))
    reader, writer = await asyncio.open_connection(sock=one)
    writer.write(b"abc")
    assert await reader.read() == b"abc"
    writer.close()
    server.close()
    await server.wait_closed()


@pytest.mark.asyncio
async def test_who_refuses_or_has_no_interface_is_an_error() -> None:
    before = open_sockets()
    with pytest.raises(ConnectionRefusedError):
        await connected(closed_port())
    with pytest.raises(OSError, match=r"no interface|No such device"):
        await connected(Endpoint("fe80::1%nothing0", 53))
    await until(lambda: open_sockets() == before)


@pytest.mark.asyncio
async def test_who_gives_up_leaves_nothing_open() -> None:
    before = open_sockets()
    # 192.0.2.0/24 leads nowhere: no answer, or at once that there is no way.
    with pytest.raises((TimeoutError, OSError)):
        async with asyncio.timeout(0.05):
            await connected(Endpoint("192.0.2.1", 9))
    await until(lambda: open_sockets() == before)
