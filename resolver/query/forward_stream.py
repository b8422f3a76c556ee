"""Asks one upstream over TCP, for an answer that did not fit a datagram: one query a connection (RFC 7766)."""

import asyncio

from resolver.config.values import Endpoint
from resolver.query.forward_connect import connected


async def ask_by_stream(endpoint: Endpoint, query: bytes) -> bytes:
    """Return the answer to `query`; raise OSError or EOFError. The caller bounds the time."""
    reader, writer = await asyncio.open_connection(sock=await connected(endpoint))
    try:
        writer.write(len(query).to_bytes(2, "big") + query)
        size = int.from_bytes(await reader.readexactly(2), "big")
        reply = await reader.readexactly(size)
    finally:
        writer.transport.abort()
    if size < 12:
        raise EOFError
    return reply
