# cython: language_level=3, annotation_typing=False
"""Serves DNS over TLS (RFC 7858): length framing over a connection, each answer as soon as it is ready.

Rules:
- A message that cannot be framed (its length is shorter than a DNS header) ends the connection; one that is not
  answered does not.
- A connection has at most MOST_IN_FLIGHT queries without an answer. While it has so many, what comes waits
  (edge.taking).
- The answers of a turn of the loop leave in one write. Of a message nothing is read.
"""

from typing import TYPE_CHECKING, Final

from resolver.edge import bounds
from resolver.edge.taking import Taking

if TYPE_CHECKING:
    from resolver.edge.accept import Doors
    from resolver.edge.secured import Secured

ALPN: Final = "dot"
_LENGTH: Final = 2
_HEADER: Final = 12


class Dot(Taking):
    """The DNS messages of one connection."""

    def __init__(self, doors: "Doors", connection: "Secured", alpn: str | None) -> None:
        del alpn  # "dot" or none (RFC 8310 says neither way; no other is offered)
        super().__init__(doors, connection)
        self._said: list[bytes] = []
        self._waiting = 0

    def drain(self) -> None:
        """Take no more queries; close after the last answer."""
        self._draining = True
        if not self._waiting and not self._said:
            self._connection.close()

    def lost(self) -> None:
        """Forget what has come."""
        super().lost()
        self._said.clear()

    def flush(self) -> None:
        """Send the answers of this turn."""
        said, self._said = self._said, []
        if said:
            self._connection.send(b"".join(said))
        if not self._waiting:
            if self._draining:
                self._connection.close()
                return
            doors = self._doors
            doors.places.idle(self._connection, doors.loop.time())
        if self._unread:
            self._take()
        else:
            self._pace()

    def _is_busy(self) -> bool:
        return self._waiting >= bounds.MOST_IN_FLIGHT

    def _take(self) -> None:
        """Hand the complete queries to the service, while there is room and the turn lasts."""
        unread, at, taken, granted = self._unread, 0, 0, 0
        end, doors, client = len(unread), self._doors, self._connection.client
        most = bounds.MOST_IN_FLIGHT if self._has_room() else 0
        while self._waiting < most and end - at >= _LENGTH:
            start = at + _LENGTH
            size = unread[at] << 8 | unread[at + 1]
            if size < _HEADER:
                doors.refuse("protocol")
                unread, at = b"", 0
                self._draining = True
                break
            if end - start < size:
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
        self._unread = unread[at:]
        if taken:
            doors.took(taken)
            if self._waiting:
                doors.places.busy(self._connection)
        if self._draining:
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
