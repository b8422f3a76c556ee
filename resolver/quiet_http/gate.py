"""Takes HTTP connections for a server that keeps nothing: one request each, within bounds and at a pace.

Rules:
- A connection has one request. Its head is collected here, at most MAX_HEAD octets in all, and only a whole head is
  handed on: a head that is longer gets 431. What follows the head is discarded, and of that little is read.
- Crowds and slow clients find bounds: on connections, in all and of one client's prefix (query.accept_limits says who
  gives way), on the time for a head, on a connection's life, and on the requests of a prefix, which wait beyond it. A
  prefix at its limit first gives up those of its own that need no place: browsers open some in advance. If every place
  has a request in work, a new connection waits until one is free.
- The loop also answers DNS: after each turn, which takes few requests and connections, the next one waits REST times
  as long as the work took.
- The page's visitor closes first. A connection that we closed first would stay in the kernel for a minute as TIME-WAIT
  with the visitor's address, for every account of the host to see. A visitor that has received everything and does not
  close is reset, which leaves nothing.
- Whom a connection serves is known here alone: what answers the request writes to a transport without an address.
"""

import asyncio
import errno
import fcntl
import re
import socket
import struct
import sys
import termios
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, cast

from resolver.config.values import address_octets
from resolver.core.admit import is_mapped
from resolver.query import accept_limits
from resolver.query.accept_limits import Places

SERVER: Final = "blocklist-resolver"
"""The name that every response gives."""

BACKLOG: Final = 1024
MAX_HEAD: Final = 8192
MAX_DISCARDED: Final = 2**18
"""Octets after the head that are read and discarded, so that most clients get to read the response."""

RECEIVED_OCTETS: Final = 2**16
"""The kernel's buffer for what a client has sent."""

UNACKNOWLEDGED_MS: Final = 20_000

REST: Final = 10
REQUESTS_A_TURN: Final = 4
ACCEPTED_A_TURN: Final = 16
WORK_S: Final = 0.0001
"""The work that the loop is assumed to have with a connection, or with a request, beside what is measured."""

TICK_S: Final = 0.001
PAUSE_S: Final = 0.1
PREFIXES: Final = 4096
"""Prefixes whose requests are remembered, for seconds; beyond it the oldest is forgotten."""

