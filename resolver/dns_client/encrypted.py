"""Exchanges one DNS message over TLS, HTTPS or QUIC with a server that is verified, for `dns_client`.

Rules:
- The certificate verifies against the system's authorities, or those of `Verified.ca`, for `Verified.name` or, if that
  is empty, for the server's address. No switch skips this.
- HTTPS is HTTP/2 by the ALPN "h2" (RFC 8484 5.2), with POST; QUIC is DoQ (RFC 9250), whose messages have the id 0.
- All that is received is bounded in octets, and in time by the caller's timeout.
- The libraries h2 and aioquic are imported only when they are used; NotInstalled says which one is missing.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from resolver.config.values import Endpoint, sockaddr

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

MOST_OCTETS: Final = 65_535
PORTS: Final = {"tls": 853, "https": 443, "quic": 853}
"""The ports of RFC 7858, RFC 8484 and RFC 9250."""

_MOST_RECEIVED: Final = 2 * MOST_OCTETS
"""Of an answer with its frames and headers."""
_DNS_MESSAGE: Final = "application/dns-message"
_HTTP_OK: Final = "200"
_ANSWER_LATE: Final = "no answer in time"
# Codes of OpenSSL (X509_verify_cert_error_string(3)), and what a person has to look at.
_FAULTS: Final = {
    9: "it is not valid yet",
    10: "it has expired",
    18: "it is signed by itself: --ca FILE takes it as its own authority",
    19: "its authority is not trusted: --ca FILE names it",
    20: "its authority is not trusted: --ca FILE names it",
    21: "its authority is not trusted: --ca FILE names it",
    62: "it is for another name: --tls-name NAME says which",
    64: "it is for another address: --tls-name NAME says the name in it",
}


class NotSecured(Exception):
    """Raised if nothing was exchanged with a verified server; its text gives the reason."""


class NotInstalled(NotSecured):
    """Raised if a library is missing; its text names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """How a server is verified, and where DoH is on it."""

    name: str = ""
    ca: Path | None = None
    path: str = "/dns-query"


@dataclass(frozen=True, slots=True, kw_only=True)
class Secured:
    """What came over a secured connection, and how it was secured."""

    octets: bytes = field(repr=False)
    over: str
    version: str
    name: str
    """The name or the address for which the certificate was verified."""
    until: float
    """The end of the certificate, in seconds since the epoch."""


def exchange(query: bytes, server: Endpoint, over: str, timeout_s: float, how: Verified) -> Secured:
    """Send a query over "tls", "https" or "quic" and return what came; NotSecured, or any OSError of the socket."""
    ways: dict[str, Callable[[bytes, Endpoint, float, Verified], Secured]] = {
        "tls": _by_tls,
        "https": _by_https,
        "quic": _by_quic,
    }
    return ways[over](query, server, timeout_s, how)


class _Stream:
    """A TLS connection whose every wait ends at one deadline."""

    def __init__(self, server: Endpoint, timeout_s: float, how: Verified, alpn: str) -> None:
        self._deadline = time.monotonic() + timeout_s
        self.name = how.name or server.host.partition("%")[0]
        self._plain = socket.socket(socket.AF_INET6 if ":" in server.host else socket.AF_INET, socket.SOCK_STREAM)
        try:
            context = ssl.create_default_context(cafile=how.ca)
            context.set_alpn_protocols([alpn])
            self._plain.settimeout(timeout_s)
            self._plain.connect(sockaddr(server))
            self._plain.settimeout(self._left())
            self._secured = context.wrap_socket(self._plain, server_hostname=self.name)
        except ssl.SSLCertVerificationError as error:
            self._plain.close()
            fault = _FAULTS.get(error.verify_code, error.verify_message)
            raise NotSecured(f"the certificate does not verify: {fault}") from None
        except BaseException:
            self._plain.close()
            raise
        self.alpn = self._secured.selected_alpn_protocol()

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(_ANSWER_LATE)
        return left

    def send(self, octets: bytes) -> None:
        self._secured.settimeout(self._left())
        self._secured.sendall(octets)

    def receive(self) -> bytes:
        """Return what came next; ConnectionAbortedError at the end."""
        self._secured.settimeout(self._left())
        octets = self._secured.recv(MOST_OCTETS)
        if not octets:
            raise ConnectionAbortedError("the connection was closed without an answer")
        return octets

    def close(self) -> None:
        self._secured.close()

    def told(self, octets: bytes, over: str) -> Secured:
        """Return an answer with what is known of the connection."""
        certificate: Any = self._secured.getpeercert()
        until = ssl.cert_time_to_seconds(certificate["notAfter"])
        version = self._secured.version() or "TLS"
        return Secured(octets=octets, over=over, version=version, name=self.name, until=until)


