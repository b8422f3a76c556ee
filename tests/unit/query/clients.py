"""What the sides that accept connections are tested with: clients, and a listening side with its bounds.

Rules:
- A side has room for whatever a test does, unless it is given bounds; nobody is exempt, nobody trusted.
- It fails where a connection, a socket or an exception is left at the end.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from resolver.config.values import Endpoint
from resolver.query.accept_limits import Bounds
from resolver.query.accept_stream import Streams
from resolver.query.transport import framed
from tests.unit.query.parts import until
from tests.unit.query.senders import Answers, quiet, together

LOOPBACK = Endpoint("127.0.0.1", 0)


class Client:
    """One connection, as whoever connects sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, *packets: bytes) -> None:
        """Send queries in one write."""
        self.writer.write(b"".join(map(framed, packets)))

    async def reply(self) -> bytes:
        """The next reply."""
        async with asyncio.timeout(120):
            size = int.from_bytes(await self.reader.readexactly(2), "big")
            return await self.reader.readexactly(size)

    async def rest(self) -> bytes:
        """All that comes until the other side ends."""
        async with asyncio.timeout(120):
            with suppress(ConnectionError):
                return await self.reader.read()
            return b""

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


class Side:
    """A listening side and its clients."""

    def __init__(self, streams: Streams, answers: Answers, dropped: list[str]) -> None:
        self.streams = streams
        self.answers = answers
        self.dropped = dropped
        self.clients: list[Client] = []

    async def connect(self, **more: Any) -> Client:
        client = Client(*await asyncio.open_connection(*self.streams.addresses[0], **more))
        self.clients.append(client)
        return client

    async def refuses(self, **more: Any) -> bool:
        """Whether one more connection ends without an answer; who connects may already see it reset."""
        try:
            return await (await self.connect(**more)).rest() == b""
        except ConnectionError:
            return True

    @property
    def connection(self) -> Any:
        """The only connection, seen from inside."""
        [one] = self.streams.connections
        return one


def bounds(connections: int = 1000, per_client: int = 1000, exempt: Callable[[bytes], bool] | None = None) -> Bounds:
    return Bounds(connections, per_client, exempt or (lambda client: False))


@asynccontextmanager
async def listening(
    endpoint: Endpoint = LOOPBACK, limits: Bounds | None = None, trusted: bool = False, **times: float
) -> AsyncIterator[Side]:
    async with quiet():
        answers, dropped = Answers(), []
        streams = Streams(together(answers), dropped.append, limits or bounds(), **times)
        if trusted:
            streams.trusted = lambda client: True
        await streams.open([endpoint])
        side = Side(streams, answers, dropped)
        try:
            yield side
        finally:
            answers.release()
            streams.close()
            await streams.drained()
            for client in side.clients:
                await client.close()
        await until(lambda: not streams.connections)
