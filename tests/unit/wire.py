"""One exchange over TCP with bytes as they are: what an HTTP client would refuse to send; and what the kernel keeps."""

import asyncio
import contextlib
import re
import socket
import sys
from pathlib import Path
from typing import Final

SECOND: Final = b"GET /second HTTP/1.1\r\nHost: b.test\r\n\r\n"

# Requests that two parsers may read differently, each with a second one behind: a server may answer one of them.
AMBIGUOUS: Final = {
    "length and chunks": (
        b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "two lengths": b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\nContent-Length: 40\r\n\r\n",
    "a signed length": b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: +4\r\n\r\nabcd",
    "a space before the colon": b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length : 4\r\n\r\nabcd",
    "bare line feeds": b"GET / HTTP/1.1\nHost: a.test\n\n",
    "another coding": b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: xchunked\r\n\r\n",
    "chunks": b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a tunnel": b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n",
    "a whole address": b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "an upgrade": b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    "an expectation": (b"POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nabcd"),
    "a pipeline": SECOND * 100,
}


TIME_WAIT: Final = "06"


def in_kernel(port: int, state: str = "", host: str = "127.0.0.1") -> list[str]:
    """What every account of the host sees of our side of a port: the clients of connections, or of those in a state.

    Our side is address and port: who stands at another address of loopback may have the same port for his own.
    """
    ours = f"{int.from_bytes(socket.inet_aton(host), sys.byteorder):08X}:{port:04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    found = [line for line in lines if line[1] == ours and not line[2].endswith(":0000")]
    return [line[2] for line in found if state in ("", line[3])]


async def visit(address: tuple[str, int], request: bytes) -> bytes:
    """Send a request, read the response by its length, and close first, as browsers do; b"" if there is none."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"\r\nContent-Length: (\d+)\r\n", head)
        assert length, head
        return head + await reader.readexactly(int(length[1]))
    except (ConnectionError, asyncio.IncompleteReadError):
        return b""
    finally:
        writer.close()


async def exchange(address: tuple[str, int], request: bytes, *, end: bool = False, source: str = "127.0.0.1") -> bytes:
    """Send the bytes, give back all that comes until the other side ends; `end` closes our half first."""
    reader, writer = await asyncio.open_connection(*address, local_addr=(source, 0))
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
