"""Queries over TCP: the listening sockets, and what all connections share (RFC 7766).

Rules:
- Bounded: connections (accept_places), the time without a whole query, the life of a connection, the octets that all
  together hold half or unsent. Who stays silent, or never reads, is closed.
- Of all connections together only so many queries are taken in one turn of the loop, the connections one after the
  other: a crowd or a flood over TCP keeps neither each other nor UDP waiting.
- Where the process or the system has no file left for one more connection, one gives way and the next are taken a
  little later: the loop neither spins nor stops listening.
"""

import asyncio
import errno
import logging
import resource
import socket
import struct
import sys
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

from resolver.config.values import Endpoint, address_octets
from resolver.core.proxy import Proxied
from resolver.query import accept_sockets
from resolver.query.accept_connection import Connection
from resolver.query.accept_limits import Bounds, Places
from resolver.query.query import Answering
from resolver.query.transport import IDLE_S

QUERIES_A_TURN = 64
QUERIES_A_SHARE = 8
ACCEPTED_A_TURN = 64
LIFE_S = 300.0
LOOK_S = 1.0
PAUSE_S = 0.1
HELD_OCTETS = 2**26
SHARE_OF_FILES = 0.75
SAID_AGAIN_S = 60.0

_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_RESET: Final = struct.pack("ii", 1, 0)

_log: Final = logging.getLogger("resolver.query")


