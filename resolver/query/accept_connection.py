"""Serves one TCP connection: length framing under any segmentation, each answer as soon as it is ready (RFC 7766).

Rules:
- A query that cannot be framed (its length is shorter than a DNS header) ends the connection; a query that is not
  answered does not.
- Queries in flight and unsent octets are bounded. While a client reads too slowly, nothing is read from it.
- A client that closes its sending half still gets the answers to its queries (RFC 7766 6.2.4).
- A load balancer sends one PROXY header first, which names the client; without it the connection ends, and so it does
  if the client is not allowed. From any other sender the header ends the connection: read as a DNS message, it would
  announce a length that never arrives.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from resolver.core.proxy import SIGNATURE, Proxied, read
from resolver.query.accept_limits import Places
from resolver.query.transport import Reply, Taken, Taking, framed

MAX_IN_FLIGHT = 128
COPIED_OCTETS = 4096
UNSENT_OCTETS = 2**18
UNSENT_MOST = 2**20

_HEADER: Final = 12


class Shared(Protocol):
    """The parts that all connections of the TCP side share.

    dropped: called with the reason (core.codes) of each connection that is refused. trusted: returns whether an address
    (16 octets) is a load balancer's; None if there are none. allowed: returns whether a client may hold a connection.
    """

    answer: Taking
    dropped: Callable[[str], None]
    trusted: Callable[[bytes], bool] | None
    allowed: Callable[[bytes], bool]
    proxied: Proxied
    places: Places

    def granted(self, connection: Connection, taken: int) -> int:
        """Return how many more queries may be taken in this turn, after `taken`; if none, `called` follows soon."""

    def took(self, count: int) -> None:
        """Note how many of the granted queries were taken."""

    def moved(self, octets: int) -> None:
        """Count octets that were received or sent."""


class Connection(asyncio.Protocol):
    """One client's connection."""

    __slots__ = (
        "_client",
        "_gone",
        "_opening",
        "_queued",
        "_shared",
        "_transport",
        "_unread",
        "by_proxy",
        "counted",
        "draining",
        "waiting",
        "writable",
    )

    def __init__(self, shared: Shared, client: bytes) -> None:
        """Set up a connection of `client` (16 octets).

        by_proxy: the peer is a load balancer. counted: the prefix that the connection counts for (accept_limits).
        draining: no more queries are taken. writable: the client reads its answers fast enough.
        """
        self.by_proxy = shared.trusted is not None and shared.trusted(client)
        self.counted = b""
        self.waiting: set[asyncio.Task[None]] = set()
        self._shared = shared
        self._transport: Any = None
        self._client = client
        self._unread = bytearray()
        self._opening = True
        self.draining = False
        self.writable = True
        self._queued = False
        self._gone = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        if self._gone:
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(high=UNSENT_OCTETS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._shared.places.leave(self)
        self._unread.clear()

    def data_received(self, data: bytes) -> None:
        self._unread += data
        self._shared.moved(len(data))
        self._take()

    def eof_received(self) -> bool:
        """Keep the sending half open while queries wait for their answers (RFC 7766 6.2.4)."""
        self.draining = True
        if not self.waiting:
            self._end()
        return bool(self.waiting)

    def pause_writing(self) -> None:
        self.writable = False
        self._pace()

    def resume_writing(self) -> None:
        self.writable = True
        self._take()

    def drain(self) -> None:
        """Take no more queries, unless the first one is still on its way: a client that has just connected."""
        self.draining = self.draining or not self._opening

    def finish(self) -> None:
        """Take no more queries; close after the last answer."""
        self.draining = True
        if not self.waiting:
            self.close()

    def close(self) -> None:
        """Close as soon as the client has read all unsent octets."""
        self._end()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once and discard unsent octets."""
        self._gone = self.draining = True
        self._unread.clear()
        if self._transport is not None:
            self._transport.abort()

    def refuse(self, reason: str) -> None:
        """Count the reason and close at once."""
        self._shared.dropped(reason)
        self.abort()

    @property
    def reading(self) -> bool:
        """True while octets are taken from the client."""
        return self._transport is not None and bool(self._transport.is_reading())

    def buffered(self) -> int:
        """Return how many octets are buffered: of incomplete queries, and unsent."""
        unsent: int = self._transport.get_write_buffer_size() if self._transport is not None else 0
        return len(self._unread) + unsent

    def called(self) -> None:
        """Take queries again: a new turn has begun."""
        self._queued = False
        self._take()

    def _take(self) -> None:
        """Answer the complete queries received so far, while there is room for more answers and the turn lasts."""
        if self._opening and not self._opened():
            return
        taken, unread = 0, self._unread
        while self._has_room() and len(unread) >= 2:
            size = 2 + (unread[0] << 8 | unread[1])
            if len(unread) < size and size >= 2 + _HEADER:
                break
            granted = self._shared.granted(self, taken)
            if granted == 0:
                self._queued = True
                break
            most = min(granted, MAX_IN_FLIGHT - len(self.waiting))
            # A part of what came, for all of it would be copied as often as there are shares of a turn in it.
            found = self._shared.answer(bytes(unread[: max(COPIED_OCTETS, size)]), self._client, most)
            self._shared.took(found.queries)
            del unread[: found.used]
            taken += found.queries
            self._answered(found)
            if found.broken:
                # Discard the input: it must not be parsed again while the client reads earlier answers.
                unread.clear()
                self.draining = True
                self.close()
                return
        if taken:
            self._rest()
        self._pace()

    def _opened(self) -> bool:
        """Read a PROXY header before the first query; return whether queries may follow now."""
        unread, shared = self._unread, self._shared
        if not self.by_proxy:
            if unread.startswith(SIGNATURE):
                self.refuse("proxy")
            self._opening = SIGNATURE.startswith(unread[: len(SIGNATURE)])
            return not self._opening
        size = read(unread, len(unread), shared.proxied)
        if size < 0:
            return False
        if size == 0:
            self.refuse("proxy")
            return False
        del unread[:size]
        self._opening = False
        if not shared.proxied.local:
            self._client = bytes(shared.proxied.client)
            if not shared.allowed(self._client):
                self.refuse("not_allowed")
                return False
            if not shared.places.claim(self, self._client):
                self.refuse("connection_limit")
                return False
        return True

    def _answered(self, found: Taken) -> None:
        """Send the answers that are there in one write, and the others when they come."""
        if found.octets:
            self._send(found.octets)
        for awaited in found.waiting:
            task = asyncio.get_running_loop().create_task(self._later(awaited))
            self.waiting.add(task)
            task.add_done_callback(self._done)

    async def _later(self, awaited: Awaitable[Reply]) -> None:
        reply = await awaited
        if reply is not None:
            self._send(framed(reply))

    def _done(self, task: asyncio.Task[None]) -> None:
        self.waiting.discard(task)
        if self.draining and not self.waiting:
            self.close()
            return
        self._rest()
        if self._unread:
            self._take()
        else:
            self._pace()

    def _send(self, octets: bytes) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(octets)
        self._shared.moved(len(octets))
        if not self.writable and self._transport.get_write_buffer_size() > UNSENT_MOST:
            self.refuse("connection_limit")

    def _has_room(self) -> bool:
        return self.writable and not self.draining and not self._queued and len(self.waiting) < MAX_IN_FLIGHT

    def _rest(self) -> None:
        """Report to `places` whether a query of this connection waits for its answer."""
        places = self._shared.places
        if self.waiting:
            places.busy(self)
        else:
            places.idle(self, asyncio.get_running_loop().time())

    def _end(self) -> None:
        self._shared.places.ending(self, asyncio.get_running_loop().time())

    def _pace(self) -> None:
        """Read only while there is room for queries; a closing transport cannot be paused."""
        if self._transport.is_closing():
            return
        if self._has_room():
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()
