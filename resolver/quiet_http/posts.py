"""Takes posted bodies on a Unix socket, for a process behind a web server, and keeps nothing of a request.

Rules:
- Who may connect is decided by the socket's owner and mode, and by the web server before it, which does TLS.
- Bodies are bounded in size, in time and in number, connections in number and in age.
- No response has a body or a name of the HTTP library, and no log line holds anything of a request.
"""

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, cast

from aiohttp import hdrs, web

BODY_S: Final = 10.0
"""Time for a body to arrive: a web server that keeps bodies until they are whole sends one in a moment."""
AGE_S: Final = 30.0
"""Time after which a connection is closed, whatever it is doing."""
BODIES: Final = 16
CONNECTIONS: Final = 512
BACKLOG: Final = 1024
GRACE_S: Final = 5.0
SOCKET_MODE: Final = 0o660

Take = Callable[[bytes], Awaitable[int]]
"""Takes a whole body; returns the status of the response."""

_OPTIONS: Final[dict[str, Any]] = {
    "access_log": None,
    "keepalive_timeout": 0,
    "lingering_time": 0,
    "auto_decompress": False,
}

_SERVER_OPTIONS: Final[dict[str, Any]] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
"""Of the event loop: the path of a socket stays, for systemd may hold it. Python before 3.13 never removes it."""

_log: Final = logging.getLogger(__name__)


class _Connection(web.RequestHandler):
    """aiohttp's side of a connection, with an end of its life, and without log lines that hold a request."""

    __slots__ = ("_end",)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._end = asyncio.get_running_loop().call_later(AGE_S, cast(asyncio.Transport, transport).abort)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._end.cancel()
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status >= 500:
            self.log_exception("", exc_info=exc)
        return _response(status)

    def log_exception(self, *args: Any, **kw: Any) -> None:
        _log.error("a posted request failed: %s", type(kw.get("exc_info")).__name__)


class _Full(_Connection):
    """A connection beyond the number that may be open: closed at once."""

    __slots__ = ()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        cast(asyncio.Transport, transport).abort()


class _Server(web.Server):
    """Makes aiohttp's side of each connection, within the number that may be open."""

    def __init__(self, take: Take, most: int, body_s: float, connections: int) -> None:
        super().__init__(self._respond)
        self._take = take
        self._most = most
        self._body_s = body_s
        self._places = connections
        self._bodies = asyncio.Semaphore(BODIES)

    def __call__(self) -> web.RequestHandler:
        kind = _Connection if len(self.connections) < self._places else _Full
        return kind(self, loop=self._loop, **_OPTIONS)

    async def _respond(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method != hdrs.METH_POST:
            return _response(405)
        if (request.content_length or 0) > self._most:
            return _response(413)
        async with self._bodies:
            try:
                async with asyncio.timeout(self._body_s):
                    body = await _body(request, self._most + 1)
            except TimeoutError:
                return _response(408)
            return _response(413 if len(body) > self._most else await self._take(body))


async def _body(request: web.BaseRequest, most: int) -> bytes:
    """Return the body of a request, or its first `most` octets."""
    body = bytearray()
    while len(body) < most and (chunk := await request.content.read(most - len(body))):
        body += chunk
    return bytes(body)


def _response(status: int) -> web.Response:
    response = web.Response(status=status)
    response.headers[hdrs.SERVER] = "blocklist-resolver"
    response.force_close()
    return response


def bound(path: Path) -> socket.socket:
    """Return a listening Unix socket at `path`, open to its owner and group, in place of one that nobody listens on.

    OSError if that is not possible.
    """
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket():
            try:
                one.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()
            else:
                raise FileExistsError(17, "another process listens there", str(path))
        before = os.umask(0o777 & ~SOCKET_MODE)
        try:
            one.bind(str(path))
        finally:
            os.umask(before)
        one.listen(BACKLOG)
    except BaseException:
        one.close()
        raise
    return one


async def serve_posts(
    take: Take,
    listening: socket.socket,
    stop: asyncio.Event,
    *,
    most: int,
    body_s: float = BODY_S,
    connections: int = CONNECTIONS,
) -> None:
    """Take bodies of at most `most` octets until `stop` is set; requests that are being answered then still are."""
    server = _Server(take, most, body_s, connections)
    accepting = await asyncio.get_running_loop().create_unix_server(server, sock=listening, **_SERVER_OPTIONS)
    try:
        await stop.wait()
    finally:
        accepting.close()
        await server.shutdown(GRACE_S)
