"""Reads a file:// or https:// URL into bounded memory, for all sources, and posts bytes to an https:// URL.

Rules:
- Every download has a limit of bytes and a limit of time; nothing is written to a disk.
- TLS is always verified, against the host as written in the URL; a redirect is an error.
- A host's addresses come from the upstreams in `resolvers`, never from this service (see `lookup`); each is tried.
"""

import http.client
import io
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from resolver.feed import dropped

_CHUNK: Final = 2**16
_STEP_SECONDS: Final = 10.0
_HEADERS: Final = {"User-Agent": "blocklist-resolver"}


class NotFetched(Exception):
    """The URL could not be read or posted to; `status` is that of the server's response, 0 if there was none."""

    def __init__(self, status: int = 0) -> None:
        super().__init__("not fetched")
        self.status = status


class TooLarge(NotFetched):
    """The content is larger than allowed."""


class TooSlow(NotFetched):
    """The time limit has passed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How to reach a source: PEM files of its CA and of our client certificate and key ("" for none), and the upstreams
    (ADDRESS:PORT) that resolve its host."""

    ca: str = ""
    certificate: str = ""
    key: str = ""
    resolvers: tuple[str, ...] = ()


class Transport:
    """Reads URLs one after another, over one connection if possible, within `seconds` in total."""

    def __init__(self, access: Access, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._access = access
        self._clock = clock
        self._deadline = clock() + seconds
        self._connection: Any = None

    def read(self, url: str, most: int) -> bytes:
        """Return the content of `url`; TooLarge above `most` bytes, TooSlow after the time limit, NotFetched otherwise.
        """
        kept = io.BytesIO()
        try:
            for chunk in self.chunks(url):
                if kept.tell() + len(chunk) > most:
                    raise TooLarge
                if self._clock() > self._deadline:
                    raise TooSlow
                kept.write(chunk)
        except NotFetched:
            self.close()
            raise
        except Exception:  # noqa: BLE001 - any error of a file system or a TLS stack means the same here
            self.close()
            raise NotFetched from None
        return kept.getvalue()

    def close(self) -> None:
        """Close the connection that is kept for the next download."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def chunks(self, url: str) -> Iterator[bytes]:
        """Yield the content of `url` as it arrives."""
        return self._of_file(url) if urlsplit(url).scheme == "file" else self._of_server(url)

    def _of_file(self, url: str) -> Iterator[bytes]:
        try:
            file = dropped.opened(unquote(urlsplit(url).path), follow=True)
        except FileNotFoundError:
            raise NotFetched(404) from None
        with file:
            while chunk := file.read(_CHUNK):
                yield chunk

    def post(self, url: str, data: bytes, kind: str = "application/json") -> None:
        """Post `data` to an https:// URL; NotFetched unless the server responds 2xx in time."""
        parts = urlsplit(url)
        if parts.scheme != "https":
            raise NotFetched
        try:
            connection = self._connected(parts.hostname or "", parts.port or 443)
            connection.request("POST", parts.path, body=data, headers={**_HEADERS, "Content-Type": kind})
            with connection.getresponse() as response:
                status = response.status
        except NotFetched:
            raise
        except Exception:  # noqa: BLE001 - as above
            raise NotFetched from None
        finally:
            self.close()  # The body of the response is not read.
        if not 200 <= status < 300:
            raise NotFetched(status)

    def _of_server(self, url: str) -> Iterator[bytes]:
        parts = urlsplit(url)
        connection = self._connected(parts.hostname or "", parts.port or 443)
        connection.request("GET", parts.path, headers=_HEADERS)
        with connection.getresponse() as response:
            if response.status != 200:
                raise NotFetched(response.status)
            while chunk := response.read(_CHUNK):
                yield chunk
            if response.length:
                raise NotFetched

    def _connected(self, host: str, port: int) -> Any:
        kept = self._connection
        if kept is not None and (kept.host, kept.port) != (host, port):
            self.close()
        if self._connection is None:
            context = ssl.create_default_context(cafile=self._access.ca or None)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.sslsocket_class = _Stream
            if self._access.certificate:
                context.load_cert_chain(self._access.certificate, self._access.key)
            self._connection = _Connection(host, port, self._access.resolvers, context, self._rest)
        return self._connection

    def _rest(self) -> float:
        rest = self._deadline - self._clock()
        if rest <= 0:
            raise TooSlow
        return min(rest, _STEP_SECONDS)


class _Stream(ssl.SSLSocket):
    """A TLS stream; every step has the remaining time as timeout, so that a slow drip of bytes cannot outlast it."""

    rest: Callable[[], float]

    def recv_into(self, *arguments: Any, **named: Any) -> int:
        self.settimeout(self.rest())
        return super().recv_into(*arguments, **named)

    def send(self, *arguments: Any, **named: Any) -> int:
        self.settimeout(self.rest())
        return super().send(*arguments, **named)


class _Connection(http.client.HTTPSConnection):
    """HTTPS to a host that is looked up at the upstreams; `rest` returns the timeout of a step, in seconds."""

    def __init__(
        self,
        host: str,
        port: int,
        resolvers: tuple[str, ...],
        context: ssl.SSLContext,
        rest: Callable[[], float],
    ) -> None:
        super().__init__(host, port, timeout=_STEP_SECONDS, context=context)
        self._resolvers = resolvers
        self._tls = context
        self._rest = rest

    def connect(self) -> None:
        """Connect to the first address that accepts; OSError if none does."""
        # Imported here: a source of kind file looks up nothing, and need not load this.
        from resolver.feed import lookup

        for address in lookup.addresses(self.host, self._resolvers, self._rest()):
            try:
                self.sock = self._stream(address)
            except OSError:
                continue
            return
        raise OSError("no address of the host accepts a connection")

    def _stream(self, address: str) -> _Stream:
        plain = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        try:
            plain.settimeout(self._rest())
            plain.connect((address, self.port))
            stream = self._tls.wrap_socket(plain, server_hostname=self.host, do_handshake_on_connect=False)
        except BaseException:
            plain.close()
            raise
        assert isinstance(stream, _Stream)  # noqa: S101 - the context makes only these
        stream.rest = self._rest
        try:
            stream.settimeout(self._rest())
            stream.do_handshake()
        except BaseException:
            stream.close()
            raise
        return stream
