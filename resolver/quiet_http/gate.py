# cython: language_level=3, annotation_typing=False
"""Takes HTTP connections for a server that keeps nothing: one request each, within bounds and at a pace.

Rules:
- What a connection may send, and how it ends, is in `connection`. Here are the bounds of all of them.
- Crowds and slow clients find bounds: on connections, in all and of one client's prefix (query.accept_limits says who
  gives way), on the time for a head, on a connection's life, and on the requests of a prefix, which wait beyond it. A
  prefix at its limit first gives up those of its own that need no place: browsers open some in advance. If every place
  has a request in work, a new connection waits until one is free.
- Where the loop has other work too (`rest`), a turn takes few requests and connections, and the next one waits `rest`
  times as long as the work took. A loop of a process that does nothing else rests never: the kernel paces that process.
- The gate watches its sockets with an epoll of its own, and the event loop watches that: a batch of connections costs
  the loop one call, and a connection costs no object of the loop.
"""

import asyncio
import errno
import select
import socket
import sys
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, Final

from resolver.core.admit import is_mapped
from resolver.query import accept_limits
from resolver.query.accept_limits import Places
from resolver.quiet_http import calls
from resolver.quiet_http.bounds import Bounds
from resolver.quiet_http.connection import READS, Connection, Keeper, Response
from resolver.quiet_http.deadlines import Deadlines

BACKLOG: Final = 1024

RECEIVED_OCTETS: Final = 2**16
"""The kernel's buffer for what a client has sent."""

UNACKNOWLEDGED_MS: Final = 20_000

REQUESTS_A_TURN: Final = 4
ACCEPTED_A_TURN: Final = 16
EVENTS_A_TURN: Final = 64
WORK_S: Final = 0.0001
"""The work that the loop is assumed to have with a connection, or with a request, beside what is measured."""

TICK_S: Final = 0.001
PAUSE_S: Final = 0.1
PREFIXES: Final = 4096
"""Prefixes whose requests are remembered, for seconds; beyond it the oldest is forgotten."""

HandOn = Callable[[bytes, Response], None]
"""Takes a whole head and answers it, then or later."""

