"""Asks a resolver over UDP, TCP, DoT, DoH and DoQ, within a budget of queries, time and octets.

Rules:
- A reply counts only if it has the query's id and question (`wire.is_reply`) and is read to its end.
- DoT, DoH and DoQ count only with a certificate that verifies for the name that the operator gave.
- DoQ is asked where Python has the library aioquic, and only at an address that was named: a port without QUIC is
  silent, and would cost the whole wait.
- What goes wrong is a Silence with a reason in our own words; nothing of a name is in it.
"""

import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from resolver.doctor import h2, wire
from resolver.doctor.wire import Malformed, Message, Name

UDP, TCP, DOT, DOH, DOQ = "udp", "tcp", "dot", "doh", "doq"
WAIT_S: Final = 2.0
TRIES: Final = 2
MOST_QUERIES: Final = 500
MOST_SECONDS: Final = 180.0
STRANGERS: Final = 16
"""Datagrams that are no reply to the query, and are passed over while it waits."""
_MOST_OCTETS: Final = 65_535
_SECONDS_OF_TRANSFER: Final = 4.0
_DOH_PATH: Final = "/dns-query"
_DOT_PORT: Final = 853
_DOH_PORT: Final = 443


class Silence(Exception):
    """Raised if there is no reply to judge; its text gives the reason."""


class NoReply(Silence):
    """Raised if nothing came back."""


class Spent(Silence):
    """Raised at the end of the budget."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address of a resolver: a literal IP address and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def family(self) -> socket.AddressFamily:
        """The family of its sockets."""
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET


def endpoint_of(text: str, port: int = 53) -> Endpoint:
    """Return the endpoint of `192.0.2.1`, `192.0.2.1:53`, `2001:db8::1` or `[2001:db8::1]:53`; ValueError if none."""
    host, number = text, str(port)
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError("not an address with a port")
        number = rest[1:] or number
    elif text.count(":") == 1:
        host, _, number = text.partition(":")
    if not number.isascii() or not number.isdigit() or not 0 < int(number) < 65_536:
        raise ValueError("not a port")
    return Endpoint(str(ipaddress.ip_address(host)), int(number))


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One question and the way it is put."""

    name: Name
    kind: int
    rdclass: int = wire.IN
    rd: bool = True
    edns: bool = True
    do: bool = False
    cd: bool = False
    over: str = UDP
    options: tuple[tuple[int, bytes], ...] = ()

    @property
    def octets(self) -> bytes:
        """The query as it is sent, with an id of its own."""
        flags = (wire.RD if self.rd else 0) | (wire.CD if self.cd else 0)
        edns = self.edns or self.do
        return wire.query(
            self.name, self.kind, rdclass=self.rdclass, flags=flags, edns=edns, do=self.do, options=self.options
        )


