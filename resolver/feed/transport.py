"""Reads a file:// or https:// URL into bounded memory, for all sources, and posts bytes to an https:// URL.

Rules:
- Every download has a limit of bytes and a limit of time; nothing is written to a disk.
- TLS is always verified, against the host as written in the URL; a redirect is an error.
- A host's addresses come from the upstreams in `resolvers`, never from this service (see `lookup`); each is tried.
"""

import http.client
import io
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import unquote, urlsplit

from msgspec.structs import replace

from resolver.feed import dropped, network_details
from resolver.feed.details import Code, Detail, Place, no_step, of_errno

_T = TypeVar("_T")

_CHUNK: Final = 2**16
_STEP_SECONDS: Final = 10.0
_HEADERS: Final = {"User-Agent": "blocklist-resolver"}


class NotFetched(Exception):
    """The URL could not be read or posted to; `status` is that of the server's response, 0 if there was none.

    detail: what went wrong, if that is known.
    """

    def __init__(self, status: int = 0, detail: Detail | None = None) -> None:
        super().__init__("not fetched")
        self.status = status
        self.detail = detail


class Unreadable(NotFetched):
    """A file of this host may not be read, or is not usable."""


class TooLarge(NotFetched):
    """The content is larger than allowed."""


class TooSlow(NotFetched):
    """The time limit has passed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How to reach a source: PEM files of its CA and of our client certificate and key ("" for none), and the upstreams
    (ADDRESS:PORT) that resolve its host. step: called with each step, and with what it has found."""

    ca: str = ""
    certificate: str = ""
    key: str = ""
    resolvers: tuple[str, ...] = ()
    step: Callable[[Detail], None] = no_step


