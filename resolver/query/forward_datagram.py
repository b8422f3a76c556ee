"""Asks one upstream over UDP: many connected sockets on random ports, each replaced after a while.

Rules (RFC 5452 9):
- A socket is connected, so that only its server's datagrams arrive; the kernel chooses its port at random.
- A query takes a random socket and a random id that is free on it; an answer counts only with that id and question.
- A socket is replaced after QUERIES_A_SOCKET or SECONDS_A_SOCKET, and closed after its last query; at once after an
  error, because uvloop's reader never wakes again after one.
- If STRANGE datagrams arrive at a socket while queries wait on it, somebody guesses ids: the socket is closed, and its
  queries are reported as suspected, so that they are asked over TCP.
"""

import asyncio
import os
import socket
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from resolver.config.values import Endpoint, sockaddr
from resolver.core.question import Question, matches, parse

SOCKETS = 128
QUERIES_A_SOCKET = 2000
SECONDS_A_SOCKET = 60.0
STRANGE = 10
LARGEST = 65535

_received = memoryview(bytearray(LARGEST))
_question = Question()


def _numbers() -> Iterator[int]:
    """Yield random numbers of 16 bits from the kernel, many for each system call."""
    while True:
        yield from memoryview(os.urandom(4096)).cast("H")


draw = _numbers().__next__
"""Return a random number of 16 bits."""


class Refused(Exception):
    """Raised if the server's host reports that nothing listens on the port."""


class Asking(Protocol):
    """A query in flight. query: its octets, with the id that `replied` hands answers over with."""

    query: bytes

    def replied(self, reply: bytes, found: int) -> None:
        """Take an answer; found: the result of core.question.matches."""

    def failed(self, reason: str) -> None:
        """Note that no answer will arrive; reason: one of forward_server.FAILURE_REASONS."""

    def suspected(self) -> None:
        """Note that the socket was closed because somebody guesses ids on it."""


class Line:
    """One connected socket and the queries in flight on it."""

    def __init__(self, endpoint: Endpoint, mismatched: Callable[[], None]) -> None:
        self.mismatched = mismatched
        self.loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self.socket.connect(sockaddr(endpoint))
        except OSError:
            self.socket.close()
            raise
        self.loop.add_reader(self.socket.fileno(), self._read)
        self.flights: dict[int, Asking] = {}
        self.left = QUERIES_A_SOCKET
        self.until = time.monotonic() + SECONDS_A_SOCKET
        self.retired = False
        self.strange = 0

    def send(self, asking: Asking) -> int:
        """Send the query under a free random id, and return the id; raise Refused or OSError."""
        if not self.flights:
            self.strange = 0
        identity = draw()
        while identity in self.flights:
            identity = draw()
        self.left -= 1
        try:
            self.socket.send(identity.to_bytes(2, "big") + asking.query[2:])
        except ConnectionRefusedError:
            # The error is that of an earlier query, and the kernel reports it once: here, not to the reader. The
            # waiting queries fail from the loop: each may ask another server and fail there too, which must not nest.
            self.retired = True
            self.loop.call_soon(self._fail, "refused")
            raise Refused from None
        self.flights[identity] = asking
        return identity

    def forget(self, identity: int, asking: Asking) -> None:
        """Wait no longer for this query; close a retired socket after its last query."""
        if self.flights.get(identity) is asking:
            del self.flights[identity]
        if self.retired and not self.flights:
            self.close()

    def retire(self) -> None:
        """Take no more queries."""
        self.retired = True
        if not self.flights:
            self.close()

    def close(self) -> None:
        """Close the socket and fail the queries that wait on it."""
        if self.socket.fileno() >= 0:
            self.loop.remove_reader(self.socket.fileno())
            self.socket.close()
        self._fail("network")

    def _read(self) -> None:
        # One datagram a call: with so many sockets a second is rare, and looking for it costs a system call.
        try:
            size = self.socket.recv_into(_received)
        except BlockingIOError:
            return
        except OSError as error:
            self.retired = True
            self._fail("refused" if isinstance(error, ConnectionRefusedError) else "network")
            return
        identity = _received[0] << 8 | _received[1]
        asking = self.flights.get(identity) if size >= 12 else None
        if asking is None:
            self._mismatch()
            return
        query = asking.query
        # The id was that of this query on this socket; from here on the answer has the query's own id.
        _received[:2] = query[:2]
        parse(query, len(query), _question)
        found = matches(_received, size, query, _question)
        if found == 0:
            self._mismatch()
            return
        self.forget(identity, asking)
        asking.replied(bytes(_received[:size]), found)

    def _mismatch(self) -> None:
        """Count a datagram that answers no query in flight, and close the socket at STRANGE of them.

        One such datagram is forged or late; only their number shows that somebody guesses.
        """
        self.mismatched()
        if self.flights:
            self.strange += 1
        if self.strange < STRANGE:
            return
        waiting, self.flights = self.flights, {}
        self.retired = True
        self.close()
        for asking in waiting.values():
            asking.suspected()

    def _fail(self, reason: str) -> None:
        waiting, self.flights = self.flights, {}
        for asking in waiting.values():
            asking.failed(reason)
        if self.retired and self.socket.fileno() >= 0:
            self.close()


class Datagrams:
    """The sockets towards one upstream; `mismatched` is called for each datagram that answers no query in flight."""

    def __init__(self, endpoint: Endpoint, mismatched: Callable[[], None]) -> None:
        self._endpoint = endpoint
        self._mismatched = mismatched
        self._lines: list[Line | None] = [None] * SOCKETS

    @property
    def in_flight(self) -> int:
        """The number of queries that are still known on any socket."""
        return sum(len(line.flights) for line in self._lines if line is not None)

    def send(self, asking: Asking, now: float) -> tuple[Line, int]:
        """Send the query on a random socket; return the socket and the id. now: monotonic. Raise Refused or OSError."""
        line = self._line(draw() % SOCKETS, now)
        return line, line.send(asking)

    def close(self) -> None:
        """Close all sockets."""
        for line in self._lines:
            if line is not None:
                line.close()
        self._lines = [None] * SOCKETS

    def _line(self, number: int, now: float) -> Line:
        line = self._lines[number]
        if line is not None and not line.retired and line.left > 0 and line.until >= now:
            return line
        try:
            fresh = Line(self._endpoint, self._mismatched)
        except OSError:
            # No new socket can be opened: use any that is open.
            spare = next((one for one in self._lines if one is not None and not one.retired), None)
            if spare is None:
                raise
            return spare
        if line is not None:
            line.retire()
        self._lines[number] = fresh
        return fresh
