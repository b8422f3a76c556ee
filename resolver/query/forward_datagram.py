"""UDP to one upstream: many connected sockets on random ports, each asked a while and then drawn again.

Rules (RFC 5452 9):
- A socket is connected, so only its server's datagrams arrive; its port is the kernel's random choice.
- A query takes a random socket and a random id that is free on it; a reply counts only with id and question.
- A socket is replaced after so many queries or seconds, and closed once its last query is done; at once after an error,
  for uvloop's reader never wakes again after one.
- Where STRANGE datagrams come to a socket while queries wait on it, somebody guesses: the socket goes, and who waits on
  it is told, so as to ask in another way.
"""

import asyncio
import os
import socket
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from resolver.config.values import Endpoint
from resolver.core.question import Question, matches, parse

SOCKETS = 128
QUERIES_A_SOCKET = 2000
SECONDS_A_SOCKET = 60.0
STRANGE = 10
LARGEST = 65535

_received = memoryview(bytearray(LARGEST))
_question = Question()


def _numbers() -> Iterator[int]:
    """Random numbers of 16 bits from the kernel, many a system call."""
    while True:
        yield from memoryview(os.urandom(4096)).cast("H")


draw = _numbers().__next__
"""Return a random number of 16 bits."""


class Refused(Exception):
    """The server's host says that nothing listens there."""


class Asking(Protocol):
    """A query in flight: `query` are its octets, under the id that replies come back with."""

    query: bytes

    def replied(self, reply: bytes, found: int) -> None:
        """A reply came; found: as core.question.matches says."""

    def failed(self, reason: str) -> None:
        """The socket brings nothing more: a word of forward_server.FAILURE_REASONS."""

    def suspected(self) -> None:
        """Somebody guesses at the socket, which is gone."""


class Line:
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
            # It speaks of a query sent before, and is told once: here, not to the reader. Those who wait are told from
            # the loop: each may ask elsewhere and meet the same there, and that must not nest.
            self.retired = True
            self.loop.call_soon(self._fail, "refused")
            raise Refused from None
        self.flights[identity] = asking
        return identity

    def forget(self, identity: int, asking: Asking) -> None:
        """Wait no longer for this query; close a retired socket after its last."""
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
        """Close the socket; whoever waits is told."""
        if self.socket.fileno() >= 0:
            self.loop.remove_reader(self.socket.fileno())
            self.socket.close()
        self._fail("network")

    def _read(self) -> None:
        # One a call: with so many sockets more than one is rare, and to look for it costs a system call each time.
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
        # The id was this query's on this socket; from here on the reply has the query's own.
        _received[:2] = query[:2]
        parse(query, len(query), _question)
        found = matches(_received, size, query, _question)
        if found == 0:
            self._mismatch()
            return
        self.forget(identity, asking)
        asking.replied(bytes(_received[:size]), found)

    def _mismatch(self) -> None:
        """Count what answers no query in flight: forged, or later than anybody waits; only their number can tell."""
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
        """Send the query on a random socket and return where it waits; `now` is monotonic. Refused or OSError."""
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
            # No more sockets to be had: any that is open will do.
            spare = next((one for one in self._lines if one is not None and not one.retired), None)
            if spare is None:
                raise
            return spare
        if line is not None:
            line.retire()
        self._lines[number] = fresh
        return fresh
