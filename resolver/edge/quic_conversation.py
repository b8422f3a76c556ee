"""One connection of QUIC with its queries: what DoQ and HTTP/3 have in common.

Rules:
- A query is counted, handed to the service, and its answer sent if its stream still takes it. A cancelled query is in
  flight until its answer comes: a client gets no more work done by cancelling.
- A connection ends: after QUERIES (once its queries are answered), if it sends many more datagrams than queries, if it
  cancels most of its queries, or if it holds too many octets.
- It is closed when its last answer is acknowledged: aioquic sends nothing behind a close.
- Whatever aioquic does not expect ends this connection alone.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

from aioquic.quic.events import ConnectionIdIssued, ConnectionIdRetired, HandshakeCompleted, QuicEvent

from resolver.edge.quic_engine import Engine
from resolver.query.accept_limits import Places
from resolver.query.accept_sockets import Receiving

STREAMS: Final = 64
"""The queries that a connection may have open, and in flight."""

QUERIES: Final = 10_000
CANCELLED: Final = 100
"""The cancelled queries that a connection may have if they are more than half of all."""

DATAGRAMS: Final = 1000
DATAGRAMS_A_QUERY: Final = 64
HELD_OCTETS: Final = 2**19
"""The octets that one connection may hold: queries that are not whole, and answers that are not acknowledged."""


Post = Callable[[bytes, bytes, int, Callable[[bytes, int], None]], None]
"""Takes a query, its client (16 octets), its transport (core.codes.TRANSPORTS), and what takes the answer."""

_PATH: Final = ("", 0)
"""Stands for the client's address in aioquic, which never sees another: it need not know it."""


class Codes(NamedTuple):
    """The error codes that a protocol closes connections with: nothing is wrong; too much of something."""

    none: int
    load: int


class Keeper(Protocol):
    """What a server does for its conversations. post, places: see quic_listen.QuicServer. path: of DoH."""

    post: Post
    path: bytes
    places: Places

    def refused(self, reason: str) -> None:
        """Count a connection or request that is refused; reason: of edge_frames.REFUSALS."""

    def send(self, one: Receiving, octets: bytes, peer: Any) -> None:
        """Send a datagram."""

    def touch(self, conversation: "Conversation") -> None:
        """Have a conversation send at the end of this turn."""

    def issued(self, conversation: "Conversation", connection_id: bytes) -> None:
        """Find a conversation by one more connection id."""

    def retired(self, conversation: "Conversation", connection_id: bytes) -> None:
        """Find a conversation by one connection id less."""

    def established(self, conversation: "Conversation") -> None:
        """Count a handshake."""

    def ended(self, conversation: "Conversation") -> None:
        """Forget a connection."""


class Spoken(NamedTuple):
    """What runs over connections: its ALPN, its conversations, and the streams that clients may open of one way."""

    alpn: str
    conversation: "type[Conversation]"
    uni: int


