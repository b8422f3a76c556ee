"""Exchanges one message by DNS over QUIC (RFC 9250), with aioquic: the doctor has it only if Python has that library.

Rules:
- The certificate verifies for the name, or for the address if there is none, or nothing is asked.
- The id on the way is 0 (RFC 9250 4.2.1); the caller gets its own back.
"""

import asyncio
import ssl
from pathlib import Path

from aioquic.asyncio.client import connect
from aioquic.quic.configuration import QuicConfiguration


class NotSpoken(Exception):
    """Raised if no answer came by DoQ; its text gives the reason."""


def exchange(query: bytes, host: str, port: int, name: str, ca: Path | None, seconds: float) -> bytes:
    """Send a query and return the answer; NotSpoken, TimeoutError or OSError if there is none."""
    return asyncio.run(_exchanged(query, host, port, name, ca, seconds))


async def _exchanged(query: bytes, host: str, port: int, name: str, ca: Path | None, seconds: float) -> bytes:
    settings = QuicConfiguration(is_client=True, alpn_protocols=["doq"], server_name=name or host)
    paths = ssl.get_default_verify_paths()
    settings.load_verify_locations(str(ca) if ca else paths.cafile, None if ca else paths.capath)
    try:
        async with asyncio.timeout(seconds), connect(host, port, configuration=settings) as client:
            reader, writer = await client.create_stream()
            writer.write(len(query).to_bytes(2, "big") + bytes(2) + query[2:])
            writer.write_eof()
            head = await reader.readexactly(2)
            octets = await reader.readexactly(int.from_bytes(head, "big"))
    except asyncio.IncompleteReadError:
        raise NotSpoken("the connection was closed without a reply") from None
    except ConnectionError:
        raise NotSpoken("no QUIC there, or the certificate does not verify: --tls-name, --ca") from None
    if octets[:2] != b"\0\0":
        raise NotSpoken("the id of the reply is not 0")
    return query[:2] + octets[2:]