@dataclass(slots=True)
class Asker:
    """Asks one resolver; `queries` and `seconds` are what is left of its budget."""

    server: Endpoint
    tls_name: str = ""
    """The name in the resolver's certificate; its address if empty."""
    ca: Path | None = None
    dot: Endpoint | None = None
    doh: Endpoint | None = None
    doq: Endpoint | None = None
    doh_path: str = _DOH_PATH
    wait_s: float = WAIT_S
    queries: int = MOST_QUERIES
    seconds: float = MOST_SECONDS
    clock: Callable[[], float] = time.monotonic
    _until: float = field(init=False)
    _sent: int = field(default=0, init=False)
    _context: ssl.SSLContext | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._until = self.clock() + self.seconds

    @property
    def sent(self) -> int:
        """Return how many queries were sent."""
        return self._sent

    def ask(self, query: Query, source: str = "") -> Message:
        """Return the reply; by TCP if it came truncated. `source`: the address to ask from. Silence if none came."""
        ways = {
            UDP: self._by_datagram,
            TCP: self._by_stream,
            DOT: self._by_tls,
            DOH: self._by_https,
            DOQ: self._by_quic,
        }
        octets = query.octets
        reply = self._understood(ways[query.over](octets, source), octets)
        if query.over == UDP and reply.flags & wire.TC:
            whole = self._understood(self._by_stream(octets, source), octets)
            # Some clients use what came truncated: its records are judged with those that came by TCP.
            reply = replace(whole, additional=(*whole.additional, *reply.records))
        return reply

    def transfer(self, zone: Name, kind: int) -> Message | None:
        """Return the first message of a zone transfer (RFC 5936, RFC 1995), None if the server closes instead."""
        soa = wire.octets_of(wire.Record(zone, wire.SOA, wire.IN, 0, b"\0\0" + bytes(20)))
        octets = wire.query(zone, kind, flags=0, edns=False, authority=soa if kind == wire.IXFR else b"")
        self._spend()
        deadline = min(self.clock() + _SECONDS_OF_TRANSFER, self._until)
        with _reasons(), self._connected(self.server, "", deadline) as stream:
            _send(stream, octets)
            found = _framed(stream)
        return self._understood(found, octets) if found else None

    def reaches(self, source: str) -> bool:
        """Return whether packets from this address come to the resolver and back: TCP is accepted, or refused."""
        deadline = min(self.clock() + self.wait_s, self._until)
        try:
            self._spend()
            with self._connected(self.server, source, deadline):
                return True
        except (ConnectionRefusedError, ConnectionResetError):
            return True
        except (OSError, Silence):
            return False

    @staticmethod
    def _understood(octets: bytes, query: bytes) -> Message:
        if not wire.is_reply(octets, query):
            raise Silence("the reply is to another question")
        try:
            return wire.read(octets)
        except Malformed as error:
            raise Silence(f"the reply cannot be read: {error}") from None

    def _spend(self) -> None:
        if self._sent >= self.queries or self.clock() >= self._until:
            raise Spent("the budget of queries or time is spent")
        self._sent += 1

    def _by_datagram(self, octets: bytes, source: str) -> bytes:
        with _reasons(), socket.socket(self.server.family, socket.SOCK_DGRAM) as one:
            if source:
                one.bind((source, 0))
            one.connect((self.server.host, self.server.port))
            for _ in range(TRIES):
                self._spend()
                one.send(octets)
                reply = self._received(one, octets)
                if reply:
                    return reply
        raise NoReply("no reply")

    def _received(self, one: socket.socket, octets: bytes) -> bytes:
        deadline = min(self.clock() + self.wait_s, self._until)
        for _ in range(STRANGERS):
            left = deadline - self.clock()
            if left <= 0:
                break
            one.settimeout(left)
            try:
                found = one.recv(_MOST_OCTETS)
            except TimeoutError:
                break
            if wire.is_reply(found, octets):
                return found
        return b""

    def _by_stream(self, octets: bytes, source: str) -> bytes:
        self._spend()
        deadline = min(self.clock() + 2 * self.wait_s, self._until)
        with _reasons(), self._connected(self.server, source, deadline) as stream:
            return _exchanged(stream, octets)

    def _by_tls(self, octets: bytes, source: str) -> bytes:
        server = self.dot or Endpoint(self.server.host, _DOT_PORT)
        self._spend()
        deadline = min(self.clock() + 2 * self.wait_s, self._until)
        with _reasons(), self._encrypted(server, source, deadline, "dot") as stream:
            return _exchanged(stream, octets)

    def _by_https(self, octets: bytes, source: str) -> bytes:
        server = self.doh or Endpoint(self.server.host, _DOH_PORT)
        self._spend()
        deadline = min(self.clock() + 2 * self.wait_s, self._until)
        with _reasons(), self._encrypted(server, source, deadline, "h2", "http/1.1") as stream:
            name, kind = self.tls_name or server.host, "application/dns-message"
            if stream.selected_alpn_protocol() == "h2":
                return h2.post(stream, name, self.doh_path, kind, octets)
            # The connection is made here, so that the certificate is of the name and the address is the operator's.
            spoken = http.client.HTTPConnection(name)
            spoken.sock = stream
            headers = {"Accept": kind, "Content-Type": kind, "User-Agent": "blocklist-doctor"}
            spoken.request("POST", self.doh_path, octets, headers)
            response = spoken.getresponse()
            if response.status != 200:
                raise Silence(f"DoH answers HTTP {response.status}")
            return response.read(_MOST_OCTETS)

    def _by_quic(self, octets: bytes, _source: str) -> bytes:
        if self.doq is None:
            raise Silence("--doq ADDR:PORT says where it answers")
        try:
            from resolver.doctor import doq
        except ImportError:
            raise Silence("this Python has no aioquic") from None
        self._spend()
        seconds = min(2 * self.wait_s, max(self._until - self.clock(), 0.001))
        with _reasons():
            try:
                return doq.exchange(octets, self.doq.host, self.doq.port, self.tls_name, self.ca, seconds)
            except doq.NotSpoken as error:
                raise Silence(str(error)) from None

    def beside(self, server: Endpoint, tls_name: str, doh_path: str) -> "Asker":
        """Return what asks another resolver once, over TLS, HTTPS and QUIC at this place, by this one's bounds."""
        left = max(self._until - self.clock(), 0.0)
        return Asker(
            server, tls_name, self.ca, server, server, server, doh_path, self.wait_s, queries=1, seconds=left,
            clock=self.clock,
        )  # fmt: skip

    @contextmanager
    def _connected(self, server: Endpoint, source: str, deadline: float) -> Iterator[socket.socket]:
        """Give a connection that ends at the deadline, however slowly the other end sends."""
        with closing(socket.socket(server.family, socket.SOCK_STREAM)) as one:
            left = max(deadline - self.clock(), 0.001)
            one.settimeout(left)
            if source:
                one.bind((source, 0))
            one.connect((server.host, server.port))
            with closing(one.dup()) as same:
                timer = threading.Timer(left, shut, (same,))
                timer.start()
                try:
                    yield one
                finally:
                    timer.cancel()
                    timer.join()

    @contextmanager
    def _encrypted(
        self, server: Endpoint, source: str, deadline: float, *protocols: str
    ) -> Iterator[ssl.SSLSocket]:
        name, context = self.tls_name or server.host, self._verifying()
        context.set_alpn_protocols(protocols)
        with (
            self._connected(server, source, deadline) as plain,
            context.wrap_socket(plain, server_hostname=name) as stream,
        ):
            yield stream

    def _verifying(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = ssl.create_default_context(cafile=self.ca)
        return self._context


def shut(one: socket.socket) -> None:
    """End both ways of a connection."""
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


def _exchanged(stream: socket.socket, octets: bytes) -> bytes:
    _send(stream, octets)
    reply = _framed(stream)
    if not reply:
        raise Silence("the connection was closed without a reply")
    return reply


def _framed(stream: socket.socket) -> bytes:
    """Return a message behind its length (RFC 1035 4.2.2); empty if the server closed instead."""
    found = bytearray()
    wanted = 2
    while len(found) < wanted:
        part = stream.recv(wanted - len(found))
        if not part:
            return b""
        found += part
        if len(found) == wanted == 2:
            wanted += int.from_bytes(found, "big")
    return bytes(found[2:])


def _send(stream: socket.socket, octets: bytes) -> None:
    stream.sendall(len(octets).to_bytes(2, "big") + octets)


@contextmanager
def _reasons() -> Iterator[None]:
    """Raise Silence for whatever a connection fails with."""
    try:
        yield
    except TimeoutError:
        raise NoReply("no reply in time") from None
    except ConnectionRefusedError:
        raise Silence("nothing answers at the port") from None
    except ssl.SSLCertVerificationError:
        raise Silence("the certificate does not verify: --tls-name, --ca") from None
    except http.client.HTTPException:
        raise Silence("it speaks neither HTTP/2 nor HTTP/1.1") from None
    except h2.NotSpoken as error:
        raise Silence(f"DoH: {error}") from None
    except OSError as error:
        raise Silence(error.strerror or type(error).__name__) from None


def own_resolver(path: Path = Path("/etc/resolv.conf")) -> Endpoint:
    """Return the first resolver of this host; ValueError if it names none."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        words = line.split()
        if words[:1] == ["nameserver"] and len(words) > 1:
            return Endpoint(str(ipaddress.ip_address(words[1])), 53)
    raise ValueError(f"{path} names no resolver; --server ADDR:PORT names one")
