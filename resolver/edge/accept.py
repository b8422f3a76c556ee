# cython: language_level=3, annotation_typing=False
"""Receives connections over TCP for one transport: the listening sockets, and what all its connections share.

Rules:
- The bounds are those of TCP (query.accept_stream): connections in all and of a client prefix (accept_limits), the time
  without a query, the life of a connection, and the octets that all connections together hold.
- A client that is not allowed is reset before TLS begins; behind a load balancer, after the PROXY header.
- A client prefix has so many handshakes a second, for a signature costs more than a hundred queries. In one turn of the
  loop few steps of handshakes are done, and a bounded number of queries is taken, a share from each connection in turn.
- At a stop, connections that the kernel has completed are taken before the sockets are closed.
- If no file descriptor is left, another connection is closed and accepting pauses: the loop neither spins nor stops.
"""

import asyncio
import errno
import logging
import resource
import secrets
import socket
import ssl
import struct
import sys
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from resolver.config.values import address_octets
from resolver.core import codes
from resolver.core.admit import BUCKET_OCTETS, WAYS, Access, admit, allows, exempts
from resolver.core.proxy import Proxied
from resolver.core.scratch import Scratch
from resolver.edge import bounds
from resolver.edge.link import Done, Link
from resolver.edge.secured import Above, Secured
from resolver.edge.tallies import Tallies
from resolver.query.accept_limits import Bounds, Places
from resolver.query.transport import balancers

PAUSE_S: Final = 0.1
ROOM_S: Final = 0.002
"""Between two looks whether the service has room for queries again."""
SHARE_OF_FILES: Final = 0.4
"""Of the process's descriptors, for the connections of one transport: there are two."""
BUCKETS: Final = 4096
DRAIN_S: Final = 5.0
LOG_AGAIN_S: Final = 60.0

_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_RESET: Final = struct.pack("ii", 1, 0)

_log: Final = logging.getLogger("resolver.edge")


@dataclass(frozen=True, slots=True)
class Clients:
    """Who may have connections: ranges of 16-octet addresses as core.admit takes them, and [limits].

    allow: clients. exempt: clients without limits. proxies: load balancers.
    """

    allow: bytes
    exempt: bytes
    proxies: bytes
    connections: int
    per_client: int

    def access(self, rate: int) -> Access:
        """Return these ranges for core.admit, with buckets of `rate` a second."""
        nobody = (b"",) * codes.MAX_LISTS
        memory = bytearray(BUCKETS * WAYS * BUCKET_OCTETS)
        return Access(
            self.allow,
            self.exempt,
            nobody,
            nobody,
            rate=rate,
            memory=memory,
            key=secrets.token_bytes(16),
            proxies=self.proxies,
        )