class Conversation(ABC):
    """One connection and the queries on it. counted: see accept_limits.Holder.

    client: 16 octets. A subclass says how queries and answers lie in streams.
    """

    codes: Codes
    transport: int

    def __init__(self, engine: Engine, server: Keeper, one: Receiving, peer: Any, client: bytes) -> None:
        self.engine = engine
        self.server = server
        self.peer = peer
        self.client = client
        self.counted = b""
        self.ids: set[bytes] = set()
        self.is_finishing = False
        self._is_closed = False
        self._one = one
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._asked: dict[int, int | None] = {}  # the stream of each query in flight, None if it was cancelled
        self._queries = 0
        self._cancelled = 0
        self._datagrams = 0

    @abstractmethod
    def event(self, event: QuicEvent) -> None:
        """Take what happened on a stream."""

    @abstractmethod
    def answer(self, stream_id: int, message: bytes, max_age: int) -> None:
        """Send an answer, or say that there is none, if the message is empty."""

    @abstractmethod
    def announce_end(self) -> None:
        """Announce that the client has to ask by another connection, if the protocol can."""

    def take(self, datagram: bytes) -> None:
        """Take a datagram from the client."""
        self._datagrams += 1
        if self._datagrams > DATAGRAMS + DATAGRAMS_A_QUERY * self._queries:
            self.refuse("flood", self.codes.load)
            return
        self._work(lambda: self.engine.receive_datagram(datagram, _PATH, self._loop.time()))

    def transmit(self) -> None:
        """Send what is to be sent, and wait for what is to come."""
        try:
            datagrams = self.engine.datagrams_to_send(self._loop.time())
            self._read_events()  # a connection id that is sent may come back at once
            for octets, _ in datagrams:
                self.server.send(self._one, octets, self.peer)
            if not self.engine.has_ended:
                self._arm()
                return
        except Exception:  # noqa: BLE001 - whatever it is that aioquic did not expect ends this connection alone
            self._break()
            return
        if self.engine.was_faulted and not self._is_closed:
            self.server.refused("protocol" if self.engine.is_established else "handshake")
        self.server.ended(self)

    def ask(self, stream_id: int, query: bytes) -> None:
        """Hand a query to the service."""
        self._queries += 1
        if len(self._asked) >= STREAMS:  # queries that were cancelled are in flight too
            self.refuse("flood", self.codes.load)
            return
        number = self._queries
        self._asked[number] = stream_id
        self.server.places.busy(self)
        self.server.post(query, self.client, self.transport, lambda *answer: self._answered(number, *answer))
        if number >= QUERIES:
            self.finish()
        if number >= QUERIES + STREAMS:
            self.close(self.codes.none)

    def cancel(self, stream_id: int) -> None:
        """Note that the client no longer wants what is on a stream."""
        for number, of in self._asked.items():
            if of == stream_id:
                self._asked[number] = None
        self._cancelled += 1
        if self._cancelled > CANCELLED and 2 * self._cancelled > self._queries:
            self.refuse("flood", self.codes.load)

    def refuse(self, reason: str, code: int) -> None:
        """Close because of what the client did."""
        if not self._is_closed:
            self.server.refused(reason)
            self.close(code)

    def close(self, code: int) -> None:
        """Close at once."""
        self._is_closed = True
        self.engine.close(code)
        self.server.touch(self)

    def abort(self) -> None:
        """Close at once: the place is another's (accept_limits.Holder)."""
        self.close(self.codes.load)

    def finish(self) -> None:
        """Close once all queries are answered (accept_limits.Holder)."""
        if not self.is_finishing:
            self.is_finishing = True
            self.announce_end()
            self.server.touch(self)
        self._close_if_done()

    def forget(self) -> None:
        """Stop the timer; nothing is sent any more."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()

    def _close_if_done(self) -> None:
        """Close if nothing is in flight. Answers must be acknowledged: aioquic sends none behind a close."""
        if self.is_finishing and not self._asked and not self._is_closed and not self.engine.unacknowledged():
            self.close(self.codes.none)

    def _work(self, step: Callable[[], None]) -> None:
        """Run a step of the state machine, and take its events."""
        if self._is_closed:
            return
        try:
            step()
            self._read_events()
        except Exception:  # noqa: BLE001 - as above
            self._break()
            return
        if self.engine.held() > HELD_OCTETS:
            self.refuse("slow", self.codes.load)
        self._close_if_done()
        self.server.touch(self)

    def _read_events(self) -> None:
        while (event := self.engine.next_event()) is not None:
            if isinstance(event, ConnectionIdIssued):
                self.server.issued(self, event.connection_id)
            elif isinstance(event, ConnectionIdRetired):
                self.server.retired(self, event.connection_id)
            elif isinstance(event, HandshakeCompleted):
                self.server.established(self)
            elif not self._is_closed:
                self.event(event)

    def _break(self) -> None:
        if not self._is_closed:
            self.server.refused("protocol" if self.engine.is_established else "handshake")
        self.server.ended(self)

    def _answered(self, number: int, message: bytes, max_age: int) -> None:
        stream_id = self._asked.pop(number)
        if self._is_closed:
            return
        if not self._asked:
            self.server.places.idle(self, self._loop.time())
        if stream_id is not None and self.engine.may_send(stream_id):
            try:
                self.answer(stream_id, message, max_age)
            except Exception:  # noqa: BLE001 - as above
                self._break()
                return
            if self.engine.held() > HELD_OCTETS:
                self.refuse("slow", self.codes.load)
            self.server.touch(self)
        self._close_if_done()

    def _arm(self) -> None:
        """Have the timer fire when the engine needs it; a timer that fires too early arms itself again."""
        at = self.engine.get_timer()
        if at is None or (self._timer is not None and self._timer_at <= at):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_at(at, self._fire)

    def _fire(self) -> None:
        self._timer = None
        at, now = self.engine.get_timer(), self._loop.time()
        if at is not None and now < at:
            self._arm()
            return
        self._work(lambda: self.engine.handle_timer(now))
