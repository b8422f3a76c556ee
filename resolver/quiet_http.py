"""Serves HTTP and keeps nothing of a request; under the stop page and the metrics.

Rules:
1. No client address and nothing of a request reaches a log: no access log, and not aiohttp's error log. For an error
   in our own code the log gets its type and place, never its text.
2. A response to a malformed request repeats nothing of it, and no response names the HTTP library or its version.
3. Limits hold against crowds and slow clients: on open connections, on the time for a request, on a connection's life.
"""

import asyncio
import logging
import socket
import traceback
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, cast

from aiohttp import hdrs, web

Respond = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

SERVER: Final = "blocklist-resolver"

BACKLOG: Final = 1024
MAX_LINE_BYTES: Final = 8192
MAX_FIELD_BYTES: Final = 16384
MAX_FIELDS: Final = 100
LINGER_S: Final = 1.0
"""Time limit for reading a request's unused body after the response, in seconds."""

_TEXTS: Final = {400: "bad request\n", 500: "internal error\n", 504: "timed out\n"}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Limits: open connections; seconds a connection may be idle or take for one request; seconds it may live."""

    connections: int
    idle_s: float
    age_s: float


PAGE: Final = Bounds(connections=512, idle_s=10, age_s=20)
METRICS: Final = Bounds(connections=64, idle_s=75, age_s=3600)


class _Connection(web.RequestHandler):
    """aiohttp's connection with a limited life and without aiohttp's two log lines."""

    __slots__ = ("_end", "_server")

    def __init__(self, server: "_Server", **options: Any) -> None:
        super().__init__(server, **options)
        self._server = server
        self._end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast(asyncio.Transport, transport)  # uvloop's transports do not inherit from asyncio.Transport.
        self._server.open += 1
        if self._server.open > self._server.bounds.connections:
            self._server.turn_away(stream)
            return
        self._end = self._loop.call_later(self._server.bounds.age_s, stream.abort)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._server.open -= 1
        if self._end is not None:
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
        if request.writer.output_size > 0:
            raise ConnectionError("part of the response has been sent already")
        response = web.Response(status=status, text=_TEXTS.get(status, _TEXTS[400]))
        response.headers[hdrs.SERVER] = SERVER
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        error = kw.get("exc_info")
        frames = traceback.extract_tb(error.__traceback__) if isinstance(error, BaseException) else []
        place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "an unknown place"
        _log.error("an HTTP request failed: %s at %s", type(error).__name__, place)


class _Server(web.Server):
    """Makes the connections and counts them."""

    def __init__(self, respond: Respond, bounds: Bounds) -> None:
        super().__init__(self._respond_as_server)
        self._respond = respond
        self.bounds = bounds
        self.open = 0
        self.turned_away = 0

    def turn_away(self, transport: asyncio.Transport) -> None:
        self.turned_away += 1
        transport.abort()

    async def _respond_as_server(self, request: web.BaseRequest) -> web.StreamResponse:
        response = await self._respond(request)
        response.headers[hdrs.SERVER] = SERVER
        return response

    def __call__(self) -> _Connection:
        return _Connection(
            self,
            loop=self._loop,
            access_log=None,
            keepalive_timeout=self.bounds.idle_s,
            lingering_time=LINGER_S,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_FIELD_BYTES,
            max_headers=MAX_FIELDS,
            auto_decompress=False,
        )


class QuietServer:
    """A running server: the addresses it is bound to, and the number of connections refused at the limit."""

    def __init__(self, server: _Server, sockets: list[asyncio.Server]) -> None:
        self._server = server
        self._sockets = sockets

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        return tuple(one.getsockname()[:2] for server in self._sockets for one in server.sockets)

    @property
    def turned_away(self) -> int:
        return self._server.turned_away

    async def stop(self, grace_s: float = 1.0) -> None:
        """Stop listening, let pending responses finish within `grace_s`, then close all connections."""
        for listening in self._sockets:
            listening.close()
        await self._server.shutdown(grace_s)


async def serve(respond: Respond, listen: Iterable[tuple[Any, ...]], bounds: Bounds) -> QuietServer:
    """Serve on each address, as `bind` takes it; OSError if one cannot be bound, and then none stays open."""
    server = _Server(respond, bounds)
    loop = asyncio.get_running_loop()
    sockets: list[asyncio.Server] = []
    try:
        for where in listen:
            # Bound here: to resolve a host, uvloop starts threads, which keep privileges that this thread gives up.
            family = socket.AF_INET6 if ":" in where[0] else socket.AF_INET
            bound = socket.create_server(where, family=family, backlog=BACKLOG)
            sockets.append(await loop.create_server(server, sock=bound, backlog=BACKLOG))
    except OSError:
        for listening in sockets:
            listening.close()
        raise
    return QuietServer(server, sockets)
