"""Serves HTTP by aiohttp and keeps nothing of a request; under the metrics.

Rules:
1. No client address and nothing of a request reaches a log: no access log, and not aiohttp's error log. For an error
   in our own code the log gets its type and place, never its text.
2. A response to a malformed request repeats nothing of it, and no response names the HTTP library or its version.
3. Limits hold against crowds and slow clients (gate): aiohttp gets whole heads only, one for each connection.
"""

import logging
import socket
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from aiohttp import hdrs, web

from resolver.quiet_http.bounds import METRICS_BOUNDS, Bounds
from resolver.quiet_http.connection import MAX_HEAD, SERVER, Response
from resolver.quiet_http.gate import Gate
from resolver.quiet_http.server import QuietServer, log_failed, nobody, opened

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
        log_failed(_log, kw.get("exc_info"))


class _Server(web.Server):
    """Makes aiohttp's side of each connection, and reports the work of `respond` to the gate."""

    def __init__(self, respond: Respond, bounds: Bounds, exempt: Callable[[bytes], bool]) -> None:
        super().__init__(self._respond_as_server)
        self._respond = respond
        self.gate = Gate(self._hand_on, bounds, exempt)

    def _hand_on(self, head: bytes, response: Response) -> None:
        responder = _Responder(self, loop=self._loop, **_OPTIONS)
        response.set_protocol(responder)
        responder.connection_made(response)
        responder.data_received(head)

    async def _respond_as_server(self, request: web.BaseRequest) -> web.StreamResponse:
        began = time.thread_time()
        try:
            response = await self._respond(request)
        finally:
            self.gate.worked(time.thread_time() - began)
        response.headers[hdrs.SERVER] = SERVER
        response.force_close()
        return response


async def serve_http(
    respond: Respond,
    listen: Iterable[tuple[Any, ...]],
    bounds: Bounds = METRICS_BOUNDS,
    exempt: Callable[[bytes], bool] = nobody,
    missed: dict[int, OSError] | None = None,
    given: Iterable[socket.socket] = (),
) -> QuietServer:
    """Serve on each address, as `bind` takes it: with its socket of `given`, or a new one.

    missed: takes the numbers of the addresses that cannot be bound; without it OSError, and none stays open. exempt:
    returns whether a client (16 octets) is spared the bounds of its prefix.
    """
    sockets = opened(listen, missed, given)
    server = _Server(respond, bounds, exempt)
    for one in sockets:
        server.gate.listen(one)
    return QuietServer(server.gate, server.shutdown)
