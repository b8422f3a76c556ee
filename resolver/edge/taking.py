# cython: language_level=3, annotation_typing=False
"""What DoT and both versions of HTTP have alike: octets of a connection that wait to be taken, a share in each turn.

Rules:
- Octets are kept until the turn comes and there is room. Reading stops once UNREAD_OCTETS are kept, not before: to stop
  and to go on again is five system calls.
- From a client that reads too slowly, or is to get its last answers, nothing is read.
- A client that sends no more gets the answers to all that it has sent whole.
- This module is compiled, as are `accept`, `link`, `secured` and `tls` (types in their .pxd): a query over DoT passes
  them twice. They decide in Python, and no index into octets goes unchecked.
"""

from typing import TYPE_CHECKING

from resolver.edge import bounds

if TYPE_CHECKING:
    from resolver.edge.accept import Doors
    from resolver.edge.secured import Secured


class Taking:
    """The octets of one connection that its protocol has not taken yet.

    A protocol says in `_take` what it takes, in `_is_busy` whether it takes none for now, and in `drain` how it ends.
    queued: it waits for a turn. ending: the client sends no more. draining: it takes no more. over: the connection ends
    with this turn, or is gone.
    """

    def __init__(self, doors: "Doors", connection: "Secured") -> None:
        self._doors = doors
        self._connection = connection
        self._unread = b""
        self._queued = self._ending = self._draining = self._over = False

    # What the connection calls (secured.Above).

    def received(self, data: bytes) -> None:
        """Take what has come."""
        self._unread = self._unread + data if self._unread else data
        self._take()

    def called(self) -> None:
        """Go on with what is there: the turn has come."""
        self._queued = False
        self._take()

    def ended(self) -> None:
        """Answer what has come, also what is not taken yet, then close (RFC 7766 6.2.4)."""
        self._ending = True
        self._take()

    def drain(self) -> None:
        """Take no more; close after the last answer."""
        raise NotImplementedError

    def lost(self) -> None:
        """Forget what has come."""
        self._over = True
        self._unread = b""

    def buffered(self) -> int:
        """Return how many octets are held."""
        return len(self._unread)

    # What a protocol has.

    def _take(self) -> None:
        raise NotImplementedError

    def _is_busy(self) -> bool:
        """Return whether it can take nothing for now, though the connection goes on."""
        raise NotImplementedError

    def _has_room(self) -> bool:
        return not (self._queued or self._draining or self._over or self._is_busy()) and self._connection.writable

    def _pace(self) -> None:
        """Read on, or not; after the last that can be taken of a client that sends no more, drain."""
        if self._draining or self._over:
            self._connection.pace(False)
        elif self._ending:
            if self._has_room():
                self.drain()
        else:
            self._connection.pace(len(self._unread) < bounds.UNREAD_OCTETS or self._has_room())