class Streams:
    """The TCP side of the listening addresses.

    dropped: told the reason (core.codes) of each connection that is refused. `trusted` tells of an address (16 octets)
    whether it is a load balancer's; None where there are none. It and `bounds` may be replaced at any time.
    """

    def __init__(
        self,
        answer: Answering,
        dropped: Callable[[str], None],
        bounds: Bounds,
        *,
        idle_s: float = IDLE_S,
        life_s: float = LIFE_S,
    ) -> None:
        self.answer = answer
        self.dropped = dropped
        self.trusted: Callable[[bytes], bool] | None = None
        self.proxied = Proxied()
        self.places = Places(bounds, _affordable())
        self._idle_s = idle_s
        self._life_s = life_s
        self._sockets: list[socket.socket] = []
        self._starting: set[asyncio.Task[Any]] = set()
        self._left = QUERIES_A_TURN
        self._queue: deque[Connection] = deque()
        self._moved = 0
        self._said_at = float("-inf")
        self._timers: dict[str, asyncio.TimerHandle] = {}

    @property
    def bounds(self) -> Bounds:
        """How many connections there may be."""
        return self.places.bounds

    @bounds.setter
    def bounds(self, bounds: Bounds) -> None:
        self.places.bounds = bounds

    @property
    def connections(self) -> Collection[Connection]:
        """Those that there are."""
        return self.places.holders.keys()  # type: ignore[return-value]  # all that enter are made here

    @property
    def addresses(self) -> list[Endpoint]:
        """Where it listens."""
        return [Endpoint(*one.getsockname()[:2]) for one in self._sockets]

    async def open(self, listen: Sequence[Endpoint], given: Sequence[socket.socket] = ()) -> None:
        """Listen on every address, on the TCP sockets of `given` in place of our own, and start to answer.

        OSError, with nothing left open, where one cannot be bound; ValueError where a given one stands for none.
        """
        self._sockets = accept_sockets.streams(listen, given)
        wanted = self.bounds.connections
        if self.places.most < wanted:
            _log.warning(
                "at most %d connections, not limits.connections = %d: the process may open too few files; "
                "raise LimitNOFILE (ulimit -n)",
                self.places.most,
                wanted,
            )
        for one in self._sockets:
            self._listen(one)
        self._look()

    def close(self) -> None:
        """Take no more connections and no more queries."""
        loop = asyncio.get_running_loop()
        for one in self._sockets:
            loop.remove_reader(one.fileno())
            one.close()
        self._sockets = []
        for connection in self.connections:
            connection.drain()

    async def drained(self) -> None:
        """Wait for the answers on their way, then close all connections."""
        waiting = [task for connection in self.connections for task in connection.waiting]
        if waiting:
            await asyncio.wait(waiting)
        if self._starting:
            await asyncio.wait(self._starting)
        for connection in list(self.connections):
            connection.close()
        for timer in self._timers.values():
            timer.cancel()

    def accepted(self, client: bytes) -> Connection | None:
        """Return what serves one more connection of this address; None, counted, where there is no place for it."""
        connection = Connection(self, client)
        now = asyncio.get_running_loop().time()
        if self.places.enter(connection, None if connection.by_proxy else client, now):
            return connection
        self.dropped("connection_limit")
        return None

    def admits(self, connection: Connection, taken: int) -> bool:
        """Tell whether one more query may be taken now, after `taken`; else the connection is called again soon."""
        if self._left == 0 or taken >= QUERIES_A_SHARE:
            self._queue.append(connection)
            return False
        if self._left == QUERIES_A_TURN:
            asyncio.get_running_loop().call_soon(self._turn)
        self._left -= 1
        return True

    def moved(self, octets: int) -> None:
        """Count octets that came or went; now and then, look at what is held of them."""
        self._moved += octets
        if self._moved >= HELD_OCTETS // 4:
            self._moved = 0
            self._relieve()

    def _relieve(self) -> None:
        """Close those that hold the most octets where all together hold too many."""
        held = sorted(((one.held(), number, one) for number, one in enumerate(self.connections)), reverse=True)
        total = sum(octets for octets, _, _ in held)
        if total <= HELD_OCTETS:
            return
        for octets, _, connection in held:
            connection.refuse("connection_limit")
            total -= octets
            if total <= HELD_OCTETS // 2:
                return

    def _turn(self) -> None:
        """Begin a turn with those who wait, a share for each, as long as it lasts."""
        self._left = QUERIES_A_TURN
        while self._queue and self._left:
            self._queue.popleft().called()

    def _listen(self, one: socket.socket) -> None:
        if one.fileno() >= 0:  # it may have been closed during a pause
            asyncio.get_running_loop().add_reader(one.fileno(), self._accept, one)

    def _accept(self, listening: socket.socket) -> None:
        """Take the connections that wait, some at a time."""
        for _ in range(ACCEPTED_A_TURN):
            try:
                one, peer = listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._pause(listening)
                    return
                continue  # what became of this connection before it was taken; the next is another
            self._begin(one, address_octets(peer[0]))

    def _begin(self, one: socket.socket, client: bytes) -> None:
        """Serve a connection, or refuse it where there is no place for it."""
        connection = self.accepted(client)
        if connection is None:
            # A reset leaves nothing of it with us, and its client goes elsewhere at once.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            one.close()
            return
        one.setblocking(False)
        loop = asyncio.get_running_loop()
        task = loop.create_task(loop.connect_accepted_socket(lambda: connection, one))
        self._starting.add(task)
        task.add_done_callback(lambda task: self._started(task, connection, one))

    def _started(self, task: asyncio.Task[Any], connection: Connection, one: socket.socket) -> None:
        self._starting.discard(task)
        if task.cancelled() or task.exception():  # it was gone before it could be watched
            self.places.leave(connection)
            one.close()

    def _pause(self, listening: socket.socket) -> None:
        """No file for one more: what waits to be accepted goes on waiting, and the kernel says so without an end."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(listening.fileno())
        loop.call_later(PAUSE_S, self._listen, listening)
        self.places.give_way(loop.time())
        if loop.time() - self._said_at >= SAID_AGAIN_S:
            self._said_at = loop.time()
            _log.error("no file left for one more connection: raise LimitNOFILE or lower limits.connections")

    def _look(self) -> None:
        """Close what is idle, deaf or old; look again soon."""
        loop, places = asyncio.get_running_loop(), self.places
        now = loop.time()
        idle_s = places.hurried(self._idle_s)
        for connection in places.unread(now - self._idle_s):
            connection.abort()
        for connection in places.silent(now - idle_s):
            # Whoever does not read what is left does not get to hold the connection either.
            connection.abort()
        for connection in places.old(now - self._life_s):
            connection.finish()
        self._timers["look"] = loop.call_later(min(LOOK_S, self._idle_s / 4, self._life_s / 4), self._look)


def _affordable() -> int:
    """How many connections there are files for, and enough left for all else."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else int(soft * SHARE_OF_FILES)
