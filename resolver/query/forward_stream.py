"""Asks one upstream over TCP, for answers that do not fit a datagram: over connections that are kept (RFC 7766).

Rules:
- An idle connection is used before another is opened, and closed after IDLE_S. The server may close one at any time: a
  query that meets this on a connection that has answered before is asked once more, over a new one.
- While queries are in flight on a connection it belongs to one client prefix, so that an answer that hangs delays only
  its own prefix. A prefix has at most PREFIX_STREAMS of the STREAMS connections; beyond that its queries share its
  connections, at most PIPELINED on each, answered in any order.
- If all connections are busy, the prefix that holds most loses one to a prefix that holds less: the connection that it
  has held longest is closed, and its queries fail as if their time were over.
- A connection on which a query was left unanswered takes no new one; it is closed after its last query.
- An answer counts only with the id and question of a query in flight there. Anything else is no DNS server's: the
  connection is closed, and its queries fail.
"""

from __future__ import annotations

import asyncio
import os
from typing import Protocol, cast

from resolver.config.values import Endpoint
from resolver.core import shares
from resolver.core.question import Question, matches, parse
from resolver.core.shares import SET_OCTETS, Shares
from resolver.query.forward_datagram import draw

STREAMS = 128
PREFIX_STREAMS = 32
PIPELINED = 64
IDLE_S = 10.0

_HEADER = 12
_SETS = 64
_ALL = 1 << 62
_question = Question()


class Asking(Protocol):
    """A query in flight.

    query: its octets, with the id that `replied_by_stream` hands answers over with. client: the first who asked.
    stream: the connection that it is on, which Stream sets.
    """

    query: bytes
    client: bytes
    stream: Stream | None

    def replied_by_stream(self, reply: bytes) -> None:
        """Take the answer."""

    def failed(self, reason: str) -> None:
        """Note that no answer will arrive; reason: one of forward_server.FAILURE_REASONS."""


class Stream(asyncio.Protocol):
    """One connection and the queries in flight on it.

    slot: of the prefix that it belongs to, as long as a query is in flight. left: a query was left unanswered.
    """

    def __init__(self, streams: Streams, endpoint: Endpoint, slot: int) -> None:
        self.slot = slot
        self.left = False
        self.flights: dict[int, Asking] = {}
        self._streams = streams
        self._unanswered: set[int] = set()
        self._again: set[Asking] = set()
        self._has_answered = False
        self._transport: asyncio.Transport | None = None
        self._queued: list[bytes] = []
        self._received = bytearray()
        self._idle: asyncio.TimerHandle | None = None
        self._closed = False
        self._connecting = asyncio.get_running_loop().create_task(self._connect(endpoint))

    def send(self, asking: Asking, *, again: bool = False) -> None:
        """Send a query; again: it is not asked another time if the connection ends."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        identity = draw()
        while identity in self.flights or identity in self._unanswered:
            identity = draw()
        self.flights[identity] = asking
        asking.stream = self
        if again:
            self._again.add(asking)
        framed = len(asking.query).to_bytes(2, "big") + identity.to_bytes(2, "big") + asking.query[2:]
        if self._transport is None:
            self._queued.append(framed)
        else:
            self._transport.write(framed)

    def forget(self, asking: Asking) -> None:
        """Wait no longer for the answer to this query."""
        for identity, one in self.flights.items():
            if one is asking:
                del self.flights[identity]
                self._unanswered.add(identity)
                self.left = True
                self._rest()
                return

    def close(self) -> None:
        """Close the connection; nothing learns of it."""
        self._closed = True
        self._connecting.cancel()
        if self._idle is not None:
            self._idle.cancel()
        if self._transport is not None:
            self._transport.abort()
        self._streams.lost(self, self._connecting)

    def fail(self, reason: str) -> None:
        """Close the connection; its queries fail from the loop, because its place is wanted in the middle of a call."""
        waiting, self.flights = self.flights, {}
        self.close()
        for asking in waiting.values():
            asyncio.get_running_loop().call_soon(asking.failed, reason)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send what is queued (asyncio.Protocol)."""
        self._transport = cast(asyncio.Transport, transport)
        if self._closed:
            self._transport.abort()
            return
        self._transport.write(b"".join(self._queued))
        self._queued = []

    def data_received(self, data: bytes) -> None:
        """Take the answers that are complete (asyncio.Protocol)."""
        self._received += data
        while len(self._received) >= 2 and not self._closed:
            end = 2 + (self._received[0] << 8 | self._received[1])
            if end < 2 + _HEADER:
                self.fail("network")
                return
            if len(self._received) < end:
                return
            reply = bytes(self._received[2:end])
            del self._received[:end]
            self._take(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        """Ask once more over another connection, if this one has answered before; else fail (asyncio.Protocol)."""
        if self._closed:
            return
        waiting, again = self.flights, self._again
        if not self._has_answered:
            self.fail("network")
            return
        self.flights = {}
        self.close()
        for asking in waiting.values():
            if asking in again or not self._streams.ask(asking, again=True):
                asyncio.get_running_loop().call_soon(asking.failed, "network")

    async def _connect(self, endpoint: Endpoint) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: self, endpoint.host, endpoint.port)
        except OSError:
            if not self._closed:
                self.fail("network")

    def _take(self, reply: bytes) -> None:
        identity = reply[0] << 8 | reply[1]
        if identity in self._unanswered:
            self._unanswered.discard(identity)
            return
        asking = self.flights.get(identity)
        if asking is None:
            self.fail("mismatch")
            return
        query = asking.query
        reply = query[:2] + reply[2:]
        parse(query, len(query), _question)
        if not matches(reply, len(reply), query, _question):
            self.fail("mismatch")
            return
        del self.flights[identity]
        self._again.discard(asking)
        self._has_answered = True
        self._rest()
        asking.replied_by_stream(reply)

    def _rest(self) -> None:
        """Let others use the connection if no query is in flight on it, or close it if one was left unanswered."""
        if self.flights or self._closed:
            return
        if self.left:
            self.close()
        else:
            self._streams.rested(self)
            self._idle = asyncio.get_running_loop().call_later(IDLE_S, self.close)


