"""One connection to an encrypted server: TCP and TLS; `dot` and `https` say how a message travels on it.

Rules:
- Nothing is sent before the server is verified; what waits until then is sent in its order.
- Opening takes HANDSHAKE_S at most. A connection without a query closes after IDLE_S.
- A server that leaves WAITING_OCTETS of ours unread, or sends EMPTY_OCTETS without an answer in them, loses the
  connection.
- What comes is decrypted in small pieces, and its records are counted: a server may have BARE_RECORDS of them that
  bring no data. Else it could have us derive keys without end (RFC 8446 4.6.3).
- A query that nobody waits for any more keeps its id until it is answered, but no place: names that a server never
  answers must not keep out others. A connection with more than LEFT of these ends.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from typing import Final, Protocol, cast

from resolver.courier.padding import padded
from resolver.courier.trust import NotTrusted, Trust, refusal
from resolver.process.tls_records import Records
from resolver.query.courier_frames import Reason, Settings
from resolver.query.forward_connect import connected

HANDSHAKE_S: Final = 5.0
IDLE_S: Final = 10.0
PIPELINED: Final = 128
LEFT: Final = 256
WAITING_OCTETS: Final = 2**20
EMPTY_OCTETS: Final = 2**20
BARE_RECORDS: Final = 64
"""Records without data that a connection may bring: a few are tickets, or keys after very many records."""
QUERIES: Final = 100_000
"""After so many queries a connection is replaced."""
_READ_OCTETS: Final = 2**14
_PIECE_OCTETS: Final = 4096


class Flight:
    """A query of the service. on: the connections that it was sent on. tries: how often it was placed on one."""

    __slots__ = ("number", "on", "query", "tries")

    def __init__(self, number: int, query: bytes) -> None:
        self.number = number
        self.query = query
        self.on: list[Connection] = []
        self.tries = 0

    @property
    def padded(self) -> bytes:
        """The query as it is sent."""
        return padded(self.query)


class Owner(Protocol):
    """What has the connections to one server (upstream.Upstream)."""

    def opened(self, connection: Connection) -> None:
        """Note that a connection is open, and its server verified."""

    def answered(self, connection: Connection, flight: Flight, message: bytes) -> None:
        """Take an answer, with an id of its own."""

    def failed(self, connection: Connection, flight: Flight, reason: Reason, detail: int = 0) -> None:
        """Note that a query has failed, and the connection goes on."""

    def returned(self, connection: Connection, flight: Flight) -> None:
        """Take back a query that the server has not looked at."""

    def ended(self, connection: Connection, flights: Sequence[Flight], reason: Reason, detail: int) -> None:
        """Note the end of a connection, and take back its queries."""


class Connection(asyncio.Protocol):
    """One connection. flights: its queries, by what the protocol calls them. left: those that nobody waits for.

    ready: the server is verified. retired: it takes no new query. slow: a query was asked again elsewhere, and nothing
    has been answered since. answers: their number. paused: nothing is read.
    """

    def __init__(self, owner: Owner, settings: Settings, trust: Trust) -> None:
        self.flights: dict[int, Flight] = {}
        self.left: set[int] = set()
        self.ready = self.retired = self.slow = self.paused = False
        self.answers = 0
        self._owner = owner
        self._trust = trust
        self._begun = 0
        self._empty = self._bare = 0
        self._records = Records()
        self._waiting: list[Flight] = []
        self._unsent: list[bytes] = []
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        self._transport: asyncio.Transport | None = None
        self._over = False
        self._flushing = False
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = self._loop.call_later(HANDSHAKE_S, self.end, Reason.SLOW)
        self._opening = self._loop.create_task(self._open(settings))

    @property
    def load(self) -> int:
        """The number of queries on it, those that wait for it to open too; not those that nobody waits for."""
        return len(self.flights) + len(self._waiting)

    @property
    def most(self) -> int:
        """The number of queries that it may have."""
        return PIPELINED

    @property
    def takes(self) -> bool:
        """Return whether it takes another query."""
        return not (self._over or self.retired) and self.load < self.most

    def ask(self, flight: Flight) -> None:
        """Send a query, or have it wait until the connection is open."""
        flight.on.append(self)
        flight.tries += 1
        self._begun += 1
        if self._begun >= QUERIES:
            self.retired = True
        if self.ready:
            self._stop_timer()
            self.begin(flight)
            self.flush_soon()
        else:
            self._waiting.append(flight)

    def forget(self, flight: Flight) -> None:
        """Wait no longer for an answer to this query."""
        if flight in self._waiting:
            self._waiting.remove(flight)
        for identity, one in self.flights.items():
            if one is flight:
                del self.flights[identity]
                self.leave(identity)
                break
        self._rest()

    def retire(self) -> None:
        """Take no new query, and close after the last one."""
        self.retired = True
        self._rest()

    def end(self, reason: Reason, detail: int = 0) -> None:
        """Close the connection, and give its queries back."""
        if self._over:
            return
        self._over = True
        self._stop_timer()
        self._opening.cancel()
        if self._transport is not None:
            self._transport.abort()
        flights = [*self.flights.values(), *self._waiting]
        self.flights, self._waiting = {}, []
        self._owner.ended(self, flights, reason, detail)

    def pause(self) -> None:
        """Read nothing for a while: the service does not take what was read."""
        self.paused = True
        if self._transport is not None:
            self._transport.pause_reading()

    def go_on(self) -> None:
        """Read again."""
        self.paused = False
        if self._transport is not None:
            self._transport.resume_reading()

    # What the protocol on it does.

    def begin(self, flight: Flight) -> None:
        """Write the query to `write`, and note it in `flights`."""
        raise NotImplementedError

    def opened(self) -> None:
        """Write what comes before the first query."""

    def leave(self, identity: int) -> None:
        """Note that nobody waits for this query any more."""
        self.left.add(identity)
        if len(self.left) > LEFT:
            self.end(Reason.CLOSED)

    def received(self, data: bytes) -> None:
        """Take what the server has sent."""
        raise NotImplementedError

    def write(self, data: bytes) -> None:
        """Note what is to be encrypted; `flush_soon` sends it, all of a turn in one record."""
        if data:
            self._unsent.append(data)

    def answer(self, identity: int, message: bytes) -> None:
        """Take the message that answers this query; its id does not count."""
        self.answers += 1
        self.slow = False
        self._empty = 0
        if identity in self.left:
            self.left.discard(identity)
        else:
            self._owner.answered(self, self.flights.pop(identity), message)
        if self.answers == 1 and self._tls is not None:
            self._trust.keep(self._tls)
        self._rest()

    def refuse(self, identity: int, reason: Reason, detail: int = 0) -> None:
        """Fail one query."""
        self.left.discard(identity)
        flight = self.flights.pop(identity, None)
        if flight is not None:
            self._owner.failed(self, flight, reason, detail)
        self._rest()

    def give_back(self, identity: int) -> None:
        """Give back a query that the server has not looked at."""
        self.left.discard(identity)
        flight = self.flights.pop(identity, None)
        if flight is not None:
            flight.on.remove(self)
            self._owner.returned(self, flight)
        self._rest()

    def flush_soon(self) -> None:
        """Send what is written once all that is written in this turn of the loop is there."""
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    # asyncio.Protocol.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake (asyncio.Protocol)."""
        self._transport = cast(asyncio.Transport, transport)
        if self._over:
            self._transport.abort()
            return
        try:
            self._tls = self._trust.begin(self._incoming, self._outgoing)
        except NotTrusted as why:
            self.end(why.reason, why.detail)
            return
        self._advance()

    def data_received(self, data: bytes) -> None:
        """Decrypt what has arrived (asyncio.Protocol)."""
        for at in range(0, len(data), _PIECE_OCTETS):
            if self._over:
                return
            self._decrypt(data[at : at + _PIECE_OCTETS])

    def eof_received(self) -> None:
        """Give the queries back: the server closes (asyncio.Protocol)."""
        self.end(Reason.CLOSED if self.ready else Reason.TLS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the queries back (asyncio.Protocol)."""
        self.end(Reason.CLOSED if self.ready or exc is None else Reason.NETWORK)

    def _decrypt(self, piece: bytes) -> None:
        was_ready = self.ready
        self._empty += len(piece)
        self._incoming.write(piece)
        # A record that is whole only later counts as bare until then.
        self._bare += self._records.begun(piece)
        self._advance()
        self._bare = max(0, self._bare) if was_ready else 0
        if self._bare > BARE_RECORDS:
            self.end(Reason.FLOOD)
        elif self._empty > EMPTY_OCTETS:
            self.end(Reason.GARBLED)

    def _advance(self) -> None:
        if self._tls is None:
            return
        try:
            if not self.ready:
                self._tls.do_handshake()
                self._trust.verify(self._tls)
                self._begin_all()
            while not self._over and (self._incoming.pending or self._tls.pending()):
                data = self._tls.read(_READ_OCTETS)
                if not data:
                    raise ssl.SSLZeroReturnError
                self._bare -= 1
                self.received(data)
        except ssl.SSLWantReadError:
            pass  # More has to arrive.
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            self.end(Reason.CLOSED)
            return
        except NotTrusted as why:
            self.end(why.reason, why.detail)
            return
        except ssl.SSLError as error:
            self._unsent = []
            self._flush()  # The alert says to the server why.
            refused = NotTrusted(Reason.GARBLED) if self.ready else refusal(error)
            self.end(refused.reason, refused.detail)
            return
        self._flush()

    def _begin_all(self) -> None:
        self.ready = True
        self._empty = 0
        self._stop_timer()
        self.opened()
        waiting, self._waiting = self._waiting, []
        for flight in waiting:
            self.begin(flight)
        self._owner.opened(self)
        self._rest()

    def _flush(self) -> None:
        self._flushing = False
        if self._transport is None or self._over:
            return
        if self._unsent and self._tls is not None:
            said, self._unsent = self._unsent, []
            try:
                self._tls.write(b"".join(said))
            except ssl.SSLError:
                self.end(Reason.CLOSED)
                return
        if self._outgoing.pending:
            self._transport.write(self._outgoing.read())
            if self._transport.get_write_buffer_size() > WAITING_OCTETS:
                self.end(Reason.NETWORK)

    def _rest(self) -> None:
        """Close a connection that has no query, at once or after a while."""
        if self._over or not self.ready or self.flights:
            return
        if self.retired:
            self.end(Reason.CLOSED)
        elif self._timer is None:
            self._timer = self._loop.call_later(IDLE_S, self.end, Reason.CLOSED)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _open(self, settings: Settings) -> None:
        try:
            sock = await connected(settings.server)
            await self._loop.create_connection(lambda: self, sock=sock)
        except ConnectionRefusedError:
            self.end(Reason.REFUSED)
        except OSError:
            self.end(Reason.NETWORK)
