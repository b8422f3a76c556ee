"""Queries over TCP: length framing under any segmentation, answers as they come (RFC 7766).

Rules:
- Bounded: connections in all, queries in flight on one, the time without a whole query, the life of a connection,
  what waits unsent. Who reads too slowly is not read from; who stays silent is closed.
- A connection whose query cannot be framed (a length under a header's) is closed; one whose query gets silence stays.
- Of all connections together only so many queries are taken in one turn of the loop, the connections one after the
  other: a crowd or a flood over TCP keeps neither each other nor UDP waiting.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Sequence
from typing import Any

from resolver.query.accept_datagram import Answering, Reply, client_octets
from resolver.values import Endpoint

MAX_CONNECTIONS = 2048
MAX_IN_FLIGHT = 128
QUERIES_A_TURN = 64
QUERIES_A_SHARE = 8
IDLE_S = 10.0
LIFE_S = 300.0
UNSENT_OCTETS = 2**18


class Streams:
    """The TCP side of the listening addresses."""

    def __init__(self, answer: Answering, *, idle_s: float = IDLE_S, life_s: float = LIFE_S) -> None:
        self.answer = answer
        self.idle_s = idle_s
        self.life_s = life_s
        self.connections: set[_Connection] = set()
        self._servers: list[asyncio.Server] = []
        self._left = QUERIES_A_TURN
        self._queue: deque[_Connection] = deque()

    @property
    def addresses(self) -> list[Endpoint]:
        """Where it listens."""
        return [Endpoint(*one.getsockname()[:2]) for server in self._servers for one in server.sockets]

    async def open(self, listen: Sequence[Endpoint]) -> None:
        """Bind every address and start to answer; raise OSError, with nothing left open, where one cannot be bound."""
        loop = asyncio.get_running_loop()
        try:
            for endpoint in listen:
                server = await loop.create_server(
                    self.accepted, endpoint.host, endpoint.port, backlog=1024, reuse_address=True
                )
                self._servers.append(server)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Take no more connections and no more queries."""
        for server in self._servers:
            server.close()
        for connection in self.connections:
            connection.drain()

    async def drained(self) -> None:
        """Wait for the answers on their way, then close all connections."""
        waiting = [task for connection in self.connections for task in connection.waiting]
        if waiting:
            await asyncio.wait(waiting)
        for connection in list(self.connections):
            connection.close()

    def accepted(self) -> "_Connection":
        """Return what serves one more connection."""
        return _Connection(self)

    def admits(self, connection: "_Connection", taken: int) -> bool:
        """Tell whether one more query may be taken now, after `taken`; else the connection is called again soon."""
        if self._left == 0 or taken >= QUERIES_A_SHARE:
            self._queue.append(connection)
            return False
        if self._left == QUERIES_A_TURN:
            asyncio.get_running_loop().call_soon(self._turn)
        self._left -= 1
        return True

    def _turn(self) -> None:
        """Begin a turn with those who wait, a share for each, as long as it lasts."""
        self._left = QUERIES_A_TURN
        while self._queue and self._left:
            self._queue.popleft().called()


class _Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, streams: Streams) -> None:
        self.waiting: set[asyncio.Task[None]] = set()
        self._streams = streams
        self._transport: Any = None
        self._client = b""
        self._unread = bytearray()
        self._draining = False
        self._writable = True
        self._queued = False
        self._timers: list[asyncio.TimerHandle] = []
        self._last_query = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        peer = transport.get_extra_info("peername")
        if not peer or len(self._streams.connections) >= MAX_CONNECTIONS:
            self._transport.abort()
            return
        self._client = client_octets(peer[0])
        self._transport.set_write_buffer_limits(high=UNSENT_OCTETS)
        self._streams.connections.add(self)
        loop = asyncio.get_running_loop()
        self._last_query = loop.time()
        self._timers = [
            loop.call_later(self._streams.idle_s, self._look),
            loop.call_later(self._streams.life_s, self.close),
        ]

    def connection_lost(self, exc: Exception | None) -> None:
        self._streams.connections.discard(self)
        for timer in self._timers:
            timer.cancel()
        self._unread.clear()

    def data_received(self, data: bytes) -> None:
        self._unread += data
        self._take()

    def eof_received(self) -> bool:
        """Keep the writing half for the answers on their way (RFC 7766 6.2.4)."""
        self._draining = True
        return bool(self.waiting)

    def pause_writing(self) -> None:
        self._writable = False
        self._pace()

    def resume_writing(self) -> None:
        self._writable = True
        self._take()

    def drain(self) -> None:
        """Take no more queries."""
        self._draining = True

    def close(self) -> None:
        """Close, with whatever is still unsent."""
        if self._transport is not None:
            self._transport.abort() if self._transport.is_closing() else self._transport.close()

    def called(self) -> None:
        """Take queries again: those that wait have come to their turn."""
        self._queued = False
        self._take()

    def _take(self) -> None:
        """Answer the whole queries that are here, as long as there is room for more answers and the turn lasts."""
        at = taken = 0
        unread = self._unread
        while self._has_room() and len(unread) - at >= 2:
            size = unread[at] << 8 | unread[at + 1]
            if size < 12:
                # Nothing that came is looked at again, however long the answers before it take to be read.
                unread.clear()
                self._draining = True
                self.close()
                return
            if len(unread) - at - 2 < size:
                break
            if not self._streams.admits(self, taken):
                self._queued = True
                break
            packet = bytes(unread[at + 2 : at + 2 + size])
            at += 2 + size
            taken += 1
            self._last_query = asyncio.get_running_loop().time()
            self._answer(packet)
        del unread[:at]
        self._pace()

    def _answer(self, packet: bytes) -> None:
        reply = self._streams.answer(packet, self._client, True)
        if isinstance(reply, bytes):
            self._send(reply)
        elif reply is not None:
            task = asyncio.ensure_future(self._later(reply))
            self.waiting.add(task)
            task.add_done_callback(self._done)

    async def _later(self, awaited: Awaitable[Reply]) -> None:
        reply = await awaited
        if reply is not None:
            self._send(reply)

    def _done(self, task: asyncio.Task[None]) -> None:
        self.waiting.discard(task)
        if self._draining and not self.waiting:
            self.close()
        elif self._unread:
            self._take()
        else:
            self._pace()

    def _send(self, reply: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(len(reply).to_bytes(2, "big") + reply)

    def _has_room(self) -> bool:
        return self._writable and not self._draining and not self._queued and len(self.waiting) < MAX_IN_FLIGHT

    def _pace(self) -> None:
        """Read on only while there is room; a closing transport has nothing to pause."""
        if self._transport.is_closing():
            return
        if self._has_room():
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def _look(self) -> None:
        """Close what has been idle; look again when it might be."""
        loop = asyncio.get_running_loop()
        idle_s = loop.time() - self._last_query
        if idle_s >= self._streams.idle_s and not self.waiting:
            self.close()
            # Whoever does not read what is left does not get to hold the connection either.
            self._timers[0] = loop.call_later(1.0, self._transport.abort)
        else:
            self._timers[0] = loop.call_later(max(0.05, self._streams.idle_s - idle_s), self._look)
