"""A scripted encrypted upstream on loopback: DNS over TLS, or over HTTPS by HTTP/2, with certificates of the test.

Rules:
- What it answers comes from a function from query to reply, as that of tests.fakes.upstream does.
- How it answers is one `Way` for all that comes; a test changes it. A probe for health is answered like any query.
- `seen` are the queries as they arrived. `connections` counts those that were opened, `resumed` those of them that
  resumed a session; `drop()` resets all that are open.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from enum import Enum, auto
from pathlib import Path
from typing import Any

import dns.message
import h2.config
import h2.connection
import h2.errors
import h2.events
import trustme

from tests.fakes.threads import in_own_thread
from tests.fakes.upstream import HOST, Answer

NAME = "dns.example"


class Way(Enum):
    """One way to answer all queries."""

    HONEST = auto()
    SILENT = auto()
    CLOSES = auto()  # reads a query, and closes the connection
    RESETS = auto()
    GARBAGE = auto()  # octets that are no message
    OTHER_ID = auto()
    OTHER_QUESTION = auto()
    BACKWARDS = auto()  # pairs of queries, the second answered first
    # Of HTTPS alone.
    REDIRECT = auto()
    NOT_FOUND = auto()
    UNAVAILABLE = auto()
    OTHER_TYPE = auto()
    LARGE = auto()
    OLD = auto()  # Age: 100
    REFUSED_STREAM = auto()
    GOAWAY = auto()  # of each first query of a connection, unseen


class Sealed:
    """The running server."""

    def __init__(self, answer: Answer, context: ssl.SSLContext, port: int = 0) -> None:
        self.answer = answer
        self.way = Way.HONEST
        self.delay_s = 0.0
        self.port = port
        self.host = HOST
        self.octets_a_write = 0
        self.streams = 100
        self.seen: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.connections = 0
        self.resumed = 0
        self.context = context
        self.open: set[asyncio.Transport] = set()
        self.running: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()

    def drop(self) -> None:
        """Reset every connection; from any thread."""
        self._loop.call_soon_threadsafe(self.drop_now)

    def drop_now(self) -> None:
        """Reset every connection; from its own thread."""
        for transport in tuple(self.open):
            transport.abort()

    def soon(self, work: Any) -> None:
        """Run what answers a query."""
        task = self._loop.create_task(work)
        self.running.add(task)
        task.add_done_callback(self.running.discard)

    def reply_to(self, query: bytes) -> bytes:
        """The octets of the reply to a query, as `way` says."""
        asked = dns.message.from_wire(query)
        reply = self.answer(asked)
        if self.way is Way.OTHER_QUESTION:
            reply = self.answer(dns.message.make_query("elsewhere.test", "A", id=asked.id))
        wire = reply.to_wire(max_size=65_535)
        if self.way is Way.OTHER_ID:
            return bytes([wire[0] ^ 255]) + wire[1:]
        return b"\xff" * 40 if self.way is Way.GARBAGE else wire


class _Line(asyncio.Protocol):
    """A connection of either kind."""

    def __init__(self, server: Sealed) -> None:
        self.server = server
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.server.open.add(self.transport)
        self.server.connections += 1
        self.server.resumed += bool(transport.get_extra_info("ssl_object").session_reused)

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.open.discard(self.transport)

    def is_over(self) -> bool:
        """End the connection where `way` wants that."""
        if self.server.way is Way.CLOSES:
            self.transport.close()
        elif self.server.way is Way.RESETS:
            self.transport.abort()
        return self.server.way in (Way.CLOSES, Way.RESETS, Way.SILENT)


class _Dot(_Line):
    def __init__(self, server: Sealed) -> None:
        super().__init__(server)
        self.rest = b""
        self.held: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        self.rest += data
        while len(self.rest) >= 2 and len(self.rest) >= 2 + int.from_bytes(self.rest[:2]):
            end = 2 + int.from_bytes(self.rest[:2])
            query, self.rest = self.rest[2:end], self.rest[end:]
            self.server.seen.append(query)
            if not self.is_over():
                self.server.soon(self.send(self.server.reply_to(query)))

    async def send(self, reply: bytes) -> None:
        await asyncio.sleep(self.server.delay_s)
        self.held.append(len(reply).to_bytes(2) + reply)
        if self.server.way is Way.BACKWARDS and len(self.held) < 2:
            return
        octets = b"".join(reversed(self.held))
        self.held = []
        step = self.server.octets_a_write or len(octets)
        for at in range(0, len(octets), step):
            self.transport.write(octets[at : at + step])


class _Https(_Line):
    def __init__(self, server: Sealed) -> None:
        super().__init__(server)
        self.http = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding="utf-8", validate_outbound_headers=False)
        )
        self.asked: dict[int, bytes] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        values = {h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: self.server.streams}
        self.http.local_settings = h2.settings.Settings(client=False, initial_values=values)
        self.http.initiate_connection()
        transport.write(self.http.data_to_send())  # type: ignore[attr-defined]  # asyncio's is of all kinds

    def data_received(self, data: bytes) -> None:
        for event in self.http.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                self.server.headers.append(dict(event.headers))  # type: ignore[arg-type]  # they are decoded above
                self.asked[event.stream_id] = b""
            elif isinstance(event, h2.events.DataReceived):
                self.asked[event.stream_id] += event.data
                self.http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                self.take(event.stream_id, self.asked.pop(event.stream_id))
        if not self.transport.is_closing():
            self.transport.write(self.http.data_to_send())

    def take(self, stream: int, query: bytes) -> None:
        if self.server.way is Way.REFUSED_STREAM and self.server.connections == 1:
            self.http.reset_stream(stream, h2.errors.ErrorCodes.REFUSED_STREAM)
            return
        if self.server.way is Way.GOAWAY and self.server.connections == 1:
            self.http.close_connection(last_stream_id=0)
            return
        self.server.seen.append(query)
        if not self.is_over():
            self.server.soon(self.send(stream, self.server.reply_to(query)))

    async def send(self, stream: int, reply: bytes) -> None:
        await asyncio.sleep(self.server.delay_s)
        way = self.server.way
        status = {Way.REDIRECT: "307", Way.NOT_FOUND: "404", Way.UNAVAILABLE: "503"}.get(way, "200")
        kind = "text/html" if way is Way.OTHER_TYPE else "application/dns-message"
        headers = [(":status", status), ("content-type", kind)]
        if way is Way.OLD:
            headers.append(("age", "100"))
        if way is Way.LARGE:
            headers.append(("content-length", "65536"))
        with contextlib.suppress(h2.exceptions.H2Error):
            self.http.send_headers(stream, headers)
            self.http.send_data(stream, reply, end_stream=way is not Way.LARGE)
        if not self.transport.is_closing():
            self.transport.write(self.http.data_to_send())


def context_of(certificate: trustme.LeafCert, *alpn: str) -> ssl.SSLContext:
    """The context of a server with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    context.set_alpn_protocols(list(alpn))
    return context


