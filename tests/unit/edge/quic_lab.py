"""A QuicServer on loopback with a service that answers as a test says, and clients made of aioquic."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import trustme
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.buffer import encode_uint_var
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import (
    ConnectionTerminated,
    HandshakeCompleted,
    QuicEvent,
    StreamDataReceived,
    StreamReset,
)
from aioquic.tls import ExtensionType, SessionTicket

from resolver.config.values import address_octets
from resolver.core.admit import BUCKET_OCTETS, WAYS, Access
from resolver.core.codes import MAX_LISTS
from resolver.edge.quic_conversation import Spoken
from resolver.edge.quic_listen import Identity, QuicServer
from resolver.edge.tallies import Tallies

NAME = "dns.isp.example"
PATIENCE_S = 20
LOOPBACK = address_octets("127.0.0.1")
EVERYBODY = bytes(16) + b"\xff" * 16
QUERY = bytes.fromhex("0000 0100 0001 0000 0000 0000 03777777 076578616d706c65 03636f6d 00 0001 0001")

AUTHORITY = trustme.CA()


def identity(name: str = NAME) -> Identity:
    """Return a new certificate for a name, of AUTHORITY."""
    issued = AUTHORITY.issue_cert(name, common_name=name)
    chain = b"".join(one.bytes() for one in issued.cert_chain_pems)
    return Identity.of(chain, issued.private_key_pem.bytes())


OURS = identity()


def echo(query: bytes) -> bytes:
    """Answer a query with itself, QR set."""
    return query[:2] + bytes((query[2] | 0x80,)) + query[3:]


@dataclass
class Service:
    """Stands for the link: keeps what was asked, and answers by `reply`; None is no answer yet."""

    reply: Callable[[bytes], bytes | None] = echo
    max_age: int = 60
    asked: list[tuple[bytes, bytes, int]] = field(default_factory=list)
    waiting: list[Callable[[bytes, int], None]] = field(default_factory=list)

    def post(self, query: bytes, client: bytes, transport: int, done: Callable[[bytes, int], None]) -> None:
        """Take a query."""
        self.asked.append((query, client, transport))
        answer = self.reply(query)
        if answer is None:
            self.waiting.append(done)
        else:
            asyncio.get_running_loop().call_soon(done, answer, self.max_age)


class Refusals(Tallies):
    """The counts of an edge, with the reasons of refusals at hand."""

    def __init__(self) -> None:
        super().__init__(1)
        self.reasons: list[str] = []

    def refuse(self, reason: str) -> None:
        """Keep the reason too."""
        super().refuse(reason)
        self.reasons.append(reason)


@dataclass(frozen=True)
class Clients:
    """Who may connect: ranges of addresses."""

    allow: bytes
    exempt: bytes
    connections: int
    per_client: int

    def access(self, rate: int) -> Access:
        """Return them for core.admit."""
        nobody, memory = (b"",) * MAX_LISTS, bytearray(64 * WAYS * BUCKET_OCTETS)
        return Access(self.allow, self.exempt, nobody, nobody, rate=rate, memory=memory, key=bytes(16))


class HasPort(Protocol):
    """Where a server is."""

    @property
    def port(self) -> int:
        """Its port on loopback."""


@dataclass
class Lab:
    """A running server, its address, its service and its counts."""

    server: QuicServer
    port: int
    service: Service
    tallies: Refusals


def socket_here(host: str) -> tuple[socket.socket, int]:
    """Return a bound UDP socket and its port."""
    one = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    one.setblocking(False)
    one.bind((host, 0))
    return one, one.getsockname()[1]


@asynccontextmanager
async def serving(
    protocol: Spoken,
    *,
    allow: bytes = EVERYBODY,
    exempt: bytes = EVERYBODY,
    connections: int = 100,
    per_client: int = 100,
    host: str = "127.0.0.1",
    **times: float,
) -> AsyncIterator[Lab]:
    """Serve a protocol on loopback."""
    service, tallies = Service(), Refusals()
    clients = Clients(allow, exempt, connections, per_client)
    server = QuicServer(clients, service.post, tallies, OURS, **times)
    one, port = socket_here(host)
    server.open([one], protocol)
    try:
        yield Lab(server, port, service, tallies)
    finally:
        await server.close(0)


class Peer(QuicConnection):
    """A client's connection that sends whatever frames it is given."""

    def __init__(self, **more: object) -> None:
        super().__init__(**more)
        self.frames: list[bytes] = []

    def _write_connection_limits(self, builder: Any, space: Any) -> None:
        while self.frames:
            frame = self.frames[0]
            builder.start_frame(frame[0], capacity=len(frame)).push_bytes(frame[1:])
            del self.frames[0]
        super()._write_connection_limits(builder, space)

    @property
    def streams_granted(self) -> tuple[int, int]:
        """The streams that the server lets us open in all, of both directions and of one."""
        return self._remote_max_streams_bidi, self._remote_max_streams_uni

    @property
    def octets_granted(self) -> int:
        """The octets that the server lets us send on all streams, in all."""
        return self._remote_max_data

    @property
    def spare_ids(self) -> dict[bytes, bytes]:
        """The connection ids of the server that are not used yet, with the tokens that reset them."""
        return {one.cid: one.stateless_reset_token for one in self._peer_cid_available}

    @property
    def parameters(self) -> bytes:
        """The transport parameters that the server sent."""
        wanted = ExtensionType.QUIC_TRANSPORT_PARAMETERS
        return next(data for kind, data in self.tls.received_extensions if kind == wanted)

    def believe_in_early_data(self) -> None:
        """Take a ticket for one that lets a client send before the handshake is complete."""
        self._configuration.session_ticket.max_early_data_size = 0xFFFFFFFF


