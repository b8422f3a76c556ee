"""One exchange over TCP with bytes as they are: what an HTTP client would refuse to send."""

import asyncio
import contextlib


async def exchange(address: tuple[str, int], request: bytes, *, end: bool = False) -> bytes:
    """Send the bytes, give back all that comes until the other side ends; `end` closes our half first."""
    reader, writer = await asyncio.open_connection(*address)
    received = b""
    with contextlib.suppress(ConnectionError):
        writer.write(request)
        if end:
            writer.write_eof()
        await writer.drain()
        while chunk := await reader.read(65536):
            received += chunk
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return received
