"""One encrypted server: chooses the connection for each query, opens further ones, and tries again what may be tried.

Rules:
- A query goes to the connection with the fewest, of those that are open, if there are any. Another is opened if each
  has CROWDED or more, one after the other, up to CONNECTIONS.
- A query that is asked again before it was answered goes to another connection. The one that it was on is slow, and is
  chosen last, until something is answered there: it may be dead without a sign. It is on two at most, and
  the second one has fewer than REPEATED: names that the server never answers must leave places to others.
- What was on a connection that ends is asked once more over another one, if that connection was open: a server may
  close one at any time. Who cannot open one fails at once.
- After a connection that could not be opened, or that ended with a flood, none is opened for a while: PAUSE_S, doubled
  up to MOST_PAUSE_S. What is asked meanwhile fails for the same reason.
- The service also learns why a connection ended by which no query may have failed: where a verified server does not
  keep to its protocol, or nobody waited for the connection.
- A connection on which nothing has arrived since a query that nobody waits for any more is ended.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from resolver.courier.connection import Connection, Flight
from resolver.courier.dot import Dot
from resolver.courier.trust import Trust
from resolver.query.courier_frames import FAULTS, Reason, Settings

CONNECTIONS: Final = 8
CROWDED: Final = 16
REPEATED: Final = 24
PAUSE_S: Final = 0.1
MOST_PAUSE_S: Final = 1.0
_TRIES: Final = 2


class Upstream:
    """The connections to one server.

    answer, fail: called with what came of a query, by its number. notice: called with why a connection has ended.
    """

    def __init__(
        self,
        settings: Settings,
        answer: Callable[[int, bytes], None],
        fail: Callable[[int, Reason, int], None],
        notice: Callable[[Reason, int], None],
    ) -> None:
        self._settings = settings
        self._trust = Trust(settings)
        self._kind = kind_of(settings)
        self._answer = answer
        self._fail = fail
        self._notice = notice
        self._flights: dict[int, Flight] = {}
        self._answers_at: dict[int, int] = {}
        self.connections: list[Connection] = []
        self._loop = asyncio.get_running_loop()
        self._pause_s = 0.0
        self._not_before = float("-inf")
        self._why = (Reason.NETWORK, 0)

    def ask(self, number: int, query: bytes) -> None:
        """Ask the server, or ask it again over another connection."""
        flight = self._flights.get(number)
        if flight is not None:
            self._repeat(flight)
            return
        flight = self._flights[number] = Flight(number, query)
        if not self._place(flight, ()):
            self._leave(flight, *self._refusal())

    def forget(self, number: int) -> None:
        """Wait no longer for an answer."""
        flight = self._flights.pop(number, None)
        before = self._answers_at.pop(number, 0)
        if flight is None:
            return
        for connection in tuple(flight.on):
            connection.forget(flight)
            if connection.ready and len(flight.on) == 1 and connection.answers == before:
                connection.end(Reason.CLOSED)

    def close(self) -> None:
        """Close all connections."""
        self._flights = {}
        for connection in tuple(self.connections):
            connection.end(Reason.CLOSED)

    # For connections (connection.Owner).

    def opened(self, connection: Connection) -> None:
        """Note that connections can be opened."""
        self._pause_s, self._not_before = 0.0, float("-inf")

    def answered(self, connection: Connection, flight: Flight, message: bytes) -> None:
        """Hand an answer to the service, with the id of the query."""
        self._forget_elsewhere(connection, flight)
        if self._flights.pop(flight.number, None) is flight:
            self._answers_at.pop(flight.number, None)
            self._answer(flight.number, flight.query[:2] + message[2:])

    def failed(self, connection: Connection, flight: Flight, reason: Reason, detail: int = 0) -> None:
        """Fail a query, unless it is on another connection too."""
        flight.on.remove(connection)
        if not flight.on:
            self._leave(flight, reason, detail)

    def returned(self, connection: Connection, flight: Flight) -> None:
        """Ask a query over another connection that the server has not looked at."""
        if not flight.on and not (flight.tries < _TRIES and self._place(flight, (connection,))):
            self._leave(flight, Reason.CLOSED)

    def ended(self, connection: Connection, flights: Sequence[Flight], reason: Reason, detail: int) -> None:
        """Ask what was on a connection once more, if that was open."""
        self.connections.remove(connection)
        if not connection.ready or reason is Reason.FLOOD:
            self._why = reason, detail
            self._pause_s = min(max(PAUSE_S, 2 * self._pause_s), MOST_PAUSE_S)
            self._not_before = self._loop.time() + self._pause_s
        failed = 0
        for flight in flights:
            flight.on.remove(connection)
            if flight.on or self._flights.get(flight.number) is not flight:
                continue
            again = connection.ready and flight.tries < _TRIES
            if not (again and self._place(flight, ())):
                self._leave(flight, reason, detail)
                failed += 1
        if connection.ready and reason in FAULTS:
            self._notice(reason, failed)
        elif not connection.ready and not flights:
            self._notice(reason, detail)

    def _repeat(self, flight: Flight) -> None:
        if len(flight.on) >= _TRIES:
            return
        avoided = tuple(one for one in self.connections if one in flight.on or one.load >= REPEATED)
        usable = any(one.ready and one.takes and one not in avoided for one in self.connections)
        if not usable and any(not connection.ready for connection in flight.on):
            return
        for connection in flight.on:
            connection.slow = connection.ready
        self._place(flight, avoided)

    def _place(self, flight: Flight, avoided: tuple[Connection, ...]) -> bool:
        """Put a query on a connection; return whether there is one for it."""
        usable = [one for one in self.connections if one.takes and one not in avoided]
        best = min(usable, key=lambda one: (one.slow, not one.ready, one.load), default=None)
        is_full = best is not None and (best.slow or best.load >= CROWDED)
        if best is None or (is_full and all(one.ready for one in self.connections)):
            opened = self._opened()
            if best is None or best.slow:
                best = opened or best
        if best is None:
            return False
        self._answers_at[flight.number] = best.answers
        best.ask(flight)
        return True

    def _opened(self) -> Connection | None:
        """Return a new connection; None if there are enough, or none could be opened a moment ago."""
        if len(self.connections) >= CONNECTIONS or self._loop.time() < self._not_before:
            return None
        connection = self._kind(self, self._settings, self._trust)
        self.connections.append(connection)
        return connection

    def _refusal(self) -> tuple[Reason, int]:
        return (Reason.BUSY, 0) if self.connections else self._why

    def _leave(self, flight: Flight, reason: Reason, detail: int = 0) -> None:
        if self._flights.pop(flight.number, None) is flight:
            self._answers_at.pop(flight.number, None)
            self._fail(flight.number, reason, detail)

    def _forget_elsewhere(self, connection: Connection, flight: Flight) -> None:
        for other in tuple(flight.on):
            if other is not connection:
                other.forget(flight)


def kind_of(settings: Settings) -> type[Connection]:
    """Return the kind of connection that a server takes."""
    if settings.server.scheme == "tls":
        return Dot
    # Only servers of https:// need it.
    from resolver.courier.https import Https

    return Https