_TOO_LARGE: Final = (
    "HTTP/1.1 431 Request Header Fields Too Large\r\n"
    f"Content-Type: text/plain; charset=utf-8\r\nServer: {SERVER}\r\n"
    "Content-Length: 18\r\nConnection: close\r\n\r\nrequest too large\n"
).encode()
_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
# A method, or an empty line before it (RFC 9112 2.2).
_BEGIN: Final = re.compile(rb"[A-Za-z\r\n]")
_END: Final = re.compile(rb"\r?\n\r?\n")
_RESET: Final = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The limits of a server.

    connections: open at the same time; per_client: of these, from one prefix. head_s: seconds for a request's head;
    age_s: seconds from then until the connection is reset; linger_s: seconds that a client has to close it after it
    received the response. burst, per_second: requests of a prefix that are served at once, and how many a second after
    that. client_first: whether the client closes first instead of us.
    """

    connections: int
    per_client: int = 4
    head_s: float = 10
    age_s: float = 20
    linger_s: float = 1
    burst: int = 100
    per_second: int = 20
    client_first: bool = False


class _Connection(asyncio.Protocol):
    """A client's connection: collects the head, hands it on, and ends after the response.

    client: its address in 16 octets. counted: the prefix that it counts for (accept_limits).
    """

    __slots__ = (
        "_asked",
        "_delivered",
        "_discarded",
        "_ended",
        "_finished",
        "_gate",
        "_gone",
        "_head",
        "_responder",
        "_timer",
        "_transport",
        "_until",
        "client",
        "counted",
    )

    def __init__(self, gate: "Gate", client: bytes) -> None:
        self.client = client
        self.counted = b""
        self._gate = gate
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._responder: asyncio.Protocol | None = None
        self._head = bytearray()
        self._until = 0.0
        self._discarded = 0
        self._asked = self._finished = self._ended = self._gone = self._delivered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports do not inherit from it.
        if self._gone:
            self.abort()
        else:
            self._restart(self._gate.bounds.head_s, self.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone = True
        if self._timer is not None:
            self._timer.cancel()
        if self._responder is not None:
            self._responder.connection_lost(exc)
        self._gate.lost(self)

    def data_received(self, data: bytes) -> None:
        if self._asked:
            self._discard(len(data))
            return
        searched = max(0, len(self._head) - 3)
        self._head += data
        found = _END.search(self._head, searched)
        end = found.end() if found else len(self._head)
        if end <= MAX_HEAD and not found and _BEGIN.match(self._head):
            return
        self._asked = True
        self._until = self._gate.loop.time() + self._gate.bounds.age_s
        self._restart(self._gate.bounds.age_s, self.abort)
        self._discard(len(self._head) - end)
        if end > MAX_HEAD:
            self._head.clear()
            self.transport.write(_TOO_LARGE)
            self.finish()
        else:
            del self._head[end:]
            self._gate.asked(self)

    def eof_received(self) -> bool:
        """Close, unless a response is still to come: then keep our half open for it."""
        self._ended = True
        if self._asked and not self._finished:
            return True
        self.transport.close()
        return False

    def pause_writing(self) -> None:
        if self._responder is not None:
            self._responder.pause_writing()

    def resume_writing(self) -> None:
        if self._responder is not None:
            self._responder.resume_writing()

    @property
    def transport(self) -> asyncio.Transport:
        """The connection to the client, once it is made."""
        return cast(asyncio.Transport, self._transport)

    @property
    def needs_no_place(self) -> bool:
        """True while it has asked nothing, as browsers open connections in advance, or after the response arrived."""
        if self._transport is None:
            return not self._gone
        if self._transport.is_closing():
            return False
        return not self._asked or (self._finished and unacknowledged(self.transport) == 0)

    @property
    def is_awaited(self) -> bool:
        """True while the client may wait for a response, or for the rest of it."""
        return self._asked and not self._gone

    def serve(self) -> None:
        """Hand the head on, unless the client has gone."""
        if self._gone:
            return
        self._responder = self._gate.hand_on()
        self._responder.connection_made(_Response(self))
        self._responder.data_received(bytes(self._head))
        self._head.clear()

    def finish(self) -> None:
        """Let the client close the connection; reset it `linger_s` after the client received everything."""
        if self._gone or self._finished:
            return
        self._finished = True
        self._gate.loop.call_soon(self._release)
        self._gate.finished(self)
        if self._ended:
            self.transport.close()
            return
        if not self._gate.bounds.client_first:
            self.transport.write_eof()
        self._restart(self._gate.bounds.linger_s, self._linger)

    def abort(self) -> None:
        """Reset the connection, which leaves no state in our kernel."""
        self._gone = True
        if self._transport is None:
            return
        if not self._transport.is_closing():
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()

    def _release(self) -> None:
        """Free what answered the request."""
        if self._responder is not None:
            self._responder.connection_lost(None)
            self._responder = None

    def _linger(self) -> None:
        """Reset if the client had received everything when last looked, or at the end of its life; else look again."""
        if self._delivered or self._gate.loop.time() >= self._until:
            self.abort()
            return
        self._delivered = unacknowledged(self.transport) == 0
        self._restart(self._gate.bounds.linger_s, self._linger)

    def _discard(self, octets: int) -> None:
        before, self._discarded = self._discarded, self._discarded + octets
        if before <= MAX_DISCARDED < self._discarded:
            self.transport.pause_reading()

    def _restart(self, seconds: float, then: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._gate.loop.call_later(seconds, then)


class _Response(asyncio.Transport):
    """What a response is written to: it knows no address, and to close it ends the response, not the connection."""

    def __init__(self, connection: _Connection) -> None:
        super().__init__()
        self._connection = connection
        self._closing = False

    def write(self, data: Any) -> None:
        self._connection.transport.write(data)

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self._connection.transport.writelines(list_of_data)

    def is_closing(self) -> bool:
        return self._closing or self._connection.transport.is_closing()

    def close(self) -> None:
        self._closing = True
        self._connection.finish()

    def abort(self) -> None:
        self._connection.abort()

    def pause_reading(self) -> None:
        """Do nothing: the request has been read."""

    def resume_reading(self) -> None:
        """Do nothing: the request has been read."""


class Gate:
    """Accepts connections and hands their requests on, in turns with rests between them.

    hand_on: returns the protocol that answers one request; it is given the head at once. exempt: returns whether a
    client (16 octets) is spared the bounds of its prefix. turned_away: the connections that were refused because their
    prefix had all its places.
    """

    def __init__(
        self, hand_on: Callable[[], asyncio.Protocol], bounds: Bounds, exempt: Callable[[bytes], bool]
    ) -> None:
        self.bounds = bounds
        self.loop = asyncio.get_running_loop()
        self.hand_on = hand_on
        self.turned_away = 0
        self._listening: list[socket.socket] = []
        self._places = Places(accept_limits.Bounds(bounds.connections, bounds.per_client, exempt), sys.maxsize)
        self._paces: OrderedDict[bytes, float] = OrderedDict()
        self._readable: deque[socket.socket] = deque()
        self._requests: deque[_Connection] = deque()
        self._waiting: tuple[socket.socket, bytes] | None = None
        self._starting: set[asyncio.Task[Any]] = set()
        self._rests_until = 0.0
        self._turn: asyncio.TimerHandle | None = None
        self._emptied: asyncio.Future[None] | None = None

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        return tuple(one.getsockname()[:2] for one in self._listening)

    @property
    def listening_on(self) -> tuple[socket.socket, ...]:
        """The listening sockets."""
        return tuple(self._listening)

    def listen(self, one: socket.socket) -> None:
        """Accept the connections of a listening socket."""
        self._listening.append(one)
        self._watch(one)

    async def close(self, grace_s: float) -> None:
        """Stop listening, let pending responses reach their clients within `grace_s`, then reset all connections."""
        for one in self._listening:
            self.loop.remove_reader(one.fileno())
            one.close()
        self._listening.clear()
        self._readable.clear()
        if self._waiting is not None:
            _refuse(self._waiting[0])
            self._waiting = None
        if self._starting:
            await asyncio.wait(self._starting)
        while self._requests:
            self._requests.popleft().serve()
        for connection in self._connections():
            if not connection.is_awaited:
                connection.abort()
        if self._places.holders:
            self._emptied = self.loop.create_future()
            await asyncio.wait([self._emptied], timeout=grace_s)
        for connection in self._connections():
            connection.abort()
        if self._turn is not None:
            self._turn.cancel()

    def asked(self, connection: _Connection) -> None:
        """Note that a connection has a whole head, and serve it when its prefix's turn has come."""
        now = self.loop.time()
        self._places.busy(connection)
        due = self._due(connection.counted, now)
        if due > now:
            self.loop.call_at(due, self._queue, connection)
        else:
            self._queue(connection)

    def finished(self, connection: _Connection) -> None:
        """Note that a connection has its response."""
        self._places.ending(connection, self.loop.time())
        self._wake()

    def lost(self, connection: _Connection) -> None:
        """Note that a connection is closed."""
        self._places.leave(connection)
        self._wake()
        if self._emptied is not None and not self._places.holders and not self._emptied.done():
            self._emptied.set_result(None)

    def _connections(self) -> list[_Connection]:
        return [cast(_Connection, one) for one in self._places.holders]

    def _due(self, prefix: bytes, now: float) -> float:
        """Return when the next request of a prefix is served; b"" is exempt."""
        if not prefix:
            return now
        while self._paces and (len(self._paces) >= PREFIXES or next(iter(self._paces.values())) <= now):
            self._paces.popitem(last=False)
        # The time at which all its requests so far are paid for, one for each 1 / per_second.
        paid = max(now, self._paces.get(prefix, now))
        self._paces[prefix] = paid + 1 / self.bounds.per_second
        self._paces.move_to_end(prefix)
        return paid - (self.bounds.burst - 1) / self.bounds.per_second

    def _queue(self, connection: _Connection) -> None:
        self._requests.append(connection)
        self._wake()

    def worked(self, seconds: float) -> None:
        """Count work done: the next turn waits REST times as long."""
        self._rests_until = max(self._rests_until, self.loop.time()) + REST * seconds

    def _watch(self, listening: socket.socket) -> None:
        if listening.fileno() >= 0:  # it may have been closed meanwhile
            self.loop.add_reader(listening.fileno(), self._called, listening)

    def _called(self, listening: socket.socket) -> None:
        """Note that connections wait at a socket. Until they are accepted it is not watched: it would call at once."""
        self.loop.remove_reader(listening.fileno())
        self._readable.append(listening)
        self._wake()

    def _wake(self) -> None:
        """Take a turn, after the rest, if there is anything to do."""
        if self._turn is None and (self._requests or self._readable or self._waiting):
            left = self._rests_until - self.loop.time()
            # uvloop rounds to milliseconds: what is called too soon would be put off again and again.
            self._turn = self.loop.call_later(left + TICK_S if left > 0 else 0, self.take_turn)

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
            one, client = taken
            connection = _Connection(self, client)
            if not self._claim(connection, client):
                self.turned_away += 1
                _refuse(one)
            elif self._places.enter(connection, None, now):
                begun += 1
                self._begin(connection, one)
            else:
                self._waiting = taken
                break
        return begun

    def _claim(self, connection: _Connection, client: bytes) -> bool:
        """Count a connection for its prefix; at the prefix's limit one of its own that needs no place gives way."""
        if self._places.claim(connection, client):
            return True
        for one in self._connections():
            if _prefix(one.client) == _prefix(client) and one.needs_no_place:
                self._places.leave(one)
                one.abort()
                return self._places.claim(connection, client)
        return False

    def _next(self) -> tuple[socket.socket, bytes] | None:
        """Return the next connection and its client (16 octets); None if none waits."""
        if self._waiting is not None:
            taken, self._waiting = self._waiting, None
            return taken
        while self._readable:
            listening = self._readable.popleft()
            try:
                one, peer = listening.accept()
            except (BlockingIOError, InterruptedError):
                self._watch(listening)
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self.loop.call_later(PAUSE_S, self._watch, listening)
                    self._places.make_room(self.loop.time())
                else:  # this connection failed before it was accepted; take the next
                    self._readable.append(listening)
            else:
                self._readable.append(listening)
                return one, address_octets(peer[0])
        return None

    def _begin(self, connection: _Connection, one: socket.socket) -> None:
        one.setblocking(False)
        task = self.loop.create_task(self.loop.connect_accepted_socket(lambda: connection, one))
        self._starting.add(task)
        task.add_done_callback(partial(self._begun, connection, one))

    def _begun(self, connection: _Connection, one: socket.socket, task: asyncio.Task[Any]) -> None:
        self._starting.discard(task)
        if task.cancelled() or task.exception():  # it was closed before the loop could watch it
            one.close()
            self.lost(connection)


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


def _refuse(one: socket.socket) -> None:
    """Reset a connection, which leaves no state in our kernel."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    one.close()


def unacknowledged(transport: asyncio.Transport) -> int:
    """Return how many octets the client's kernel has not acknowledged yet."""
    (queued,) = struct.unpack("i", fcntl.ioctl(transport.get_extra_info("socket"), termios.TIOCOUTQ, bytes(4)))
    return transport.get_write_buffer_size() + int(queued)