class Client(QuicConnectionProtocol):
    """A client that keeps what happens on its streams, and says how its connection ended."""

    def __init__(self, peer: Peer) -> None:
        super().__init__(peer)
        self.peer = peer
        self.received: dict[int, bytes] = {}
        self.ended: dict[int, asyncio.Future[bytes]] = {}
        self.closed: asyncio.Future[ConnectionTerminated] = asyncio.get_running_loop().create_future()
        self.resets: dict[int, int] = {}
        self.handshake: HandshakeCompleted | None = None
        self.port = self.server_port = 0
        self.datagrams: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note our port."""
        super().connection_made(transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes | str, addr: Any) -> None:
        """Keep a datagram, and take it."""
        self.datagrams.append(bytes(data))
        super().datagram_received(data, addr)

    def quic_event_received(self, event: QuicEvent) -> None:
        """Note an event."""
        match event:
            case HandshakeCompleted():
                self.handshake = event
            case StreamDataReceived(data=data, end_stream=is_end, stream_id=number):
                self.received[number] = self.received.get(number, b"") + data
                if is_end:
                    self.end_of(number).set_result(self.received[number])
            case StreamReset(error_code=code, stream_id=number):
                self.resets[number] = code
                self.end_of(number).set_result(b"")
            case ConnectionTerminated() if not self.closed.done():
                self.closed.set_result(event)

    def end_of(self, number: int) -> asyncio.Future[bytes]:
        """Return what waits for a stream's end: its octets, b"" after a reset."""
        return self.ended.setdefault(number, asyncio.get_running_loop().create_future())

    async def whole(self, number: int) -> bytes:
        """Wait for the end of a stream; return its octets, b"" after a reset."""
        return await asyncio.wait_for(asyncio.shield(self.end_of(number)), PATIENCE_S)

    def send(self, number: int, octets: bytes, *, is_end: bool = True) -> None:
        """Send octets of a stream."""
        self.peer.send_stream_data(number, octets, is_end)
        self.transmit()

    def send_frames(self, *frames: bytes) -> None:
        """Send frames as they are."""
        self.peer.frames += frames
        self.transmit()

    def send_raw(self, octets: bytes) -> None:
        """Send a datagram as it is."""
        if self._transport is not None:
            self._transport.sendto(octets, ("127.0.0.1", self.server_port))

    async def code(self) -> int:
        """Wait for the end of the connection; return its error code."""
        return (await asyncio.wait_for(asyncio.shield(self.closed), PATIENCE_S)).error_code


def frame(kind: int, *numbers: int, rest: bytes = b"") -> bytes:
    """Return a QUIC frame of a type with variable-length numbers and what follows them (RFC 9000 19)."""
    return bytes((kind,)) + b"".join(map(encode_uint_var, numbers)) + rest


def settings(alpn: str, name: str = NAME, **more: Any) -> QuicConfiguration:
    """Return a client's configuration, which verifies the server's certificate."""
    configuration = QuicConfiguration(alpn_protocols=[alpn], server_name=name, verify_mode=ssl.CERT_REQUIRED, **more)
    configuration.load_verify_locations(cadata=AUTHORITY.cert_pem.bytes())
    return configuration


@asynccontextmanager
async def client(
    lab: HasPort,
    alpn: str,
    *,
    wait: bool = True,
    store: Callable[[SessionTicket], None] | None = None,
    make: type[Client] = Client,
    host: str = "127.0.0.1",
    **more: Any,
) -> AsyncIterator[Client]:
    """Connect a client. wait: for the handshake. store: takes tickets."""
    peer = Peer(configuration=settings(alpn, **more), session_ticket_handler=store)
    loop = asyncio.get_running_loop()
    transport, one = await loop.create_datagram_endpoint(lambda: make(peer), local_addr=(host, 0))
    try:
        one.server_port = lab.port
        one.connect((host, lab.port, 0, 0) if ":" in host else (host, lab.port))
        if wait:
            # Not wait_connected: it waits for ever if the handshake is complete before it is called.
            await until(lambda: one.handshake is not None or one.closed.done())
            assert one.handshake is not None, "no handshake"
        yield one
    finally:
        one.close()
        transport.close()


async def until(is_so: Callable[[], object]) -> None:
    """Wait until something is so, for PATIENCE_S."""
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():  # noqa: ASYNC110 - what the server does is seen in its state alone
            await asyncio.sleep(0.005)  # between two looks
