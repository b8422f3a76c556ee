"""An edge's listening side with a service behind it, and TLS clients."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import trustme

from resolver.config.for_core import ranges
from resolver.config.values import Endpoint, prefixes
from resolver.core import codes
from resolver.edge.accept import Clients, Doors
from resolver.edge.link import Link
from resolver.edge.secured import Above, Secured
from resolver.edge.tallies import Tallies
from resolver.edge.tls import ALPN, Dot
from resolver.query import accept_sockets
from resolver.query.transport import framed
from tests.unit.edge.services import Service, service
from tests.unit.query.parts import until

NAME = "dns.example.test"
LOOPBACK = ranges(prefixes("127.0.0.0/8", "::1/128"))
EVERYBODY = ranges(prefixes("0.0.0.0/0", "::/0"))


@cache
def authority() -> trustme.CA:
    return trustme.CA()


@cache
def server_context(*alpn: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert(NAME).configure_cert(context)
    context.set_alpn_protocols(list(alpn))
    return context


def client_context(*alpn: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority().configure_trust(context)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def clients(**more: Any) -> Clients:
    """Whoever is not said otherwise may do everything."""
    return Clients(
        **{
            "allow": EVERYBODY,
            "exempt": b"",
            "proxies": b"",
            "connections": 1000,
            "per_client": 1000,
            **more,
        }
    )


class TlsClient:
    """One connection to an edge."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, *messages: bytes) -> None:
        """Send DNS messages in one write."""
        self.writer.write(b"".join(map(framed, messages)))

    async def reply(self) -> bytes:
        """The next DNS message."""
        async with asyncio.timeout(60):
            size = int.from_bytes(await self.reader.readexactly(2), "big")
            return await self.reader.readexactly(size)

    async def rest(self) -> bytes:
        """All that comes until the other side ends."""
        async with asyncio.timeout(60):
            with suppress(ConnectionError, ssl.SSLError):
                return await self.reader.read()
            return b""

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError, ssl.SSLError):
            await self.writer.wait_closed()


class Handmade:
    """A TLS client that decides which octets are sent and read. below: its connection."""

    def __init__(self, below: TlsClient, context: ssl.SSLContext | None = None) -> None:
        self.below = below
        self._to, self._from = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = (context or client_context()).wrap_bio(self._from, self._to, server_hostname=NAME)

    async def shake(self) -> None:
        """Complete the handshake."""
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.push()
                self._from.write(await self.below.reader.read(2**16))
        self.push()

    def push(self) -> None:
        """Send what is encrypted."""
        self.below.writer.write(self._to.read())

    def send(self, *messages: bytes) -> None:
        """Send DNS messages."""
        self.tls.write(b"".join(map(framed, messages)))
        self.push()

    def end(self) -> None:
        """Send no more, and read on."""
        with suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        self.push()
        self.below.writer.write_eof()

    async def rest(self) -> bytes:
        """All that comes until the other side ends, decrypted."""
        self._from.write(await self.below.rest())
        found = b""
        with suppress(ssl.SSLError):
            while piece := self.tls.read(2**16):
                found += piece
        return found


class Side:
    """doors: what is tested. service: what is behind it."""

    def __init__(self, doors: Doors, there: Service, tallies: Tallies, address: tuple[str, int]) -> None:
        self.doors = doors
        self.service = there
        self.tallies = tallies
        self.address = address
        self.clients: list[TlsClient] = []

    async def connect(self, *alpn: str, **more: Any) -> TlsClient:
        """A client whose handshake is done."""
        async with asyncio.timeout(60):
            client = TlsClient(
                *await asyncio.open_connection(
                    *self.address, ssl=more.pop("context", None) or client_context(*alpn), server_hostname=NAME, **more
                )
            )
        self.clients.append(client)
        return client

    async def plain(self) -> TlsClient:
        """A client that has not begun TLS."""
        client = TlsClient(*await asyncio.open_connection(*self.address))
        self.clients.append(client)
        return client

    async def refuses(self, **more: Any) -> bool:
        """Whether one more connection ends before its handshake does."""
        try:
            await self.connect(**more)
        except (ConnectionError, ssl.SSLError):
            return True
        return False

    async def by_hand(self, *alpn: str) -> "Handmade":
        """A client whose handshake is done, and whose octets are in its hands."""
        client = Handmade(await self.plain(), client_context(*alpn))
        await client.shake()
        return client

    @property
    def connection(self) -> Secured:
        """The only connection, seen from inside."""
        [one] = self.doors.connections
        return one

    def refused(self) -> dict[str, int]:
        """How often each reason was counted."""
        from resolver.query import edge_frames

        return dict(edge_frames.as_report(self.tallies.frame()[5:]).refused)


@asynccontextmanager
async def side(
    folder: Path,
    who: Clients | None = None,
    *,
    transport: int = codes.DOT,
    alpn: Sequence[str] = (ALPN,),
    above: Callable[[Doors, Secured, str | None], Above] = Dot,
    idle_s: float = 60.0,
    life_s: float = 600.0,
) -> AsyncIterator[Side]:
    """A side that listens; it fails where a connection or a query is left at the end."""
    async with service(folder) as there:
        tallies = Tallies(1)
        link = Link(str(there.path), tallies.failed)
        doors = Doors(
            transport,
            clients=who or clients(),
            link=link,
            tallies=tallies,
            secure=lambda: server_context(*alpn),
            above=above,
            idle_s=idle_s,
            life_s=life_s,
        )
        one = accept_sockets.bound(socket.SOCK_STREAM, Endpoint("127.0.0.1", 0))
        accept_sockets.prepare(socket.SOCK_STREAM, one)
        doors.listen([one])
        found = Side(doors, there, tallies, one.getsockname()[:2])
        try:
            yield found
        finally:
            for client in found.clients:
                await client.close()
            await until(lambda: not doors.connections)
            await doors.stop()
            link.close()
            assert tallies.connections == 0
