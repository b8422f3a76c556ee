"""Bytes of a file:// or https:// url into bounded memory, for whatever source fetches, and bytes posted to one.

Rules:
- Every download is bounded in bytes before it starts and in time as it goes; nothing is spooled to a disk.
- TLS is always verified, against the host as the url writes it; a redirect is an error.
- A host's address comes from the upstreams, never from ourselves: `resolvers` are asked, not the system (lookup).
  Each address is tried.
"""

import http.client
import io
import os
import socket
import ssl
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit

_CHUNK: Final = 2**16
_STEP_SECONDS: Final = 10.0
_HEADERS: Final = {"User-Agent": "blocklist-resolver"}


class NotFetched(Exception):
    """There are no such bytes; `status` is the server's, 0 where it said none."""

    def __init__(self, status: int = 0) -> None:
        super().__init__("not fetched")
        self.status = status


class TooLarge(NotFetched):
    """There are more bytes than allowed."""


class TooSlow(NotFetched):
    """The time is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How a source is reached: PEM files of its authority and of our client certificate ("" for none), and the
    upstreams (ADDRESS:PORT) that resolve its host."""

    ca: str = ""
    certificate: str = ""
    key: str = ""
    resolvers: tuple[str, ...] = ()


class Transport:
    """Reads urls one after the other, over one connection where it can, for `seconds` in all."""

    def __init__(self, access: Access, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._access = access
        self._clock = clock
        self._deadline = clock() + seconds
        self._connection: Any = None

    def read(self, url: str, most: int) -> bytes:
        """All bytes at `url`; NotFetched where there are none, TooLarge above `most`, TooSlow past the time."""
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
        except Exception:  # noqa: BLE001 - whatever a file system or a TLS stack raises means the same here
            self.close()
            raise NotFetched from None
        return kept.getvalue()

    def close(self) -> None:
        """End the connection that is kept for the next download."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def chunks(self, url: str) -> Iterator[bytes]:
        """The bytes at `url` as they come."""
        return self._of_file(url) if urlsplit(url).scheme == "file" else self._of_server(url)

    def _of_file(self, url: str) -> Iterator[bytes]:
        try:
            handle = os.open(unquote(urlsplit(url).path), os.O_RDONLY | os.O_NONBLOCK)
        except FileNotFoundError:
            raise NotFetched(404) from None
        with open(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise NotFetched
            while chunk := file.read(_CHUNK):
                yield chunk

    def post(self, url: str, data: bytes, kind: str = "application/json") -> None:
        """Hand `data` over at the https:// `url`; NotFetched where the server does not say 2xx, or not in time."""
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
            self.close()  # what the server has to say beside its status is not read
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
    """A TLS stream each step of which has the time that is left, so that no drip of bytes outlasts it."""

    rest: Callable[[], float]

    def recv_into(self, *arguments: Any, **named: Any) -> int:
        self.settimeout(self.rest())
        return super().recv_into(*arguments, **named)

    def send(self, *arguments: Any, **named: Any) -> int:
        self.settimeout(self.rest())
        return super().send(*arguments, **named)


class _Connection(http.client.HTTPSConnection):
    """HTTPS to a host whose addresses the upstreams say; `rest` is the time left for a step."""

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
        """Connect to the first address that takes it; OSError where none does."""
        # A source that is a file, which asks nobody, is spared what this takes to load.
        from resolver.feed import lookup

        for address in lookup.addresses(self.host, self._resolvers, self._rest()):
            try:
                self.sock = self._stream(address)
            except OSError:
                continue
            return
        raise OSError("no address of the host takes a connection")

    def _stream(self, address: str) -> _Stream:
        plain = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        try:
            plain.settimeout(self._rest())
            plain.connect((address, self.port))
            stream = self._tls.wrap_socket(plain, server_hostname=self.host, do_handshake_on_connect=False)
        except BaseException:
            plain.close()
            raise
        assert isinstance(stream, _Stream)  # noqa: S101 - the context makes no other
        stream.rest = self._rest
        try:
            stream.settimeout(self._rest())
            stream.do_handshake()
        except BaseException:
            stream.close()
            raise
        return stream
