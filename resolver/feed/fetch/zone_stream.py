"""A connection to a zone's primary, over TCP or TLS: sends queries, yields messages.

Rules:
- Over TLS the primary is verified, with ALPN `dot` (RFC 9103 section 9.3.1) and TLS 1.3 only (section 7.1).
- A file of TLS that cannot be used raises transport.Unreadable.
- The primary's addresses come from the upstreams, never from this service.
- The stream is limited in octets and in time, and so is each wait for a part of it.
"""

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Final
from urllib.parse import urlsplit

from resolver.feed import lookup, network_details
from resolver.feed.details import Code, Detail, Place
from resolver.feed.transport import Access, NotFetched, first_that_accepts, found_tls, tls_context

STEP_SECONDS: Final = 10.0
_PORTS: Final = {"dns": 53, "tls": 853}
_BUFFER: Final = 2**18


class Unreachable(Exception):
    """No primary answers at the URL; `detail` says why, if that is known."""

    def __init__(self, detail: Detail | None = None) -> None:
        super().__init__("unreachable")
        self.detail = detail


class Cut(Exception):
    """The stream ended or was too slow, within a message or before the next expected one."""

    def __init__(self, detail: Detail | None = None) -> None:
        super().__init__("cut")
        self.detail = detail


class TooMuch(Exception):
    """The stream is longer than allowed."""


class Connection:
    """One connection; the caller closes it."""

    def __init__(self, url: str, access: Access, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._deadline = clock() + seconds
        self._access = access
        self._socket = self._connected(url, access)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def send(self, message: bytes) -> None:
        """Send one message; Unreachable if that fails."""
        try:
            self._socket.settimeout(self._rest())
            self._socket.sendall(len(message).to_bytes(2, "big") + message)
        except OSError as error:
            raise Unreachable(self._detail_of(error)) from None

    def messages(self, most: int) -> Iterator[bytes]:
        """Yield the received messages, without end; Cut if the stream ends, TooMuch above `most` octets in total.

        Octets received after the last message taken are lost: send another query only after a complete answer.
        """
        buffer, start, end, taken = bytearray(_BUFFER), 0, 0, 0
        view = memoryview(buffer)
        while True:
            while end - start >= 2 and end - start >= 2 + (size := buffer[start] << 8 | buffer[start + 1]):
                yield bytes(view[start + 2 : start + 2 + size])
                start += 2 + size
            view[: end - start] = view[start:end]
            start, end = 0, end - start
            got = self._into(view[end:])
            end += got
            taken += got
            if taken > most:
                raise TooMuch

    def _into(self, room: memoryview) -> int:
        try:
            self._socket.settimeout(self._rest())
            got = self._socket.recv_into(room)
        except OSError as error:
            raise Cut(self._detail_of(error)) from None
        if not got:
            raise Cut(Detail(code=Code.CLOSED, at=Place.HOST))
        return got

    def _detail_of(self, error: OSError) -> Detail | None:
        return network_details.of_error(error, ours=bool(self._access.certificate))

    def _rest(self) -> float:
        rest = min(STEP_SECONDS, self._deadline - self._clock())
        if rest <= 0:
            raise Cut(Detail(code=Code.TOO_SLOW, at=Place.HOST))
        return rest

    def _connected(self, url: str, access: Access) -> socket.socket:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        context: ssl.SSLContext | None = None
        if parts.scheme == "tls":
            context = tls_context(access, ssl.TLSVersion.TLSv1_3)
            context.set_alpn_protocols(["dot"])

        def connect(address: str) -> socket.socket:
            plain = socket.create_connection((address, port), self._rest())
            try:
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if context is None:
                    return plain
                access.step(Detail(code=Code.STEP_TLS, at=Place.HOST))
                stream = context.wrap_socket(plain, server_hostname=host)
            except ValueError:  # of a host that no certificate can name
                plain.close()
                raise OSError from None
            except OSError:
                plain.close()
                raise
            access.step(found_tls(stream))
            return stream

        try:
            found = lookup.resolved(host, access.resolvers, STEP_SECONDS, self._clock, access.step)
            return first_that_accepts(found, connect, access)
        except (lookup.NoAddress, NotFetched) as error:
            raise Unreachable(error.detail) from None
