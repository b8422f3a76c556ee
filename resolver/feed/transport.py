"""Bytes of a file:// or https:// url into bounded memory, for whatever source fetches.

Rules:
- Every download is bounded in bytes before it starts and in time as it goes; nothing is spooled to a disk.
- TLS is always verified; a redirect is an error.
- A host's address comes from the upstreams, never from ourselves: `resolvers` are asked, not the system.
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

    def _of_server(self, url: str) -> Iterator[bytes]:
        parts = urlsplit(url)
        connection = self._connected(parts.hostname or "", parts.port or 443)
        connection.request("GET", parts.path, headers={"User-Agent": "blocklist-resolver"})
        response = connection.getresponse()
        if response.status != 200:
            raise NotFetched(response.status)
        while chunk := response.read(_CHUNK):
            yield chunk
        if response.length:
            raise NotFetched

    def _connected(self, host: str, port: int) -> Any:
        if self._connection is None:
            context = ssl.create_default_context(cafile=self._access.ca or None)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self._access.certificate:
                context.load_cert_chain(self._access.certificate, self._access.key)
            self._connection = _Connection(host, port, self._access.resolvers, context)
        return self._connection


class _Connection(http.client.HTTPSConnection):
    """HTTPS to a host whose address the upstreams say."""

    def __init__(self, host: str, port: int, resolvers: tuple[str, ...], context: ssl.SSLContext) -> None:
        super().__init__(host, port, timeout=_STEP_SECONDS, context=context)
        self._resolvers = resolvers
        self._tls = context

    def connect(self) -> None:
        """Connect to the first address that takes it."""
        plain = socket.create_connection((self.host, self.port), _STEP_SECONDS)
        self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)
