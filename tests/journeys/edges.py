"""An edge process before a service, and a client of each encrypted transport that keeps its connections.

Rules:
- `configured` is the text for `more` of `running.serve`; `started` runs the edge of that configuration. A test that
  kills an edge starts the next one with `launch`, and one that renews its certificate issues the next with `issue`.
- A client asks from an address of loopback, verifies the certificate, and speaks to one edge: DoT, DoH over HTTP/2 and
  HTTP/1.1 (POST and GET in turn), DoQ and DoH over HTTP/3. A connection that is gone is made again once.
- An answer is what came, with the id of the query where the transport has none.
- The cases of a table are asked by `Clients.case`, over each transport alike: padding is checked and taken off, and
  what is left is read as it would be over TCP. `as_over` says in which words a transport differs from TCP.
"""

import asyncio
import base64
import http.client
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import trustme
from aioquic.asyncio import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, QuicEvent, StreamDataReceived, StreamReset

from tests.journeys.running import HOST, NO_CERTIFICATES, ROOT, START_S, free_ports, stop

NAME = "dns.isp.example"
PATH = "/dns-query"
DOT, H2, H1, DOQ, H3 = "dot", "doh-h2", "doh-h1", "doq", "doh-h3"
KEYS = {DOT: "tls", H2: "https", H1: "https", DOQ: "quic", H3: "http3"}
"""The key of [edge] that has a transport's address."""
COLUMNS = tuple(KEYS)
SECONDS = 60.0
DNS_MESSAGE = "application/dns-message"
BLOCK, MOST_OCTETS = 468, 65_535
"""An answer with EDNS is padded to a multiple of BLOCK (RFC 8467 4.1), or to the largest message."""

_OPT, _PADDING = 41, 12
_SILENCE = "silence"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an edge listens: its folder, the port of each key, its authority's certificate."""

    folder: Path
    ports: dict[str, int]
    ca: Path


def issue(folder: Path, authority: trustme.CA, *names: str) -> None:
    """Replace an edge's certificate and key, as a client of ACME does.

    names: NAME and the addresses of loopback if none is given.
    """
    issued = authority.issue_cert(*(names or (NAME, HOST, "::1")))
    chain = b"".join(one.bytes() for one in issued.cert_chain_pems)
    for path, octets in ((folder / "edge.pem", chain), (folder / "edge.key", issued.private_key_pem.bytes())):
        new = path.with_name(f"new-{path.name}")
        new.write_bytes(octets)
        new.chmod(0o600)
        new.replace(path)


def certified(folder: Path, ports: dict[str, int], *names: str, authority: trustme.CA | None = None) -> Place:
    """Write a certificate for an edge of these ports, and that of its authority: a new one if none is given."""
    authority = authority or trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "edge-ca.pem"))
    issue(folder, authority, *names)
    return Place(folder=folder, ports=ports, ca=folder / "edge-ca.pem")


def configured(
    folder: Path, columns: Sequence[str] = COLUMNS, *, path: str = PATH, authority: trustme.CA | None = None
) -> tuple[Place, str]:
    """Write a certificate for NAME, and return where an edge of these transports listens, and its table."""
    keys = sorted({KEYS[one] for one in columns})
    place = certified(folder, dict(zip(keys, free_ports(len(keys)), strict=True)), authority=authority)
    table = [
        "[edge]", f'socket = "{folder}/edge"', 'user = ""', f'name = "{NAME}"', f'path = "{path}"',
        f'certificate = "{folder}/edge.pem"', f'key = "{folder}/edge.key"',
        *(f'{key} = ["{HOST}:{port}"]' for key, port in place.ports.items()),
    ]  # fmt: skip
    return place, "\n".join(table)


def launch(place: Place, config: Path) -> "subprocess.Popen[bytes]":
    """Start an edge, and wait until it takes queries."""
    environment = {"PYTHONPATH": str(ROOT), "PATH": os.environ.get("PATH", ""), **NO_CERTIFICATES}
    with open(place.folder / "edge-said", "ab") as out:
        before = out.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "resolver", "edge", "--config", str(config)],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment, cwd=ROOT,
        )  # fmt: skip
    deadline, pause = time.monotonic() + START_S, threading.Event()
    try:
        while "takes queries" not in said(place)[before:]:
            assert process.poll() is None, said(place)
            assert time.monotonic() < deadline, said(place)
            pause.wait(0.02)
    except BaseException:
        stop(process)
        raise
    return process


