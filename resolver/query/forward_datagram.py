"""UDP to one upstream: many connected sockets on random ports, each asked a while and then drawn again.

Rules (RFC 5452 9):
- A socket is connected, so only its server's datagrams arrive; its port is the kernel's random choice.
- A query takes a random socket and a random id that is free on it; a reply counts only with id and question.
- A socket is replaced after so many queries or seconds, and closed once its last query is done.
"""

import asyncio
import random
import socket
import time
from collections.abc import Callable

from resolver.core.question import Question, matches
from resolver.values import Endpoint

SOCKETS = 128
QUERIES_A_SOCKET = 2000
SECONDS_A_SOCKET = 60.0
LARGEST = 65535

_random = random.SystemRandom()
_received = memoryview(bytearray(LARGEST))


class Refused(Exception):
    """The server's host says that nothing listens there."""


class _Flight:
    """One query in flight: its octets under the id it was sent with, what was read from them, who waits."""

    __slots__ = ("query", "question", "reply")

    def __init__(self, query: bytes, question: Question, reply: asyncio.Future[bytes]) -> None:
        self.query = query
        self.question = question
        self.reply = reply


class _Line:
    """One connected socket and the queries in flight on it."""

    def __init__(self, endpoint: Endpoint, mismatched: Callable[[], None]) -> None:
        self.mismatched = mismatched
        self.loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self.socket.connect((endpoint.host, endpoint.port))
        except OSError:
            self.socket.close()
            raise
        self.loop.add_reader(self.socket.fileno(), self._read)
        self.flights: dict[int, _Flight] = {}
        self.left = QUERIES_A_SOCKET
        self.until = time.monotonic() + SECONDS_A_SOCKET
        self.retired = False

    def send(self, query: bytes, question: Question) -> tuple[int, asyncio.Future[bytes]]:
        """Send the query under a free random id; return the id and the reply to wait for."""
        identity = _random.getrandbits(16)
        while identity in self.flights:
            identity = _random.getrandbits(16)
        sent = identity.to_bytes(2, "big") + query[2:]
        reply: asyncio.Future[bytes] = self.loop.create_future()
        self.flights[identity] = _Flight(sent, question, reply)
        self.left -= 1
        try:
            self.socket.send(sent)
        except ConnectionRefusedError:
            # It speaks of a query sent before, and is told once: here, not to the reader.
            self.forget(identity)
            self._refuse()
            raise Refused from None
        except OSError:
            self.forget(identity)
            raise
        return identity, reply

    def forget(self, identity: int) -> None:
        """Wait no longer for this query; close a retired socket after its last."""
        self.flights.pop(identity, None)
        if self.retired and not self.flights:
            self.close()

    def retire(self) -> None:
        """Take no more queries."""
        self.retired = True
        if not self.flights:
            self.close()

    def close(self) -> None:
        """Close the socket; whoever waits is told."""
        if self.socket.fileno() >= 0:
            self.loop.remove_reader(self.socket.fileno())
            self.socket.close()
        for flight in self.flights.values():
            if not flight.reply.done():
                flight.reply.set_exception(ConnectionAbortedError())
        self.flights = {}

    def _read(self) -> None:
        for _ in range(64):
            try:
                size = self.socket.recv_into(_received)
            except BlockingIOError:
                return
            except ConnectionRefusedError:
                self._refuse()
                return
            except OSError:
                return
            flight = self.flights.get(_received[0] << 8 | _received[1]) if size >= 12 else None
            if flight is None or matches(_received, size, flight.query, flight.question) != 1:
                # Late after its time was up, or forged: only their number can tell.
                self.mismatched()
            elif not flight.reply.done():
                flight.reply.set_result(bytes(_received[:size]))

    def _refuse(self) -> None:
        for flight in self.flights.values():
            if not flight.reply.done():
                flight.reply.set_exception(Refused())


class Datagrams:
    """The sockets towards one upstream; `mismatched` is called for each datagram that answers no query in flight."""

    def __init__(self, endpoint: Endpoint, mismatched: Callable[[], None]) -> None:
        self._endpoint = endpoint
        self._mismatched = mismatched
        self._lines: list[_Line | None] = [None] * SOCKETS

    async def ask(self, query: bytes, question: Question, wait_s: float) -> bytes:
        """Return the reply to `query`, under the query's own id; raise TimeoutError, Refused or OSError."""
        line = self._line(_random.randrange(SOCKETS))
        identity, reply = line.send(query, question)
        timer = line.loop.call_later(wait_s, _expire, reply)
        try:
            return query[:2] + (await reply)[2:]
        finally:
            timer.cancel()
            line.forget(identity)

    def close(self) -> None:
        """Close all sockets."""
        for line in self._lines:
            if line is not None:
                line.close()
        self._lines = [None] * SOCKETS

    def _line(self, number: int) -> _Line:
        line = self._lines[number]
        if line is not None and (line.left <= 0 or line.until < time.monotonic()):
            line.retire()
            line = None
        if line is None:
            line = self._lines[number] = _Line(self._endpoint, self._mismatched)
        return line


def _expire(reply: asyncio.Future[bytes]) -> None:
    if not reply.done():
        reply.set_exception(TimeoutError())