_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Gate(Keeper):
    """Accepts connections and hands their requests on, in turns with rests between them.

    hand_on: answers one request, given its whole head. exempt: returns whether a client (16 octets) is spared the
    bounds of its prefix. turned_away: the connections that were refused because their prefix had all its places.
    """

    def __init__(self, hand_on: HandOn, bounds: Bounds, exempt: Callable[[bytes], bool]) -> None:
        self.bounds = bounds
        self.loop = asyncio.get_running_loop()
        self.hand_on = hand_on
        self.turned_away = 0
        self.heads = Deadlines(bounds.head_s, Connection.abort)
        self.ages = Deadlines(bounds.age_s, Connection.abort)
        self.lingers = Deadlines(bounds.linger_s, Connection.linger)
        self._poll = select.epoll()
        self._poll_fd = self._poll.fileno()
        self._listening: dict[int, socket.socket] = {}
        self._open: dict[int, Connection] = {}
        self._places = Places(accept_limits.Bounds(bounds.connections, bounds.per_client, exempt), sys.maxsize)
        self._paces: OrderedDict[bytes, float] = OrderedDict()
        self._readable: deque[socket.socket] = deque()
        self._requests: deque[Connection] = deque()
        self._waiting: tuple[int, bytes] | None = None
        self._rests_until = 0.0
        self._turn: asyncio.Handle | None = None
        self._emptied: asyncio.Future[None] | None = None
        self.loop.add_reader(self._poll.fileno(), self._look)

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        return tuple(one.getsockname()[:2] for one in self._listening.values())

    @property
    def listening_on(self) -> tuple[socket.socket, ...]:
        """The listening sockets."""
        return tuple(self._listening.values())

    def listen(self, one: socket.socket) -> None:
        """Accept the connections of a listening socket."""
        self._listening[one.fileno()] = one
        # One event for those that come: they are taken until none is left.
        self._poll.register(one.fileno(), select.EPOLLIN | select.EPOLLET)

    async def close(self, grace_s: float) -> None:
        """Stop listening, let pending responses reach their clients within `grace_s`, then reset all connections."""
        if self._poll.closed:
            return
        for fileno, one in self._listening.items():
            self._poll.unregister(fileno)  # Another process may have the socket too: its close would not do that.
            one.close()
        self._listening.clear()
        self._readable.clear()
        if self._waiting is not None:
            _refuse(self._waiting[0])
            self._waiting = None
        while self._requests:
            self._requests.popleft().serve()
        for connection in list(self._open.values()):
            if not connection.is_awaited:
                connection.abort()
        if self._open:
            self._emptied = self.loop.create_future()
            await asyncio.wait([self._emptied], timeout=grace_s)
        for connection in list(self._open.values()):
            connection.abort()
        for deadlines in (self.heads, self.ages, self.lingers):
            deadlines.close()
        if self._turn is not None:
            self._turn.cancel()
        self.loop.remove_reader(self._poll.fileno())
        self._poll.close()

    def asked(self, connection: Connection) -> None:
        """Note that a connection has a whole head, and serve it when its prefix's turn has come."""
        self._places.busy(connection)
        if connection.counted:
            now = self.loop.time()
            due = self._due(connection.counted, now)
            if due > now:
                self.loop.call_at(due, self._queue, connection)
                return
        self._queue(connection)

    def finished(self, connection: Connection) -> None:
        """Note that a connection has its response."""
        self.ages.stop(connection)
        self._places.ending(connection, self.loop.time())
        if self._waiting is not None:
            self._wake()

    def forget(self, connection: Connection) -> None:
        """Watch a connection no more; it is about to be closed."""
        self._open.pop(connection.fileno(), None)
        self.heads.stop(connection)
        self.ages.stop(connection)
        self.lingers.stop(connection)

    def lost(self, connection: Connection) -> None:
        """Note that a connection is closed."""
        self._places.leave(connection)
        if self._waiting is not None:
            self._wake()
        if self._emptied is not None and not self._open and not self._emptied.done():
            self._emptied.set_result(None)

    def watch(self, connection: Connection, mask: int) -> None:
        """Have epoll watch for other events of a connection."""
        calls.watch(self._poll_fd, connection.fileno(), mask, False)

    def _due(self, prefix: bytes, now: float) -> float:
        """Return when the next request of a prefix is served."""
        while self._paces and (len(self._paces) >= PREFIXES or next(iter(self._paces.values())) <= now):
            self._paces.popitem(last=False)
        # The time at which all its requests so far are paid for, one for each 1 / per_second.
        paid = max(now, self._paces.get(prefix, now))
        self._paces[prefix] = paid + 1 / self.bounds.per_second
        self._paces.move_to_end(prefix)
        return paid - (self.bounds.burst - 1) / self.bounds.per_second

    def _queue(self, connection: Connection) -> None:
        if self.bounds.rest:
            self._requests.append(connection)
            self._wake()
        else:
            connection.serve()

    def worked(self, seconds: float) -> None:
        """Count work done: the next turn waits `rest` times as long."""
        self._rests_until = max(self._rests_until, self.loop.time()) + self.bounds.rest * seconds

    def _look(self) -> None:
        """Go on with the connections of which the kernel has news, and note the sockets at which others wait."""
        for fileno, mask in self._poll.poll(0, EVENTS_A_TURN):
            # The number may belong to a newer connection by now: there is nothing to read yet, and nothing is done.
            connection = self._open.get(fileno)
            if connection is not None:
                connection.ready(mask)
            elif fileno in self._listening:
                self._note(self._listening[fileno])
        self._wake()

    def _note(self, listening: socket.socket) -> None:
        if listening not in self._readable and listening.fileno() >= 0:
            self._readable.append(listening)

    def _again(self, listening: socket.socket) -> None:
        self._note(listening)
        self._wake()

    def _wake(self) -> None:
        """Take a turn, after the rest, if there is anything to do."""
        if self._turn is None and (self._requests or self._readable or self._waiting):
            left = self._rests_until - self.loop.time()
            # uvloop rounds to milliseconds: what is called too soon would be put off again and again.
            self._turn = (
                self.loop.call_later(left + TICK_S, self.take_turn) if left > 0 else self.loop.call_soon(self.take_turn)
            )

    def take_turn(self) -> None:
        """Serve some requests and accept some connections, unless it is still time to rest."""
        self._turn = None
        if self.loop.time() < self._rests_until:
            self._wake()
            return
        began, steps = time.thread_time(), 0
        while self._requests and steps < REQUESTS_A_TURN:
            self._requests.popleft().serve()
            steps += 1
        steps += self._accept()
        if self.bounds.rest:
            self.worked(time.thread_time() - began + steps * WORK_S)
        if self._requests or not self._waiting:
            self._wake()

    def _accept(self) -> int:
        """Take waiting connections, at most ACCEPTED_A_TURN; return how many are served."""
        begun, now = 0, self.loop.time()
        for _ in range(ACCEPTED_A_TURN):
            taken = self._next()
            if taken is None:
                break
            fd, client = taken
            connection = Connection(self, fd, client)
            if not self._claim(connection, client):
                self.turned_away += 1
                _refuse(fd)
            elif self._places.enter(connection, None, now):
                begun += 1
                self._begin(connection)
            else:
                self._waiting = taken
                break
        return begun

    def _claim(self, connection: Connection, client: bytes) -> bool:
        """Count a connection for its prefix; at the prefix's limit one of its own that needs no place gives way."""
        if self._places.claim(connection, client):
            return True
        for one in self._open.values():
            if _prefix(one.client) == _prefix(client) and one.needs_no_place:
                self._places.leave(one)
                one.abort()
                return self._places.claim(connection, client)
        return False

    def _next(self) -> tuple[int, bytes] | None:
        """Return the next connection and its client (16 octets); None if none waits."""
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            return waiting
        while self._readable:
            listening = self._readable[0]
            try:
                taken = calls.accept(listening.fileno())
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._readable.popleft()
                    self.loop.call_later(PAUSE_S, self._again, listening)
                    self._places.make_room(self.loop.time())
                # Else this connection failed before it was accepted: take the next.
                continue
            if taken is not None:
                self._readable.rotate(-1)
                return taken
            self._readable.popleft()
        return None

    def _begin(self, connection: Connection) -> None:
        self._open[connection.fileno()] = connection
        calls.watch(self._poll_fd, connection.fileno(), READS, True)
        connection.receive()  # The request is often there already.
        if connection.is_mute:
            self.heads.start(connection)


def listening(where: tuple[Any, ...], given: socket.socket | None = None) -> socket.socket:
    """Return a socket that listens at an address, as `bind` takes it: `given`, which is bound there, or a new one.

    OSError if it cannot be bound.
    """
    if given is None:
        family = socket.AF_INET6 if ":" in where[0] else socket.AF_INET
        one = socket.create_server(where, family=family, backlog=BACKLOG)
    else:
        one = given
        one.listen(BACKLOG)
    set_options(one)
    return one


def set_options(one: socket.socket) -> None:
    """Set the options of a listening socket."""
    one.setblocking(False)
    # Accepted connections inherit these options.
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVED_OCTETS)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS)


def _prefix(client: bytes) -> bytes:
    return client if is_mapped(client) else client[:7]


def _refuse(fd: int) -> None:
    """Reset a connection, which leaves no state in our kernel."""
    calls.reset(fd)
    calls.close(fd)
