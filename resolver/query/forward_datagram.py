"""Asks one upstream over UDP: many connected sockets on random ports, each replaced after a while.

Rules (RFC 5452 9):
- A socket is connected, so that only its server's datagrams arrive; the kernel chooses its port at random.
- A query takes a random socket and a random id that is free on it; an answer counts only with that id and question.
- A socket is replaced after QUERIES_A_SOCKET or SECONDS_A_SOCKET, and closed after its last query.
- An ICMP error is a hint: anybody can send one who guesses the port, and its queries may still be answered. They go on,
  and learn of it. REFUSALS errors in a row without any answer show that the server is closed. A datagram causes at most
  one error: one more than was sent on a socket is forged, and for FORGED_S no error is believed.
- If STRANGE datagrams arrive at a socket while queries wait on it, somebody guesses ids: the socket is closed, and its
  queries are reported as suspected, so that they are asked over TCP.
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
REFUSALS = 3
FORGED_S = 30.0
LARGEST = 65535

_received = memoryview(bytearray(LARGEST))
_question = Question()


def _numbers() -> Iterator[int]:
    """Yield random numbers of 16 bits from the kernel, many for each system call."""
    while True:
        yield from memoryview(os.urandom(4096)).cast("H")


draw = _numbers().__next__
"""Return a random number of 16 bits."""


class Asking(Protocol):
    """A query in flight. query: its octets, with the id that `replied` hands answers over with."""

    query: bytes

    def replied(self, reply: bytes, found: int) -> None:
        """Take an answer; found: the result of core.question.matches."""

    def failed(self, reason: str) -> None:
        """Note that no answer will arrive; reason: one of forward_server.FAILURE_REASONS."""

    def hinted(self, reason: str) -> None:
        """Note that an ICMP error says that no answer will arrive; reason as for `failed`."""

    def suspected(self) -> None:
        """Note that the socket was closed because somebody guesses ids on it."""


class Line:
    """One connected socket and the queries in flight on it."""

    def __init__(self, endpoint: Endpoint, lines: "Datagrams") -> None:
        self.lines = lines
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
        # The datagrams sent, less the answers and the errors that came: below 0, an error was forged.
        self.unanswered = 0

    def send(self, asking: Asking) -> int:
        """Send the query under a free random id, and return the id; raise OSError."""
        if not self.flights:
            self.strange = 0
        identity = draw()
        while identity in self.flights:
            identity = draw()
        self.left -= 1
        packet = identity.to_bytes(2, "big") + asking.query[2:]
        try:
            self.socket.send(packet)
        except OSError as error:
            self.socket.send(packet)
            # The error was that of an earlier query: the kernel reports it once, here and not to the reader. What waits
            # learns of it from the loop: each query may ask another server and meet the same, which must not nest.
            self.loop.call_soon(self.hinted, error, tuple(self.flights.values()))
        self.unanswered += 1
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
        except OSError as error:
            # After an error uvloop's reader wakes only if it is set again, also if `send` has met the error first.
            self.loop.remove_reader(self.socket.fileno())
            self.loop.add_reader(self.socket.fileno(), self._read)
            if not isinstance(error, BlockingIOError):
                self.hinted(error, tuple(self.flights.values()))
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
        self.unanswered -= 1
        self.lines.answered()
        self.forget(identity, asking)
        asking.replied(bytes(_received[:size]), found)

    def _mismatch(self) -> None:
        """Count a datagram that answers no query in flight, and close the socket at STRANGE of them.

        One such datagram is forged or late; only their number shows that somebody guesses.
        """
        self.lines.mismatched()
        if self.flights:
            self.strange += 1
        if self.strange < STRANGE:
            return
        waiting, self.flights = self.flights, {}
        self.retired = True
        self.close()
        for asking in waiting.values():
            asking.suspected()

    def hinted(self, error: OSError, waiting: tuple[Asking, ...]) -> None:
        """Note an error of this socket for the queries that waited when it came."""
        self.unanswered -= 1
        self.lines.refused(forged=self.unanswered < 0)
        reason = "refused" if isinstance(error, ConnectionRefusedError) else "network"
        for asking in waiting:
            asking.hinted(reason)

    def _fail(self, reason: str) -> None:
        waiting, self.flights = self.flights, {}
        for asking in waiting.values():
            asking.failed(reason)


class Datagrams:
    """The sockets towards one upstream.

    mismatched: called for each datagram that answers no query in flight. answers: the number of answers so far.
    """

    def __init__(self, endpoint: Endpoint, mismatched: Callable[[], None]) -> None:
        self._endpoint = endpoint
        self.mismatched = mismatched
        self.answers = 0
        self._refusals = 0
        self._forged_until = float("-inf")
        self._lines: list[Line | None] = [None] * SOCKETS

    @property
    def in_flight(self) -> int:
        """The number of queries that are still known on any socket."""
        return sum(len(line.flights) for line in self.open_lines())

    def open_lines(self) -> list[Line]:
        """Return the sockets that take queries."""
        return [line for line in self._lines if line is not None]

    def send(self, asking: Asking, now: float) -> tuple[Line, int]:
        """Send the query on a random socket; return the socket and the id. now: monotonic. Raise OSError."""
        line = self._line(draw() % SOCKETS, now)
        return line, line.send(asking)

    def is_closed(self, answers: int) -> bool:
        """Return whether the errors show that nobody listens, if `answers` was the number of answers at the send."""
        return self._refusals >= REFUSALS and self.answers == answers and not self.is_forged()

    def is_forged(self) -> bool:
        """Return whether somebody has forged errors not long ago."""
        return time.monotonic() < self._forged_until

    def answered(self) -> None:
        """Note an answer on any of the sockets."""
        self.answers += 1
        self._refusals = 0

    def refused(self, *, forged: bool) -> None:
        """Note an error on any of the sockets."""
        self._refusals += 1
        if forged:
            self._forged_until = time.monotonic() + FORGED_S

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
            fresh = Line(self._endpoint, self)
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