class Streams:
    """The connections to one upstream."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._shares = Shares(bytearray(_SETS * SET_OCTETS), os.urandom(16))
        self._idle: list[Stream] = []
        self._of: dict[int, dict[Stream, None]] = {}
        self._busy = 0
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def open(self) -> int:
        """The number of connections, those that are being opened too."""
        return self._busy + len(self._idle)

    def ask(self, asking: Asking, *, again: bool = False) -> bool:
        """Send the query over a connection, again: over a new one; return whether its prefix has room for it."""
        stream = self._taken(asking.client, fresh=again)
        if stream is None:
            return False
        stream.send(asking, again=again)
        return True

    def rested(self, stream: Stream) -> None:
        """Note that no query is in flight on a connection."""
        self._release(stream)
        self._idle.append(stream)

    def lost(self, stream: Stream, connecting: asyncio.Task[None]) -> None:
        """Note that a connection is closed; connecting: the task that opened it, or still has to end."""
        if not connecting.done():
            self._ending.add(connecting)
            connecting.add_done_callback(self._ending.discard)
        if stream in self._idle:
            self._idle.remove(stream)
        else:
            self._release(stream)

    async def close(self) -> None:
        """Close all connections."""
        for stream in [*self._idle, *(stream for of in self._of.values() for stream in of)]:
            stream.close()
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _taken(self, client: bytes, *, fresh: bool) -> Stream | None:
        """Return a connection for the prefix: an idle one, a new one, one that another gives up, or one of its own."""
        most, heaviest = PREFIX_STREAMS, shares.NONE
        if self._busy >= STREAMS:
            heaviest = shares.heaviest(self._shares)
            most = min(most, shares.held(self._shares, heaviest))
        slot = shares.take(self._shares, client, 1, most, 0)
        if slot < 0:
            return self._own(client)
        if heaviest >= 0:
            next(iter(self._of[heaviest])).fail("timeout")
        if self._idle and not fresh:
            stream = self._idle.pop()
            stream.slot = slot
        else:
            if self._idle and self.open >= STREAMS:
                self._idle[0].close()
            stream = Stream(self, self._endpoint, slot)
        self._of.setdefault(slot, {})[stream] = None
        self._busy += 1
        return stream

    def _own(self, client: bytes) -> Stream | None:
        slot = shares.take(self._shares, client, 0, _ALL, 0)
        mine = [one for one in self._of.get(slot, ()) if not one.left and len(one.flights) < PIPELINED]
        return min(mine, key=lambda one: len(one.flights), default=None)

    def _release(self, stream: Stream) -> None:
        of = self._of.get(stream.slot, {})
        if stream in of:
            del of[stream]
            if not of:
                del self._of[stream.slot]
            self._busy -= 1
            shares.give(self._shares, stream.slot, 1)
