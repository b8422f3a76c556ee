"""An HTTP server that keeps quiet about its clients: the stop page and the metrics are served by it.

Rules:
1. No client and nothing of a request reaches a log: no access log, no error log of aiohttp's. Of an error of
   our own the log gets the kind and the place, never the text.
2. No answer to a request that cannot be read repeats anything of it, and none tells what software runs.
3. Bounded against a crowd and slow clients: so many connections, so long for a request, so long a life.
"""

import asyncio
import logging
import socket
import traceback
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, cast

from aiohttp import hdrs, web

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

SERVER: Final = "blocklist-resolver"

BACKLOG: Final = 1024
MAX_LINE_BYTES: Final = 8192
MAX_FIELD_BYTES: Final = 16384
MAX_FIELDS: Final = 100
LINGER_S: Final = 1.0
"""How long the body of a request, which nobody wants, is read after its answer."""

_TEXTS: Final = {400: "bad request\n", 500: "internal error\n", 504: "timed out\n"}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How many connections; how long each may be idle or take for a request, and may live, in seconds."""

    connections: int
    idle_s: float
    age_s: float


PAGE: Final = Bounds(connections=512, idle_s=10, age_s=20)
METRICS: Final = Bounds(connections=64, idle_s=75, age_s=3600)


class _Connection(web.RequestHandler):
    """aiohttp's connection without its two log lines, with an end."""

    __slots__ = ("_end", "_server")

    def __init__(self, server: "_Server", **options: Any) -> None:
        super().__init__(server, **options)
        self._server = server
        self._end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast(asyncio.Transport, transport)  # uvloop's are none by class.
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
            raise ConnectionError("part of the answer is sent already")
        answer = web.Response(status=status, text=_TEXTS.get(status, _TEXTS[400]))
        answer.headers[hdrs.SERVER] = SERVER
        answer.force_close()
        return answer

    def log_exception(self, *args: Any, **kw: Any) -> None:
        error = kw.get("exc_info")
        frames = traceback.extract_tb(error.__traceback__) if isinstance(error, BaseException) else []
        place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "no place known"
        _log.error("a request was not answered: %s at %s", type(error).__name__, place)


class _Server(web.Server):
    """Makes the connections and counts them."""

    def __init__(self, answer: Answer, bounds: Bounds) -> None:
        super().__init__(self._answer_unsigned)
        self._answer = answer
        self.bounds = bounds
        self.open = 0
        self.turned_away = 0

    def turn_away(self, transport: asyncio.Transport) -> None:
        self.turned_away += 1
        transport.abort()

    async def _answer_unsigned(self, request: web.BaseRequest) -> web.StreamResponse:
        answer = await self._answer(request)
        answer.headers[hdrs.SERVER] = SERVER
        return answer

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
    """A running server: the addresses it is bound to, and how many connections the bound turned away."""

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
        """Stop to listen, let answers under way end within the grace, close all."""
        for listening in self._sockets:
            listening.close()
        await self._server.shutdown(grace_s)


async def serve(answer: Answer, listen: Iterable[tuple[str, int]], bounds: Bounds) -> QuietServer:
    """Serve `answer` on each address and port; OSError where one cannot be bound, with nothing left open."""
    server = _Server(answer, bounds)
    loop = asyncio.get_running_loop()
    sockets: list[asyncio.Server] = []
    try:
        for host, port in listen:
            # Bound here: for a host uvloop starts threads, and those keep privileges that this one gives up.
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            bound = socket.create_server((host, port), family=family, backlog=BACKLOG)
            sockets.append(await loop.create_server(server, sock=bound, backlog=BACKLOG))
    except OSError:
        for listening in sockets:
            listening.close()
        raise
    return QuietServer(server, sockets)