class Transport:
    """Reads URLs one after another, over one connection if possible, within `seconds` in total."""

    def __init__(self, access: Access, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._access = access
        self._seconds = seconds
        self._clock = clock
        self._deadline = clock() + seconds
        self._connection: Any = None

    def read(self, url: str, most: int, at: Place = Place.LIST, version: int = 0) -> bytes:
        """Return the content of `url`; TooLarge above `most` bytes, TooSlow after the time limit, NotFetched otherwise.

        at, version: what a detail calls the content.
        """
        kept, about = io.BytesIO(), Detail(code=Code.STEP_READ, at=at, version=version)
        try:
            for chunk in self._chunks(url, about):
                if kept.tell() + len(chunk) > most:
                    raise TooLarge(detail=replace(about, code=Code.TOO_LONG, numbers=(most,)))
                if self._clock() > self._deadline:
                    raise self._too_slow()
                kept.write(chunk)
        except NotFetched:
            self.close()
            raise
        except Exception as error:  # noqa: BLE001 - any error of a file system or a TLS stack means the same here
            self.close()
            detail = network_details.of_error(error, ours=bool(self._access.certificate))
            raise NotFetched(detail=detail) from None
        self._access.step(Detail(code=Code.FOUND_OCTETS, numbers=(kept.tell(),)))
        return kept.getvalue()

    def _too_slow(self) -> TooSlow:
        return TooSlow(detail=Detail(code=Code.TOO_SLOW_WHOLE, at=Place.HOST, numbers=(int(self._seconds),)))

    def close(self) -> None:
        """Close the connection that is kept for the next download."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def chunks(self, url: str) -> Iterator[bytes]:
        """Yield the content of `url` as it arrives."""
        return self._chunks(url, Detail(code=Code.STEP_READ, at=Place.LIST))

    def _chunks(self, url: str, about: Detail) -> Iterator[bytes]:
        return self._of_file(url, about) if urlsplit(url).scheme == "file" else self._of_server(url, about)

    def _of_file(self, url: str, about: Detail) -> Iterator[bytes]:
        self._access.step(about)
        try:
            file = dropped.opened(unquote(urlsplit(url).path), follow=True)
        except FileNotFoundError:
            raise NotFetched(404, replace(about, code=Code.NOT_THERE)) from None
        except dropped.NotAFile:
            raise Unreadable(detail=replace(about, code=Code.NOT_A_FILE)) from None
        except OSError as error:
            raise Unreadable(detail=replace(of_errno(error, about.at), version=about.version)) from None
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
        except Exception as error:  # noqa: BLE001 - as above
            detail = network_details.of_error(error, ours=bool(self._access.certificate))
            raise NotFetched(detail=detail) from None
        finally:
            self.close()  # The body of the response is not read.
        if not 200 <= status < 300:
            raise NotFetched(status)

    def _of_server(self, url: str, about: Detail) -> Iterator[bytes]:
        parts = urlsplit(url)
        connection = self._connected(parts.hostname or "", parts.port or 443)
        if connection.sock is None:
            connection.connect()
        self._access.step(about)
        connection.request("GET", parts.path, headers=_HEADERS)
        with connection.getresponse() as response:
            status = response.status
            if status != 200:
                code = Code.REDIRECT if response.getheader("Location") else Code.HTTP_STATUS
                raise NotFetched(status, replace(about, code=code, numbers=(status,)))
            while chunk := response.read(_CHUNK):
                yield chunk
            if response.length:
                raise NotFetched(detail=replace(about, code=Code.HALF, numbers=(response.length,)))

    def _connected(self, host: str, port: int) -> Any:
        kept = self._connection
        if kept is not None and (kept.host, kept.port) != (host, port):
            self.close()
        if self._connection is None:
            context = tls_context(self._access, ssl.TLSVersion.TLSv1_2)
            context.sslsocket_class = _Stream
            self._connection = _Connection(host, port, self._access, context, self._rest)
        return self._connection

    def _rest(self) -> float:
        rest = self._deadline - self._clock()
        if rest <= 0:
            raise self._too_slow()
        return min(rest, _STEP_SECONDS)


def tls_context(access: Access, least: ssl.TLSVersion) -> ssl.SSLContext:
    """Return a context that verifies the server, with our certificate if there is one; Unreadable if a file is not
    usable. least: the lowest version of TLS that is accepted."""
    try:
        context = ssl.create_default_context(cafile=access.ca or None)
    except OSError as error:
        raise Unreadable(detail=_of_pem(error, Place.CA)) from None
    context.minimum_version = least
    if access.certificate:
        try:
            context.load_cert_chain(access.certificate, access.key)
        except OSError as error:
            # OpenSSL does not say which of the two files it is.
            at = Place.CERTIFICATE if not os.access(access.certificate, os.R_OK) else Place.KEY
            raise Unreadable(detail=_of_pem(error, at)) from None
    return context


def _of_pem(error: OSError, at: Place) -> Detail:
    return Detail(code=Code.PEM, at=at) if isinstance(error, ssl.SSLError) else of_errno(error, at)


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
        access: Access,
        context: ssl.SSLContext,
        rest: Callable[[], float],
    ) -> None:
        super().__init__(host, port, timeout=_STEP_SECONDS, context=context)
        self._access = access
        self._tls = context
        self._rest = rest

    def connect(self) -> None:
        """Connect to the first address that accepts; NotFetched if none does."""
        # Imported here: a source of kind file looks up nothing, and need not load this.
        from resolver.feed import lookup

        try:
            found = lookup.resolved(self.host, self._access.resolvers, self._rest(), step=self._access.step)
        except lookup.NoAddress as error:
            raise NotFetched(detail=error.detail) from None
        self.sock = first_that_accepts(found, self._stream, self._access)

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
            self._access.step(Detail(code=Code.STEP_TLS, at=Place.HOST))
            stream.settimeout(self._rest())
            stream.do_handshake()
        except BaseException:
            stream.close()
            raise
        self._access.step(found_tls(stream))
        return stream


def first_that_accepts(found: Sequence[str], connect: Callable[[str], _T], access: Access) -> _T:
    """Return the connection to the first address that `connect` reaches; NotFetched with the detail of the error that
    says most: one of TLS, else the last."""
    last: Detail | None = None
    for number, address in enumerate(found, 1):
        access.step(Detail(code=Code.STEP_CONNECT, at=Place.HOST, numbers=(number, len(found))))
        try:
            return connect(address)
        except OSError as error:
            detail = network_details.of_error(error, ours=bool(access.certificate))
            if last is None or not last.code.value.startswith("tls_"):
                last = detail
    raise NotFetched(detail=last)


def found_tls(stream: ssl.SSLSocket) -> Detail:
    """Return the step of a finished handshake: the version, and when the server's certificate ends."""
    ends = str((stream.getpeercert() or {}).get("notAfter", ""))
    version = 13 if stream.version() == "TLSv1.3" else 12
    return Detail(code=Code.FOUND_TLS, numbers=(version, int(ssl.cert_time_to_seconds(ends)) if ends else 0))
