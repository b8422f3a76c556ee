"""Receives queries over TCP: the listening sockets, and what all connections share (RFC 7766).

Rules:
- Bounded are: the connections (accept_limits), the time without a complete query, the life of a connection, and the
  octets that all connections together buffer. A connection that stays idle, or whose client never reads, is closed.
- A client that is not `allowed` is refused before it takes a place; behind a load balancer, after the PROXY header.
- In one turn of the event loop a bounded number of queries is taken from all connections together, a share from each
  in turn: many connections, or a flood on one, delay neither each other nor UDP.
- At a stop a client that has just connected may still ask, for FIRST_S. Others ask again by another connection
  (RFC 7766 6.2.4).
- If the process or the system has no file descriptor left for a connection, another one is closed and accepting pauses
  for PAUSE_S: the loop neither spins nor stops listening.
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
from resolver.core.lane import Tables
from resolver.core.proxy import Proxied
from resolver.query import accept_sockets
from resolver.query.accept_connection import Connection
from resolver.query.accept_limits import Bounds, Places
from resolver.query.transport import IDLE_S, Taking, balancers

QUERIES_A_TURN = 64
QUERIES_A_SHARE = 8
ACCEPTED_A_TURN = 64
LIFE_S = 300.0
LOOK_S = 1.0
PAUSE_S = 0.1
FIRST_S = 0.2
BUFFERED_OCTETS = 2**26
SHARE_OF_FILES = 0.75
LOG_AGAIN_S = 60.0

_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_RESET: Final = struct.pack("ii", 1, 0)

_log: Final = logging.getLogger("resolver.query")


class Streams:
    """The TCP side of the listening addresses.

    dropped: called with the reason (core.codes) of each connection that is refused. trusted: returns whether an address
    (16 octets) is a load balancer's; None if there are none. allowed: returns whether a client may hold a connection.
    `trusted`, `allowed` and `bounds` may be replaced at any time.
    """

    def __init__(
        self,
        answer: Taking,
        dropped: Callable[[str], None],
        bounds: Bounds,
        *,
        idle_s: float = IDLE_S,
        life_s: float = LIFE_S,
    ) -> None:
        self.answer = answer
        self.dropped = dropped
        self.trusted: Callable[[bytes], bool] | None = None
        self.allowed: Callable[[bytes], bool] = _everybody
        self.proxied = Proxied()
        self.places = Places(bounds, _affordable())
        self._idle_s = idle_s
        self._life_s = life_s
        self._sockets: list[socket.socket] = []
        self._starting: set[asyncio.Task[Any]] = set()
        self._left = QUERIES_A_TURN
        self._queue: deque[Connection] = deque()
        self._moved = 0
        self._logged_at = float("-inf")
        self._timers: dict[str, asyncio.TimerHandle] = {}

    @property
    def bounds(self) -> Bounds:
        """The maximum number of connections."""
        return self.places.bounds

    @bounds.setter
    def bounds(self, bounds: Bounds) -> None:
        self.places.bounds = bounds

    @property
    def connections(self) -> Collection[Connection]:
        """The open connections."""
        return self.places.holders.keys()  # type: ignore[return-value]  # every holder is made here

    def use(self, tables: Tables) -> None:
        """Take the load balancers of the tables in force, for connections that come."""
        self.trusted = balancers(tables.access)

    @property
    def addresses(self) -> list[Endpoint]:
        """The bound addresses."""
        return [accept_sockets.bound_to(one) for one in self._sockets]

    @property
    def sockets(self) -> Sequence[socket.socket]:
        """The sockets that take queries."""
        return self._sockets

    @property
    def reachable(self) -> list[Endpoint]:
        """The bound addresses that this host has."""
        return [accept_sockets.bound_to(one) for one in self._sockets if accept_sockets.is_here(one)]

    async def open(
        self,
        listen: Sequence[Endpoint],
        given: Sequence[socket.socket] = (),
        missed: list[accept_sockets.Missed] | None = None,
    ) -> None:
        """Listen on every address, with its TCP socket from `given` or a new one, and start to answer.

        missed: takes the addresses that cannot be bound; without it OSError (nothing is left open). Raise ValueError
        if a given socket is bound to an address that is not in `listen`.
        """
        self._sockets = accept_sockets.streams(listen, given, missed)
        wanted = self.bounds.connections
        if self.places.most < wanted:
            _log.warning(
                "at most %d connections, not limits.connections = %d: the process may not open enough files; "
                "raise LimitNOFILE (ulimit -n)",
                self.places.most,
                wanted,
            )
        for one in self._sockets:
            self._listen(one)
        self.look()

    def add(self, one: socket.socket) -> None:
        """Listen on one more bound socket; OSError if another process listens there."""
        accept_sockets.prepare(socket.SOCK_STREAM, one)
        self._sockets.append(one)
        self._listen(one)

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
        """Wait until all queries in flight are answered, then close all connections."""
        loop = asyncio.get_running_loop()
        until = loop.time() + FIRST_S
        while loop.time() < until and (self._starting or not all(one.draining for one in self.connections)):
            await asyncio.sleep(FIRST_S / 20)
            for connection in self.connections:
                connection.drain()
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
        """Return a Connection for a client (16 octets); count the refusal and return None if it may not have one."""
        connection = Connection(self, client)
        if not connection.by_proxy and not self.allowed(client):
            self.dropped("not_allowed")
            return None
        now = asyncio.get_running_loop().time()
        if self.places.enter(connection, None if connection.by_proxy else client, now):
            return connection
        self.dropped("connection_limit")
        return None

    def granted(self, connection: Connection, taken: int) -> int:
        """Return how many more queries may be taken in this turn, after `taken`; if none, queue the connection."""
        left = min(self._left, QUERIES_A_SHARE - taken)
        if left <= 0:
            self._queue.append(connection)
            return 0
        return left

    def took(self, count: int) -> None:
        """Take the queries that were granted from the turn's; the first of a turn lets the next one begin."""
        if count and self._left == QUERIES_A_TURN:
            asyncio.get_running_loop().call_soon(self._turn)
        self._left -= count

    def moved(self, octets: int) -> None:
        """Count octets received or sent; check the buffered total after each quarter of its bound."""
        self._moved += octets
        if self._moved >= BUFFERED_OCTETS // 4:
            self._moved = 0
            self._relieve()

    def _relieve(self) -> None:
        """Close the connections that buffer the most octets if all together buffer more than BUFFERED_OCTETS."""
        most = sorted(((one.buffered(), number, one) for number, one in enumerate(self.connections)), reverse=True)
        total = sum(octets for octets, _, _ in most)
        if total <= BUFFERED_OCTETS:
            return
        for octets, _, connection in most:
            connection.refuse("connection_limit")
            total -= octets
            if total <= BUFFERED_OCTETS // 2:
                return

    def _turn(self) -> None:
        """Begin a turn with the queued connections, a share for each, until QUERIES_A_TURN are taken."""
        self._left = QUERIES_A_TURN
        while self._queue and self._left:
            self._queue.popleft().called()

    def _listen(self, one: socket.socket) -> None:
        if one.fileno() >= 0:  # it may have been closed during a pause
            asyncio.get_running_loop().add_reader(one.fileno(), self._accept, one)

    def _accept(self, listening: socket.socket) -> None:
        """Accept waiting connections, at most ACCEPTED_A_TURN of them."""
        for _ in range(ACCEPTED_A_TURN):
            try:
                one, peer = listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._pause(listening)
                    return
                continue  # this connection failed before it was accepted; take the next
            self._begin(one, address_octets(peer[0]))

    def _begin(self, one: socket.socket, client: bytes) -> None:
        """Serve a connection, or reset it if it is refused."""
        connection = self.accepted(client)
        if connection is None:
            # A reset leaves no state in our kernel, and the client can try another server at once.
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
        if task.cancelled() or task.exception():  # it was closed before the loop could watch it
            self.places.leave(connection)
            one.close()

    def _pause(self, listening: socket.socket) -> None:
        """Stop accepting for PAUSE_S and close one connection: no file descriptor is left.

        The connection that waits stays readable, so that the loop would call `_accept` again and again.
        """
        loop = asyncio.get_running_loop()
        loop.remove_reader(listening.fileno())
        loop.call_later(PAUSE_S, self._listen, listening)
        self.places.make_room(loop.time())
        if loop.time() - self._logged_at >= LOG_AGAIN_S:
            self._logged_at = loop.time()
            _log.error("no file descriptor left for a connection: raise LimitNOFILE or lower limits.connections")

    def look(self) -> None:
        """Close connections that are idle, do not read or are too old, and schedule the next look."""
        loop, places = asyncio.get_running_loop(), self.places
        now = loop.time()
        idle_s = places.hurried(self._idle_s)
        for connection in places.unread(now - self._idle_s):
            connection.abort()
        for connection in places.silent(now - idle_s):
            # Abort, not close: a client that does not read could keep a closing connection open.
            connection.abort()
        for connection in places.old(now - self._life_s):
            connection.finish()
        self._timers["look"] = loop.call_later(min(LOOK_S, self._idle_s / 4, self._life_s / 4), self.look)


def _everybody(_: bytes) -> bool:
    return True


def _affordable() -> int:
    """Return the number of connections that leaves enough file descriptors for everything else."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else int(soft * SHARE_OF_FILES)