def _by_tls(query: bytes, server: Endpoint, timeout_s: float, how: Verified) -> Secured:
    stream = _Stream(server, timeout_s, how, "dot")
    try:
        stream.send(len(query).to_bytes(2, "big") + query)
        found = bytearray()
        while len(found) < 2 or len(found) < 2 + int.from_bytes(found[:2], "big"):
            found += stream.receive()
        return stream.told(bytes(found[2 : 2 + int.from_bytes(found[:2], "big")]), "tls")
    finally:
        stream.close()


def _by_https(query: bytes, server: Endpoint, timeout_s: float, how: Verified) -> Secured:
    try:
        import h2.config
        import h2.connection
        import h2.events
        import h2.exceptions
    except ImportError:
        raise NotInstalled("HTTPS needs the library h2: install python3-h2, or pip install h2") from None
    stream = _Stream(server, timeout_s, how, "h2")
    try:
        if stream.alpn != "h2":
            raise NotSecured("the server does not speak HTTP/2")
        spoken = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
        spoken.initiate_connection()
        named = f"[{stream.name}]" if ":" in stream.name else stream.name
        authority = named if server.port == PORTS["https"] else f"{named}:{server.port}"
        head = [
            (":method", "POST"), (":scheme", "https"), (":authority", authority), (":path", how.path),
            ("accept", _DNS_MESSAGE), ("content-type", _DNS_MESSAGE), ("content-length", str(len(query))),
        ]  # fmt: skip
        spoken.send_headers(1, head)
        spoken.send_data(1, query, end_stream=True)
        body, status, came = bytearray(), "", 0
        while came <= _MOST_RECEIVED:
            stream.send(spoken.data_to_send())
            octets = stream.receive()
            came += len(octets)
            for event in spoken.receive_data(octets):
                if isinstance(event, h2.events.ResponseReceived):
                    status = dict(event.headers).get(b":status", b"").decode("latin-1")
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data
                    if len(body) > MOST_OCTETS:
                        raise NotSecured("the body is longer than a DNS message")
                    spoken.acknowledge_received_data(event.flow_controlled_length, 1)
                elif isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
                    raise NotSecured("the server refused the request")
                elif isinstance(event, h2.events.StreamEnded):
                    return _answered(stream, status, bytes(body))
        raise NotSecured("the server sends more than an answer")
    except h2.exceptions.ProtocolError:
        raise NotSecured("what the server sends is not HTTP/2") from None
    finally:
        stream.close()


def _answered(stream: _Stream, status: str, body: bytes) -> Secured:
    if status != _HTTP_OK:
        raise NotSecured(f"the server answers HTTP {status if status.isdecimal() else 'without a status'}")
    return stream.told(body, "https")


def _by_quic(query: bytes, server: Endpoint, timeout_s: float, how: Verified) -> Secured:
    try:
        import aioquic.asyncio  # noqa: F401 - only whether it is here
    except ImportError:
        raise NotInstalled(
            "QUIC needs the library aioquic: apt-get install blocklist-resolver-quic beside the Debian package, "
            "else pip install aioquic"
        ) from None
    return asyncio.run(_exchanged_by_quic(query, server, timeout_s, how))


async def _exchanged_by_quic(query: bytes, server: Endpoint, timeout_s: float, how: Verified) -> Secured:
    from aioquic.asyncio.client import connect
    from aioquic.quic.configuration import QuicConfiguration

    name = how.name or server.host.partition("%")[0]
    settings = QuicConfiguration(is_client=True, alpn_protocols=["doq"], server_name=name)
    paths = ssl.get_default_verify_paths()
    settings.load_verify_locations(str(how.ca) if how.ca else paths.cafile, None if how.ca else paths.capath)
    try:
        async with asyncio.timeout(timeout_s), connect(server.host, server.port, configuration=settings) as client:
            reader, writer = await client.create_stream()
            # The id is 0 (RFC 9250 4.2.1).
            writer.write(len(query).to_bytes(2, "big") + bytes(2) + query[2:])
            writer.write_eof()
            head = await reader.readexactly(2)
            octets = await reader.readexactly(int.from_bytes(head, "big"))
            until = _end_of(client)
    except asyncio.IncompleteReadError:
        raise NotSecured("the connection was closed without an answer") from None
    except ConnectionError:
        # aioquic gives no reason but this, whether nothing answers or the certificate does not verify.
        raise NotSecured(
            "no connection: nothing answers QUIC there, or the certificate does not verify (--tls-name, --ca)"
        ) from None
    if octets[:2] != b"\0\0":
        raise NotSecured("the answer's id is not 0")
    return Secured(octets=query[:2] + octets[2:], over="quic", version="TLSv1.3", name=name, until=until)


def _end_of(client: Any) -> float:
    """Return the end of the peer's certificate; aioquic has no public name for it."""
    certificate: Certificate = client._quic.tls._peer_certificate
    return certificate.not_valid_after_utc.astimezone(UTC).timestamp()