@asynccontextmanager
async def serving(
    answer: Answer,
    certificate: trustme.LeafCert,
    *,
    https: bool = False,
    alpn: str = "",
    port: int = 0,
    host: str = HOST,
    keys: Path | None = None,
) -> AsyncIterator[Sealed]:
    """Run a server of one kind on a free port, or on `port`. keys: where its TLS keys are logged."""
    one = Sealed(answer, context_of(certificate, alpn or ("h2" if https else "dot")), port)
    one.host = host
    if keys is not None:
        one.context.keylog_filename = str(keys)
    kind = _Https if https else _Dot
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: kind(one), host, port, ssl=one.context)
    one.port = server.sockets[0].getsockname()[1]
    try:
        yield one
    finally:
        server.close()
        one.drop_now()
        for task in one.running:
            task.cancel()
        await asyncio.gather(*one.running, return_exceptions=True)
        await asyncio.wait_for(server.wait_closed(), 10)


def in_thread(
    answer: Answer,
    certificate: trustme.LeafCert,
    *,
    https: bool = False,
    alpn: str = "",
    port: int = 0,
    host: str = HOST,
) -> AbstractContextManager[Sealed]:
    """Run a server in a thread of its own."""
    return in_own_thread(serving(answer, certificate, https=https, alpn=alpn, port=port, host=host))
