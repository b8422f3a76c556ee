"""Opens the listening sockets of a quiet server, and serves responses that are octets already.

Rules:
- No HTTP library is loaded from here: a process that shows the page needs none.
- An error in what answers becomes a 500 without a word of it; the log gets its type and place, never its text.
"""

import logging
import socket
import traceback
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

from resolver.quiet_http.bounds import Bounds
from resolver.quiet_http.connection import Response, constant
from resolver.quiet_http.gate import BACKLOG, Gate, listening, set_options

Answer = Callable[[bytes, Response], bytes]
"""Takes a whole head, and what knows our own address that was reached; returns the whole response."""

_BROKEN: Final = constant("500 Internal Server Error", "internal error\n")

_log = logging.getLogger(__name__)


def nobody(client: bytes) -> bool:
    """Exempt no client from the bounds of a prefix."""
    return False


async def _nothing(grace_s: float) -> None:
    """End nothing more."""


class QuietServer:
    """A running server: the addresses it is bound to, and the number of connections refused at a prefix's limit.

    then: ends what answers, once no connection is left.
    """

    def __init__(self, gate: Gate, then: Callable[[float], Awaitable[None]] = _nothing) -> None:
        self._gate = gate
        self._then = then
        self.addresses = gate.addresses

    @property
    def sockets(self) -> Sequence[socket.socket]:
        """The sockets that it listens on."""
        return self._gate.listening_on

    def add(self, one: socket.socket) -> None:
        """Listen on one more bound socket; OSError if another process listens there."""
        one.listen(BACKLOG)
        set_options(one)
        self._gate.listen(one)

    @property
    def turned_away(self) -> int:
        return self._gate.turned_away

    async def stop(self, grace_s: float = 1.0) -> None:
        """Stop listening, let pending responses reach their clients within `grace_s`, then reset all connections."""
        await self._gate.close(grace_s)
        await self._then(grace_s)


def opened(
    listen: Iterable[tuple[Any, ...]],
    missed: dict[int, OSError] | None = None,
    given: Iterable[socket.socket] = (),
) -> list[socket.socket]:
    """Return a socket that listens for each address, as `bind` takes it: its socket of `given`, or a new one.

    missed: takes the numbers of the addresses that cannot be bound; without it OSError, and none stays open.
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
    return sockets


def serve_octets(
    answer: Answer, sockets: Iterable[socket.socket], bounds: Bounds, exempt: Callable[[bytes], bool] = nobody
) -> QuietServer:
    """Serve on listening sockets. exempt: returns whether a client (16 octets) is spared the bounds of its prefix."""

    def hand_on(head: bytes, response: Response) -> None:
        try:
            octets = answer(head, response)
        except Exception as error:  # noqa: BLE001 - whatever it is, the visitor gets a response and the server goes on
            log_failed(_log, error)
            octets = _BROKEN
        response.write(octets)
        response.close()

    gate = Gate(hand_on, bounds, exempt)
    for one in sockets:
        gate.listen(one)
    return QuietServer(gate)


def log_failed(log: logging.Logger, error: object) -> None:
    """Log the type and the place of what failed, never its text."""
    frames = traceback.extract_tb(error.__traceback__) if isinstance(error, BaseException) else []
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "an unknown place"
    log.error("an HTTP request failed: %s at %s", type(error).__name__, place)


def _place(where: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return host, port and interface of an address as `bind` takes it or `getsockname` returns it."""
    return where[0].partition("%")[0], where[1], where[3] if len(where) > 3 else 0
