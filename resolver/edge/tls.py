"""Serves DNS over TLS (RFC 7858): length framing over a connection, each answer as soon as it is ready.

Rules:
- A message that cannot be framed (its length is shorter than a DNS header) ends the connection; one that is not
  answered does not.
- A connection has at most MOST_IN_FLIGHT queries without an answer. While it has so many, or its client reads too
  slowly, nothing is read from it.
- The answers of a turn of the loop leave in one write. Of a message nothing is read.
"""

from typing import Final

from resolver.edge import bounds
from resolver.edge.accept import Doors
from resolver.edge.secured import Secured

ALPN: Final = "dot"
_LENGTH: Final = 2
_HEADER: Final = 12


class Dot:
    """The DNS messages of one connection."""

    __slots__ = ("_connection", "_doors", "_draining", "_ending", "_queued", "_said", "_unread", "_waiting")

    def __init__(self, doors: Doors, connection: Secured, alpn: str | None) -> None:
        del alpn  # "dot" or none (RFC 8310 says neither way; no other is offered)
        self._doors = doors
        self._connection = connection
        self._unread = b""
        self._said: list[bytes] = []
        self._waiting = 0
        self._queued = False
        self._ending = False
        self._draining = False

    def received(self, data: bytes) -> None:
        """Take the queries that have come."""
        self._unread = self._unread + data if self._unread else data
        self._take()

    def called(self) -> None:
        """Take queries again."""
        self._queued = False
        self._take()

    def ended(self) -> None:
        """Answer what has come, also what is not taken yet, then close (RFC 7766 6.2.4)."""
        self._ending = True
        self._take()

    def drain(self) -> None:
        """Take no more queries; close after the last answer."""
        self._draining = True
        if not self._waiting and not self._said:
            self._connection.close()

    def lost(self) -> None:
        """Forget what has come."""
        self._draining = True
        self._unread = b""
        self._said.clear()

    def buffered(self) -> int:
        """Return the octets of incomplete queries."""
        return len(self._unread)

    def flush(self) -> None:
        """Send the answers of this turn."""
        said, self._said = self._said, []
        if said:
            self._connection.send(b"".join(said))
        if not self._waiting:
            if self._draining:
                self._connection.close()
                return
            places = self._doors.places
            places.idle(self._connection, self._doors.loop.time())
        if self._unread or self._ending:
            self._take()
        else:
            self._pace()

    def _has_room(self) -> bool:
        return (
            not self._queued
            and not self._draining
            and self._waiting < bounds.MOST_IN_FLIGHT
            and self._connection.writable
        )

    def _take(self) -> None:
        """Hand the complete queries to the service, while there is room and the turn lasts."""
        unread, at, taken, granted = self._unread, 0, 0, 0
        end, doors, client = len(unread), self._doors, self._connection.client
        all_taken = False
        while self._has_room():
            start = at + _LENGTH
            if end < start:
                all_taken = True
                break
            size = unread[at] << 8 | unread[at + 1]
            if size < _HEADER:
                self._unread = b""
                doors.refuse("protocol")
                self.drain()
                return
            if end - start < size:
                all_taken = True
                break
            if taken == granted:
                more = doors.granted(self._connection, taken)
                if more == 0:
                    self._queued = True
                    break
                granted += more
            taken += 1
            at = start + size
            self._waiting += 1
            doors.post(unread[start:at], client, self._done)
        self._unread = unread[at:] if at else unread
        if taken:
            doors.took(taken)
            if self._waiting:
                doors.places.busy(self._connection)
        if all_taken and self._ending:
            self.drain()
        self._pace()

    def _done(self, message: bytes, max_age: int) -> None:
        """Take an answer, which leaves at the end of the turn."""
        del max_age
        self._waiting -= 1
        if message:
            self._said.append(len(message).to_bytes(2, "big"))
            self._said.append(message)
        self._doors.says(self._connection)

    def _pace(self) -> None:
        self._connection.pace(reads=self._has_room())