class Doors:
    """The connections of one transport (index in core.codes.TRANSPORTS).

    secure: returns the TLS context in force. above: makes the protocol of a connection whose handshake is done, by its
    ALPN. idle_s: how long a connection may be without a query. octets: the room into which all of them read.
    """

    def __init__(
        self,
        transport: int,
        *,
        clients: Clients,
        link: Link,
        tallies: Tallies,
        secure: Callable[[], ssl.SSLContext],
        above: Callable[["Doors", Secured, str | None], Above],
        idle_s: float,
        life_s: float = bounds.LIFE_S,
    ) -> None:
        self.transport = transport
        self.link = link
        self.tallies = tallies
        self.loop = asyncio.get_running_loop()
        self.proxied = Proxied()
        self._access = clients.access(bounds.HANDSHAKES_A_SECOND)
        self._trusted = balancers(self._access)
        limits = Bounds(clients.connections, clients.per_client, lambda client: bool(exempts(self._access, client)))
        self.places = Places(limits, _affordable())
        self._scratch = Scratch()
        self._secure = secure
        self._above = above
        self._idle_s = idle_s
        self._life_s = life_s
        self._sockets: list[socket.socket] = []
        self._shaking: deque[Secured] = deque()
        self._says: list[Secured] = []
        self._left = bounds.QUERIES_A_TURN
        self._queue: deque[Secured] = deque()
        self._turns = self._rests = False
        self._moved = 0
        self._logged_at = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        self.octets = memoryview(bytearray(bounds.READ_OCTETS))
        link.turned.append(self._turn)
        link.given.append(self._flush)

    @property
    def secure(self) -> ssl.SSLContext:
        """The TLS context for a connection that begins."""
        return self._secure()

    @property
    def connections(self) -> list[Secured]:
        """The open connections."""
        return list(self.places.holders)  # type: ignore[arg-type]  # every holder is made here

    def listen(self, sockets: Iterable[socket.socket]) -> None:
        """Accept connections of listening sockets."""
        for one in sockets:
            self._sockets.append(one)
            self._listen(one)
        if self._timer is None:
            self._look()

    async def stop(self) -> None:
        """Take what the kernel has completed, no more queries after that, and wait until all answers are with their
        clients, DRAIN_S at most."""
        for one in self._sockets:
            self._accept(one)
            self.loop.remove_reader(one.fileno())
            one.close()
        self._sockets = []
        until = self.loop.time() + DRAIN_S
        while self.places.holders and self.loop.time() < until:
            for connection in self.connections:
                if connection.is_shaken:
                    connection.finish()
            await asyncio.sleep(DRAIN_S / 100)  # answers come from the service, and clients read at their own pace
        for connection in self.connections:
            connection.abort()
        if self._timer is not None:
            self._timer.cancel()

    # What connections call.

    def above(self, connection: Secured, alpn: str | None) -> Above:
        """Return the protocol of a connection whose handshake is done."""
        return self._above(self, connection, alpn)

    def refuse(self, reason: str) -> None:
        """Count why a connection or request is refused."""
        self.tallies.refuse(reason)

    def may_begin(self, connection: Secured) -> bool:
        """Return whether a client may have this connection, and count it for its prefix; refuse it if not."""
        reason = self._fault(connection.client)
        if not reason and not self.places.claim(connection, connection.client):
            reason = "connection_limit"
        if reason:
            connection.refuse(reason)
        return not reason

    def shakes(self, connection: Secured) -> None:
        """Have the handshake go on when its turn has come."""
        if connection.queued:
            return
        connection.queued = True
        self._shaking.append(connection)
        if len(self._shaking) == 1:
            self.loop.call_soon(self._shake)

    def shaken(self) -> None:
        """Count a handshake that is done."""
        self.tallies.handshakes += 1

    def says(self, connection: Secured) -> None:
        """Have the connection say at the end of the turn what it has to say."""
        if connection.says:
            return
        connection.says = True
        self._says.append(connection)
        if len(self._says) == 1 and not self.link.gives:  # else the link calls at the end of what it gives
            self.loop.call_soon(self._flush)

    def granted(self, connection: Secured, taken: int) -> int:
        """Return how many more queries may be taken in this turn, after `taken`; if none, queue the connection."""
        left = min(self._left, bounds.QUERIES_A_SHARE - taken, self.link.room)
        if left <= 0:
            self._begin_turn()
            self._queue.append(connection)
            return 0
        return left

    def took(self, count: int) -> None:
        """Take the queries that were granted from the turn's."""
        if count and self._left == bounds.QUERIES_A_TURN:
            self._begin_turn()
        self._left -= count

    def post(self, message: bytes, client: bytes, done: Done) -> None:
        """Hand a query to the service."""
        self.link.post(message, client, self.transport, done)

    def moved(self, octets: int) -> None:
        """Count octets received or sent; check the total after each quarter of its bound."""
        self._moved += octets
        if self._moved >= bounds.BUFFERED_OCTETS // 4:
            self._moved = 0
            self._relieve()

    def gone(self, connection: Secured) -> None:
        """Give a closed connection's place to others."""
        self.tallies.closed(self.transport)
        self.places.leave(connection)

    # Turns.

    def _begin_turn(self) -> None:
        if not self._turns:
            self._turns = True
            self.link.begin_turn()

    def _turn(self) -> None:
        """End a turn, if one has begun."""
        if self._turns and not self._rests:
            self._go_on()

    def _go_on(self) -> None:
        """Begin a turn with the queued connections, a share for each."""
        self._turns = self._rests = False
        self._left = bounds.QUERIES_A_TURN
        for _ in range(len(self._queue)):
            if self._left <= 0 or self.link.room == 0:
                break
            connection = self._queue.popleft()
            if connection.is_open:
                _let(connection, connection.called)
        if self._queue and not self._turns:  # the service has no room for more
            self._turns = self._rests = True
            self.loop.call_later(ROOM_S, self._go_on)

    def _shake(self) -> None:
        """Go on with a few handshakes."""
        for _ in range(min(len(self._shaking), bounds.HANDSHAKES_A_TURN)):
            connection = self._shaking.popleft()
            connection.queued = False
            _let(connection, connection.shake)
        if self._shaking:
            self.loop.call_soon(self._shake)

    def _flush(self) -> None:
        """Have those say it who have something to say."""
        if not self._says:
            return
        says, self._says = self._says, []
        for connection in says:
            _let(connection, connection.flush)

    # Connections that come and go.

    def _fault(self, client: bytes) -> str:
        """Return why a client may not have a connection; "" if it may."""
        if not allows(self._access, client):
            return "not_allowed"
        now_ms = int(1000 * self.loop.time())
        return "" if admit(self._access, client, 1, now_ms, self._scratch) == codes.ADMITTED else "flood"

    def _listen(self, one: socket.socket) -> None:
        if one.fileno() >= 0:  # it may have been closed during a pause
            self.loop.add_reader(one.fileno(), self._accept, one)

    def _accept(self, listening: socket.socket) -> None:
        """Accept waiting connections, at most ACCEPTED_A_TURN of them."""
        for _ in range(bounds.ACCEPTED_A_TURN):
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
        by_proxy = self._trusted is not None and self._trusted(client)
        connection = Secured(self, one, client, by_proxy=by_proxy)
        reason = "" if by_proxy else self._fault(client)
        if not reason and not self.places.enter(connection, None if by_proxy else client, self.loop.time()):
            reason = "connection_limit"
        if reason:
            self.refuse(reason)
            # A reset leaves no state in our kernel, and the client can try another server at once.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            one.close()
            return
        self.tallies.opened(self.transport)
        connection.begin()

    def _pause(self, listening: socket.socket) -> None:
        """Stop accepting for PAUSE_S and close one connection: no file descriptor is left."""
        self.loop.remove_reader(listening.fileno())
        self.loop.call_later(PAUSE_S, self._listen, listening)
        self.places.make_room(self.loop.time())
        if self.loop.time() - self._logged_at >= LOG_AGAIN_S:
            self._logged_at = self.loop.time()
            _log.error("no file descriptor left for a connection: raise LimitNOFILE or lower limits.connections")

    def _look(self) -> None:
        """Close connections that are idle, do not read or are too old, and schedule the next look."""
        places, now = self.places, self.loop.time()
        for connection in places.unread(now - self._idle_s):
            self.refuse("slow")
            connection.abort()
        for connection in places.silent(now - places.hurried(self._idle_s)):
            if not connection.is_shaken:  # type: ignore[attr-defined]  # every holder is made here
                self.refuse("slow")
                connection.abort()
            else:
                connection.finish()
        for connection in places.old(now - self._life_s):
            connection.finish()
        self._timer = self.loop.call_later(min(bounds.LOOK_S, self._idle_s / 4, self._life_s / 4), self._look)

    def _relieve(self) -> None:
        """Close the connections that hold the most octets if all together hold more than BUFFERED_OCTETS."""
        most = sorted(((one.buffered(), number, one) for number, one in enumerate(self.connections)), reverse=True)
        total = sum(octets for octets, _, _ in most)
        if total <= bounds.BUFFERED_OCTETS:
            return
        for octets, _, connection in most:
            connection.refuse("connection_limit")
            total -= octets
            if total <= bounds.BUFFERED_OCTETS // 2:
                return


def _let(connection: Secured, step: Callable[[], None]) -> None:
    """Let a connection do one step; an error in it ends this connection, and those behind it have their turn."""
    try:
        step()
    except Exception as error:  # noqa: BLE001 - its text may hold what the client sent
        _log.error("in a connection: %s; it is closed", type(error).__name__)
        connection.refuse("protocol")


def _affordable() -> int:
    """Return the number of connections that leaves enough file descriptors for everything else."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else int(soft * SHARE_OF_FILES)
