"""Serves HTTP and keeps nothing of a request; under the stop page and the metrics.

Rules:
1. No client address and nothing of a request reaches a log: no access log, and not aiohttp's error log. For an error
   in our own code the log gets its type and place, never its text.
2. A response to a malformed request repeats nothing of it, and no response names the HTTP library or its version.
3. Limits hold against crowds and slow clients (gate): aiohttp gets whole heads only, one for each connection.
"""

import logging
import socket
import time
import traceback
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

from aiohttp import hdrs, web

from resolver.quiet_http.gate import BACKLOG, MAX_HEAD, SERVER, Bounds, Gate, listening, set_options

Respond = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

MAX_FIELDS: Final = 100

_TEXTS: Final = {400: "bad request\n", 500: "internal error\n", 504: "timed out\n"}

# The gate has the times; after the response nothing of the request is read.
_OPTIONS: Final[dict[str, Any]] = {
    "access_log": None,
    "keepalive_timeout": 0,
    "lingering_time": 0,
    "max_line_size": MAX_HEAD,
    "max_field_size": MAX_HEAD,
    "max_headers": MAX_FIELDS,
    "auto_decompress": False,
}

_log = logging.getLogger(__name__)

PAGE_BOUNDS: Final = Bounds(connections=512, client_first=True)
METRICS_BOUNDS: Final = Bounds(connections=64, age_s=60, per_second=50)


def nobody(client: bytes) -> bool:
    """Exempt no client from the bounds of a prefix."""
    return False


class _Responder(web.RequestHandler):
    """aiohttp's side of a connection, without its two log lines."""

    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        """Take a whole head; answer 400 if aiohttp waits for more, as it does after the first line of HTTP/2."""
        super().data_received(data)
        if not self._messages:
            super().data_received(b"\0")

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
    """Makes aiohttp's side of each connection, and reports the work of `respond` to the gate."""

    def __init__(self, respond: Respond, bounds: Bounds, exempt: Callable[[bytes], bool]) -> None:
        super().__init__(self._respond_as_server)
        self._respond = respond
        self.gate = Gate(self, bounds, exempt)

    async def _respond_as_server(self, request: web.BaseRequest) -> web.StreamResponse:
        began = time.thread_time()
        try:
            response = await self._respond(request)
        finally:
            self.gate.worked(time.thread_time() - began)
        response.headers[hdrs.SERVER] = SERVER
        response.force_close()
        return response

    def __call__(self) -> _Responder:
        return _Responder(self, loop=self._loop, **_OPTIONS)


class QuietServer:
    """A running server: the addresses it is bound to, and the number of connections refused at a prefix's limit."""

    def __init__(self, server: _Server) -> None:
        self._server = server
        self.addresses = server.gate.addresses

    @property
    def sockets(self) -> Sequence[socket.socket]:
        """The sockets that it listens on."""
        return self._server.gate.listening_on

    def add(self, one: socket.socket) -> None:
        """Listen on one more bound socket; OSError if another process listens there."""
        one.listen(BACKLOG)
        set_options(one)
        self._server.gate.listen(one)

    @property
    def turned_away(self) -> int:
        return self._server.gate.turned_away

    async def stop(self, grace_s: float = 1.0) -> None:
        """Stop listening, let pending responses reach their clients within `grace_s`, then reset all connections."""
        await self._server.gate.close(grace_s)
        await self._server.shutdown(grace_s)


async def serve_http(
    respond: Respond,
    listen: Iterable[tuple[Any, ...]],
    bounds: Bounds,
    exempt: Callable[[bytes], bool] = nobody,
    missed: dict[int, OSError] | None = None,
    given: Iterable[socket.socket] = (),
) -> QuietServer:
    """Serve on each address, as `bind` takes it: with its socket of `given`, or a new one.

    missed: takes the numbers of the addresses that cannot be bound; without it OSError, and none stays open. exempt:
    returns whether a client (16 octets) is spared the bounds of its prefix.
    """
    sockets: list[socket.socket] = []
    there = {_place(one.getsockname()): one for one in given}
    for number, where in enumerate(listen):
        try:
            sockets.append(listening(where, there.get(_place(where))))
        except OSError as error:
            if missed is None:
                for one in sockets:
                    one.close()
                raise
            missed[number] = error
    server = _Server(respond, bounds, exempt)
    for one in sockets:
        server.gate.listen(one)
    return QuietServer(server)


def _place(where: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return host, port and interface of an address as `bind` takes it or `getsockname` returns it."""
    return where[0].partition("%")[0], where[1], where[3] if len(where) > 3 else 0