@contextmanager
def started(place: Place, config: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """An edge that answers; it has to end with 0."""
    process = launch(place, config)
    try:
        yield process
    finally:
        status = stop(process)
    assert status == 0, f"the edge ended with {status}:\n{said(place)}"


def said(place: Place) -> str:
    """All that the edge has written."""
    return (place.folder / "edge-said").read_text(errors="replace")


def trusting(place: Place, alpn: str) -> ssl.SSLContext:
    """A client's context that trusts this edge's authority alone."""
    context = ssl.create_default_context(cafile=place.ca)
    context.set_alpn_protocols([alpn])
    return context


def connected(place: Place, key: str, alpn: str, source: str = HOST, header: bytes = b"") -> ssl.SSLSocket:
    """A TLS connection to an edge; `header` comes before it (PROXY protocol)."""
    one = socket.create_connection((HOST, place.ports[key]), timeout=SECONDS, source_address=(source, 0))
    if header:
        one.sendall(header)
    try:
        return trusting(place, alpn).wrap_socket(one, server_hostname=NAME)
    except BaseException:
        one.close()
        raise


def without_padding(reply: bytes) -> bytes:
    """An answer as it would be over TCP; AssertionError if one with EDNS is not padded as it has to be."""
    at = _opt_at(reply)
    if at < 0:
        return reply
    first = start = at + 11
    found = []
    while start < len(reply):
        code, size = struct.unpack_from(">HH", reply, start)
        found.append((code, start, size))
        start += 4 + size
    assert start == len(reply), "OPT is the last record"
    if len(reply) > MOST_OCTETS - 4 and _PADDING not in [code for code, _, _ in found]:
        return reply  # there was no room for the head of the option
    assert len(reply) % BLOCK == 0 or len(reply) == MOST_OCTETS, len(reply)
    assert [code for code, _, _ in found].index(_PADDING) == len(found) - 1, "padding comes once, and last"
    _, start, size = found[-1]
    assert not any(reply[start + 4 :]), "of zeros"
    return reply[: first - 2] + (start - first).to_bytes(2, "big") + reply[first:start]


def _opt_at(message: bytes) -> int:
    """Where OPT begins; -1 for none."""
    questions, *others = struct.unpack_from(">4H", message, 4)
    at = 12
    for _ in range(questions):
        at = _behind_name(message, at) + 4
    for _ in range(sum(others)):
        body = _behind_name(message, at)
        kind, _, _, size = struct.unpack_from(">HHIH", message, body)
        if kind == _OPT:
            return at
        at = body + 10 + size
    return -1


def _behind_name(message: bytes, at: int) -> int:
    while 0 < message[at] < 192:
        at += 1 + message[at]
    return at + (2 if message[at] else 1)


def as_over(column: str, said: str) -> str:
    """What a case has to say over a transport, from what it says over TCP.

    edns-tcp-keepalive is of TCP and TLS alone (RFC 7828 1); over QUIC it ends the connection (RFC 9250 5.5.2).
    """
    if ", keepalive" not in said or column == DOT:
        return said
    return _SILENCE if column == DOQ else said.replace(", keepalive 10 s", "")


def pipelined(stream: ssl.SSLSocket, *queries: bytes) -> list[bytes]:
    """Ask over one connection of DoT, all at once; return the answers as they come."""
    stream.sendall(b"".join(len(query).to_bytes(2, "big") + query for query in queries))
    found, unread = list[bytes](), b""
    while len(found) < len(queries):
        data = stream.recv(2**16)
        if not data:
            raise ConnectionAbortedError("the connection was closed")
        unread += data
        while len(unread) >= 2 and len(unread) >= (size := 2 + int.from_bytes(unread[:2], "big")):
            found.append(unread[2:size])
            unread = unread[size:]
    return found


class Dot:
    """DNS over TLS."""

    def __init__(self, place: Place, source: str, header: bytes = b"") -> None:
        self._stream = connected(place, "tls", "dot", source, header)
        self._read = self._stream.makefile("rb")

    def ask(self, *queries: bytes) -> bytes:
        self._stream.sendall(b"".join(len(query).to_bytes(2, "big") + query for query in queries))
        head = self._read.read(2)
        if len(head) < 2:
            raise ConnectionAbortedError("the connection was closed")
        return self._read.read(int.from_bytes(head, "big"))

    def close(self) -> None:
        self._read.close()
        self._stream.close()


class Refused(OSError):
    """Raised if DoH answers with another status than 200."""


def checked(status: object, kind: str | None, body: bytes) -> bytes:
    """The body of a response that is an answer."""
    if str(status) != "200":
        raise Refused(f"HTTP {status}")
    assert kind == DNS_MESSAGE, kind
    return body


class Http1:
    """DoH over HTTP/1.1."""

    def __init__(self, place: Place, source: str, header: bytes = b"") -> None:
        self._spoken = http.client.HTTPConnection(NAME)
        self._spoken.sock = connected(place, "https", "http/1.1", source, header)
        self._asked = 0
        self.fields: Mapping[str, str] = {}

    def ask(self, query: bytes) -> bytes:
        self._asked += 1
        if self._asked % 2:
            kind = {"Content-Type": DNS_MESSAGE, "Accept": DNS_MESSAGE}
            self._spoken.request("POST", PATH, query, kind)
        else:
            self._spoken.request("GET", f"{PATH}?dns={in_url(query)}", headers={"Accept": DNS_MESSAGE})
        response = self._spoken.getresponse()
        self.fields = {name.lower(): value for name, value in response.getheaders()}
        return checked(response.status, self.fields.get("content-type"), response.read())

    def close(self) -> None:
        self._spoken.close()


def in_url(query: bytes) -> str:
    """A query as the URL of GET carries it (RFC 8484 6)."""
    return base64.urlsafe_b64encode(query).rstrip(b"=").decode()


def request_of(number: int, query: bytes) -> tuple[list[tuple[str, str]], bytes]:
    """Headers and body of the number-th request: POST and GET in turn."""
    head = [(":scheme", "https"), (":authority", NAME), ("accept", DNS_MESSAGE)]
    if number % 2:
        return [(":method", "GET"), (":path", f"{PATH}?dns={in_url(query)}"), *head], b""
    more = [("content-type", DNS_MESSAGE), ("content-length", str(len(query)))]
    return [(":method", "POST"), (":path", PATH), *head, *more], query


class Http2:
    """DoH over HTTP/2."""

    def __init__(self, place: Place, source: str, header: bytes = b"") -> None:
        self._stream = connected(place, "https", "h2", source, header)
        assert self._stream.selected_alpn_protocol() == "h2"
        settings = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        self._spoken = h2.connection.H2Connection(settings)
        self._spoken.initiate_connection()
        self._asked = 0
        self.fields: Mapping[str, str] = {}

    def ask(self, query: bytes) -> bytes:
        [(_, found)] = self.ask_all([query])
        return found

    def ask_all(self, queries: Sequence[bytes]) -> list[tuple[int, bytes]]:
        """Ask all at once; return the number of each query and its answer, in the order in which they came."""
        numbers = {}
        for place, query in enumerate(queries):
            number = self._spoken.get_next_available_stream_id()
            numbers[number] = place
            self._asked += 1
            head, body = request_of(self._asked, query)
            self._spoken.send_headers(number, head, end_stream=not body)
            if body:
                self._spoken.send_data(number, body, end_stream=True)
        bodies, heads = {number: bytearray() for number in numbers}, dict[int, dict[Any, Any]]()
        found: list[tuple[int, bytes]] = []
        while len(found) < len(numbers):
            self._stream.sendall(self._spoken.data_to_send())
            octets = self._stream.recv(65_535)
            if not octets:
                raise ConnectionAbortedError("the connection was closed")
            for event in self._spoken.receive_data(octets):
                if isinstance(event, h2.events.ResponseReceived):
                    heads[event.stream_id] = dict(event.headers)
                elif isinstance(event, h2.events.DataReceived):
                    bodies[event.stream_id] += event.data
                    self._spoken.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                    raise ConnectionAbortedError("the request was refused")
                elif isinstance(event, h2.events.StreamEnded):
                    self.fields = heads[event.stream_id]
                    body_ = bytes(bodies[event.stream_id])
                    answer = checked(self.fields[":status"], self.fields.get("content-type"), body_)
                    found.append((numbers[event.stream_id], answer))
        self._stream.sendall(self._spoken.data_to_send())
        return found

    def close(self) -> None:
        self._stream.close()


class _Quic(QuicConnectionProtocol):
    """One connection; `found` has the answer of each stream."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.parts: dict[int, bytearray] = {}
        self.heads: dict[int, dict[bytes, bytes]] = {}
        self.waits: dict[int, asyncio.Future[bytes]] = {}
        self.http: H3Connection | None = None
        self.fields: Mapping[str, str] = {}
        self.over = False

    def speak_http(self) -> None:
        """Speak HTTP/3; without it, DoQ."""
        self.http = H3Connection(self._quic)

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, ConnectionTerminated):
            self.over = True
            for one in self.waits.values():
                if not one.done():
                    one.set_exception(ConnectionAbortedError("the connection was closed"))
        if isinstance(event, StreamReset):
            wait = self.waits.get(event.stream_id)
            if wait is not None and not wait.done():
                wait.set_exception(ConnectionAbortedError("the stream was reset"))
        if self.http is not None:
            for said_ in self.http.handle_event(event):
                if isinstance(said_, HeadersReceived):
                    self.heads[said_.stream_id] = dict(said_.headers)
                if isinstance(said_, HeadersReceived | DataReceived):
                    self._take(said_.stream_id, getattr(said_, "data", b""), said_.stream_ended)
        elif isinstance(event, StreamDataReceived):
            self._take(event.stream_id, event.data, event.end_stream)

    def _take(self, number: int, data: bytes, ended: bool) -> None:
        self.parts.setdefault(number, bytearray()).extend(data)
        wait = self.waits.get(number)
        if ended and wait is not None and not wait.done():
            wait.set_result(bytes(self.parts.pop(number)))

    async def ask(self, query: bytes, asked: int) -> bytes:
        if self.over:
            raise ConnectionAbortedError("the connection was closed")
        number = self._quic.get_next_available_stream_id()
        wait = self.waits[number] = asyncio.get_running_loop().create_future()
        if self.http is None:
            octets = len(query).to_bytes(2, "big") + bytes(2) + query[2:]
            self._quic.send_stream_data(number, octets, end_stream=True)
        else:
            head, body = request_of(asked, query)
            named = [(name.encode(), value.encode()) for name, value in head]
            self.http.send_headers(number, named, end_stream=not body)
            if body:
                self.http.send_data(number, body, end_stream=True)
        self.transmit()
        try:
            found = await asyncio.wait_for(wait, SECONDS)
        finally:
            del self.waits[number]
        if self.http is None:
            if not found:
                raise ConnectionAbortedError("the stream was closed without an answer")
            assert found[2:4] == b"\0\0", "the id of DoQ is 0"
            assert int.from_bytes(found[:2], "big") == len(found) - 2
            return query[:2] + found[4:]
        self.fields = {name.decode(): value.decode() for name, value in self.heads.pop(number).items()}
        return checked(self.fields[":status"], self.fields.get("content-type"), found)


class Quic:
    """DoQ, or DoH over HTTP/3, on an event loop in a thread of its own."""

    def __init__(self, place: Place, key: str, source: str) -> None:
        self._asked = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        try:
            self._client: _Quic = asyncio.run_coroutine_threadsafe(self._open(place, key, source), self._loop).result(
                2 * SECONDS
            )
        except BaseException:
            self._stop()
            raise

    async def _open(self, place: Place, key: str, source: str) -> _Quic:
        alpn = ["doq"] if key == "quic" else H3_ALPN
        settings = QuicConfiguration(is_client=True, alpn_protocols=alpn, server_name=NAME)
        settings.load_verify_locations(str(place.ca))
        local = socket.socket(type=socket.SOCK_DGRAM)
        local.bind((source, 0))
        local.setblocking(False)
        self._transport, made = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Quic(QuicConnection(configuration=settings)), sock=local
        )
        made.connect((HOST, place.ports[key]))
        await asyncio.wait_for(made.wait_connected(), SECONDS)
        if key == "http3":
            made.speak_http()
        return made

    @property
    def fields(self) -> Mapping[str, str]:
        return self._client.fields

    def ask(self, query: bytes) -> bytes:
        self._asked += 1
        waiting = asyncio.run_coroutine_threadsafe(self._client.ask(query, self._asked), self._loop)
        return waiting.result(2 * SECONDS)

    def ask_all(self, queries: Sequence[bytes]) -> list[tuple[int, bytes]]:
        """Ask all at once; return the number of each query and its answer, in the order in which they came."""
        found: list[tuple[int, bytes]] = []

        async def one(place: int, query: bytes) -> None:
            found.append((place, await self._client.ask(query, place)))

        async def every() -> None:
            await asyncio.gather(*(one(place, query) for place, query in enumerate(queries)))

        asyncio.run_coroutine_threadsafe(every(), self._loop).result(2 * SECONDS)
        return found

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(2 * SECONDS)
        self._stop()

    async def _close(self) -> None:
        self._client.close()
        with suppress(ConnectionError, TimeoutError):
            await asyncio.wait_for(self._client.wait_closed(), SECONDS)
        self._transport.close()
        await asyncio.sleep(0)  # the transport closes in a turn of its own

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


Client = Dot | Http1 | Http2 | Quic


@dataclass
class Clients:
    """A client of each transport, made when it is first asked.

    made: how many connections there were of each. paused_s: the longest time between two questions of any transport; an
    edge closes what is idle.
    """

    place: Place
    source: str = HOST
    made: Counter[str] = field(default_factory=Counter)
    paused_s: float = 0.0
    _asked_at: dict[str, float] = field(default_factory=dict)
    _made: dict[tuple[str, bytes], Client] = field(default_factory=dict)

    def ask(self, column: str, query: bytes, header: bytes = b"") -> bytes:
        """The answer over a transport; OSError if there is none. `header`: PROXY protocol, before the connection."""
        now = time.monotonic()
        self.paused_s = max(self.paused_s, now - self._asked_at.get(column, now))
        self._asked_at[column] = now
        kept = self._made.pop((column, header), None)
        if kept is not None:
            try:
                found = kept.ask(query)
            except Refused:
                self._made[column, header] = kept
                raise
            except (OSError, http.client.HTTPException):
                kept.close()
            else:
                self._made[column, header] = kept
                return found
        made = self._make(column, header)
        try:
            found = made.ask(query)
        except BaseException:
            made.close()
            raise
        self._made[column, header] = made
        return found

    def case(self, column: str, query: bytes, *, after: bytes = b"") -> bytes | None:
        """The answer to a case, without its padding; None if the stream was closed or HTTP said 400.

        after: another query, for a case that has to get no answer: over DoT it is sent behind the case, and only what
        comes before its answer is one to the case.
        """
        try:
            reply = self._before(query, after) if column == DOT and after else self.ask(column, query)
        except (OSError, http.client.HTTPException):
            return None
        return None if reply is None else without_padding(reply)

    def _before(self, query: bytes, after: bytes) -> bytes | None:
        one = self._make(DOT, b"")
        assert isinstance(one, Dot)
        try:
            reply = one.ask(query, after)
        finally:
            one.close()
        return None if reply[:2] == after[:2] else reply

    def ask_all(self, column: str, queries: Sequence[bytes]) -> list[tuple[int, bytes]]:
        """Ask all at once over a connection of its own, which has streams; see there."""
        one = self._make(column, b"")
        assert isinstance(one, Http2 | Quic)
        try:
            return one.ask_all(queries)
        finally:
            one.close()

    def fields(self, column: str) -> Mapping[str, str]:
        """The head of the last response over HTTP."""
        one = self._made[column, b""]
        assert isinstance(one, Http1 | Http2 | Quic)
        return one.fields

    def _make(self, column: str, header: bytes) -> Client:
        self.made[column] += 1
        if column in (DOQ, H3):
            assert not header, "QUIC has no PROXY protocol here"
            return Quic(self.place, KEYS[column], self.source)
        kinds: dict[str, Callable[[Place, str, bytes], Client]] = {DOT: Dot, H2: Http2, H1: Http1}
        return kinds[column](self.place, self.source, header)

    def close(self) -> None:
        """End every connection."""
        with ExitStack() as stack:
            for one in self._made.values():
                stack.callback(one.close)
        self._made.clear()


@contextmanager
def clients(place: Place, source: str = HOST) -> Iterator[Clients]:
    """Clients of an edge, which end with the block."""
    found = Clients(place, source)
    try:
        yield found
    finally:
        found.close()
