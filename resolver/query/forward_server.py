"""Asks one upstream one query: checks the answer, measures its latency, and counts failures.

Rules:
- An answer counts only from the server asked, on the socket that asked, with the same id and question (RFC 5452 9.1).
  If the case of the question was drawn, it must match too; a datagram in another case leads to a retry over TCP.
- TC=1 leads to a retry over TCP at the same server; so does a datagram larger than our payload size, and a socket on
  which somebody guesses ids. A larger datagram is the answer nevertheless if TCP fails, or takes STREAM_SHARE of the
  time limit.
- An answer that cannot be read (core.message), SERVFAIL, REFUSED, NOTIMP and FORMERR are failures that hand the answer
  over. Only these error rcodes may lack the question.
- An encrypted server is asked by the courier alone (forward_courier), and its answer is whole: nothing leads to a retry
  over plain TCP.
- An ICMP error ends nothing: the query is sent again, at most HINTS times for such a reason, and the owner may ask
  elsewhere. Only if the server is closed by forward_datagram's rule, the query has failed.
- After its time limit a query stays known for as long again: a late answer does not count as forged, and an owner that
  ended without an answer gets it.
- The latency quantiles change after about USUAL_FOR_QUANTILES exchanges; the exact number is drawn each time, each
  number nearly as likely as the next. So the moment of a change does not reveal whether one more query was forwarded,
  that is, not blocked.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from resolver.config.values import Endpoint
from resolver.core.exchange import fault
from resolver.core.message import Message
from resolver.core.reply import MAX_UDP_OCTETS
from resolver.query.forward_courier import BUSY, Letters, NoPlace
from resolver.query.forward_datagram import Datagrams, draw
from resolver.query.forward_stream import Stream, Streams
from resolver.query.forward_wheel import Wheel

FAILURE_REASONS = (
    *("timeout", "refused", "network", "mismatch", "malformed", "servfail", "error", "loop", "trailing"),
    *("certificate", "tls", "http", BUSY),
)
"""refused: by the host; network: on the path; error: REFUSED, NOTIMP or FORMERR; loop: the server led back to us;
trailing: octets after the end of an answer, which is used nevertheless. Of encrypted servers: certificate: it was not
verified; tls: no connection of TLS, or none with HTTP/2, or messages of these without end; http: a response that is no
answer; busy: no place for the query with the courier, which says nothing about the server."""

OPT_OCTETS = 11
HINTS = 2
STREAM_SHARE = 0.5
NOBODY = bytes(16)
"""The client of queries that no client asked."""

WINDOW = 1000
LEAST_FOR_QUANTILES = 100
USUAL_FOR_QUANTILES = 300
LIKELIER = 32
"""A number of exchanges is more likely than the next by at most one part in this many."""

_TRUNCATED = 2
# In the order of core.exchange's results.
_FAULTS = ("", "malformed", "servfail", "error", "mismatch")
_message = Message()


class Way(Protocol):
    """How a query goes to a server: by a datagram, or by the courier. answers: the number of answers so far."""

    answers: int

    def send(self, asking: "Try", now: float) -> "tuple[Sent, int]":
        """Send the query; return what knows it, and by which identity. OSError if it cannot be sent."""


class Server:
    """One upstream: its sockets, its load, its latency, its failures.

    up: 1, or 0 while it is taken out. poor: it is asked only while no better server is up. asked, answers, fault: what
    is shown of it: whether it was looked at yet, whether it then answered, and in words what is wrong with its answers.
    zones: those whose names it is asked for, "" for all names in no zone.
    noted: called for each query that ended, with the reason of its failure, "" for a good answer.
    smoothed_s, spread_s: of its round trips, as in RFC 6298; smoothed_s is below 0 before the first.
    letters: the way to an encrypted server, None to another.
    """

    def __init__(self, endpoint: Endpoint, wheel: Wheel, timeout_s: float, letters: Letters | None = None) -> None:
        self.endpoint = endpoint
        self.wheel = wheel
        self.timeout_s = timeout_s
        self.failures = dict.fromkeys(FAILURE_REASONS, 0)
        self.datagrams = Datagrams(endpoint, self._mismatched)
        self.streams = Streams(endpoint)
        self.letters = letters
        self.way: Way = self.datagrams if letters is None else letters
        if letters is not None:
            letters.counts = self._count
        self.up = 1
        self.poor = False
        self.asked = self.answers = False
        self.fault = ""
        self.zones: tuple[str, ...] = ()
        self.outstanding = 0
        self.smoothed_s = -1.0
        self.spread_s = 0.0
        self.noted: Callable[[str], None] = _nobody
        self._window: deque[float] = deque(maxlen=WINDOW)
        self._sorted: list[float] = []
        self._until_quantiles = exchanges_between_quantiles()

    @property
    def trouble(self) -> str:
        """Return in words why an encrypted server cannot be asked, "" if nothing is known."""
        return "" if self.letters is None else self.letters.trouble

    def latency(self, quantile: float) -> float | None:
        """Return this quantile, in seconds, as of its last change; None before LEAST_FOR_QUANTILES exchanges."""
        if not self._sorted:
            return None
        return self._sorted[int(quantile * (len(self._sorted) - 1))]

    def patience_s(self) -> float:
        """Return the seconds after which a datagram counts as lost: a 20th to a 5th of the time limit."""
        if self.smoothed_s < 0:
            return self.timeout_s / 10
        return min(max(self.smoothed_s + 4 * self.spread_s, self.timeout_s / 20), self.timeout_s / 5)

    def took(self, seconds: float, *, sure: bool) -> None:
        """Note a round trip; sure: the query was sent once, so that it is known which datagram was answered."""
        self._window.append(seconds)
        self._until_quantiles -= 1
        if self._until_quantiles == 0:
            self._until_quantiles = exchanges_between_quantiles()
            self._sorted = sorted(self._window)
        if not sure:
            return
        if self.smoothed_s < 0:
            self.smoothed_s, self.spread_s = seconds, seconds / 2
            return
        off = seconds - self.smoothed_s
        self.smoothed_s += off / 8
        self.spread_s += (abs(off) - self.spread_s) / 4

    def _mismatched(self) -> None:
        self._count("mismatch")

    def _count(self, reason: str) -> None:
        self.failures[reason] += 1


def exchanges_between_quantiles() -> int:
    """Draw the number of exchanges after which the quantiles change."""
    while True:
        number = USUAL_FOR_QUANTILES + _runs() - _runs()
        if number >= LEAST_FOR_QUANTILES:
            return number


def _runs() -> int:
    """Return how often a chance of one in LIKELIER fails before it succeeds (a geometric distribution)."""
    failed = 0
    while draw() % LIKELIER:
        failed += 1
    return failed


def _nobody(reason: str) -> None:
    """Do nothing; used while no health watches the server."""


def question_of(query: bytes) -> bytes:
    """Return the question of a query of ours: all but the header and, if ARCOUNT is 1, the OPT."""
    return query[12 : len(query) - OPT_OCTETS * query[11]]


class Owner(Protocol):
    """The owner of a Try, called once with its result, unless it has left by then."""

    def answered(self, one: "Try", reply: bytes) -> None:
        """Take the server's good answer."""

    def failed(self, one: "Try", reason: str, reply: bytes | None) -> None:
        """Note a failure; reply: the answer if there was one, with an error rcode or not parsable, else None."""

    def hinted(self, one: "Try") -> None:
        """Ask elsewhere, if possible: an ICMP error says that no answer will arrive."""


class Sent(Protocol):
    """What knows a query by a number while its answer may come: a socket, or the threads."""

    def forget(self, identity: int, asking: "Try") -> None:
        """Wait no longer for this query."""


class Try:
    """One query to one server, by one datagram or several, then perhaps over TCP.

    client: the first who asked, for its share of the connections. exact: the case of the question's letters was drawn.
    counted: the result counts for the server's health. now: monotonic, in seconds.
    """

    __slots__ = (
        "_answers",
        "_by_stream",
        "_counted",
        "_exact",
        "_hints",
        "_large",
        "_owner",
        "_sent",
        "_started",
        "client",
        "pending",
        "query",
        "sends",
        "server",
        "stream",
    )

    def __init__(
        self,
        owner: Owner,
        server: Server,
        query: bytes,
        *,
        exact: bool,
        now: float,
        client: bytes = NOBODY,
        counted: bool = True,
    ) -> None:
        self.server = server
        self.query = query
        self.client = client
        self.pending = True
        self.sends = 0
        self._exact = exact
        self._counted = counted
        self._owner = owner
        self._started = now
        self._by_stream = False
        self.stream: Stream | None = None
        self._large: bytes | None = None
        self._hints = HINTS
        self._answers = 0
        self._sent: list[tuple[Sent, int]] = []
        server.outstanding += 1

    @property
    def resends(self) -> bool:
        """True if another datagram may still bring an answer."""
        return self.pending and not self._by_stream

    def may_send(self, now: float, rest_s: float) -> bool:
        """Return whether the query may be sent again: once soon, and more often only after `rest_s`."""
        return self.resends and (self.sends < 2 or now - self._started >= rest_s)

    def send(self, now: float) -> None:
        """Send the query; each time on a random socket and with another id.

        If that fails, the owner's `failed` is called from the loop, because the owner is still in the middle of a call.
        """
        self.sends += 1
        self._answers = self.server.way.answers
        try:
            self._sent.append(self.server.way.send(self, now))
        except OSError as error:
            if not self._sent:
                reason = BUSY if isinstance(error, NoPlace) else "network"
                asyncio.get_running_loop().call_soon(self.failed, reason)

    def sent_by(self, line: Sent, identity: int) -> None:
        """Note that `line` knows the query by this identity."""
        self._sent.append((line, identity))

    def replied(self, reply: bytes, found: int) -> None:
        """Take the answer of a datagram, or retry over TCP (Asking)."""
        as_sent = found == 2 or not self._exact or reply.startswith(question_of(self.query), 12)
        if not self.pending:
            if as_sent and not reply[2] & _TRUNCATED and _fault_of(reply) == "":
                self._owner.answered(self, reply)
        elif self._by_stream:
            return
        elif self.server.letters is not None:
            if as_sent:
                self._take(reply)
            else:
                self._fail("mismatch", None)
        elif not as_sent:
            self.server.failures["mismatch"] += 1
            self._ask_by_stream()
        elif reply[2] & _TRUNCATED:
            self._ask_by_stream()
        elif len(reply) > MAX_UDP_OCTETS:
            self._large = reply
            self._ask_by_stream()
        else:
            self._take(reply)

    def replied_by_stream(self, reply: bytes) -> None:
        """Take the answer that came over TCP (forward_stream.Asking)."""
        if self.pending:
            self.stream = None
            self._take(reply)

    def suspected(self) -> None:
        """Ask again over TCP, unless that was done: somebody guesses ids on the socket (`Asking.suspected`)."""
        if self.resends:
            self._ask_by_stream()

    def hinted(self, reason: str) -> None:
        """Send again, and let the owner ask elsewhere; fail if the server is closed (Asking)."""
        if not self.resends:
            return
        lines = self.server.datagrams
        if lines.is_closed(self._answers):
            self._fail(reason, None)
            return
        self._owner.hinted(self)
        if self._hints and not lines.is_forged():
            self._hints -= 1
            self.send(time.monotonic())

    def failed(self, reason: str) -> None:
        """Fail without an answer, or take the datagram that was too large (Asking)."""
        if self._large is not None and self.pending:
            reply, self._large = self._large, None
            self._take(reply)
        else:
            self._fail(reason, None)

    def leave(self, *, late: bool = False) -> None:
        """Note that the owner has ended; the server's health still counts whether an answer arrives in time.

        late: the owner still wants a late answer.
        """
        if not late:
            self._owner = _NOBODY
        if self.pending:
            self.server.wheel.at(self._started + self.server.timeout_s, self)

    def wake(self, now: float) -> None:
        """Fail at the end of the time limit; forget the query on its sockets at the end of the next (Waking)."""
        if self.pending:
            self.failed("timeout")
        else:
            self._forget()

    def _take(self, reply: bytes) -> None:
        fault = _fault_of(reply)
        if _message.trailing:
            self.server.failures["trailing"] += 1
        if fault:
            self._fail(fault, None if fault == "mismatch" else reply)
            return
        self._end("")
        self.server.took(time.monotonic() - self._started, sure=self.sends == 1 and not self._by_stream)
        self._owner.answered(self, reply)

    def _fail(self, reason: str, reply: bytes | None) -> None:
        if not self.pending:
            return
        self.server.failures[reason] += 1
        self._end(reason)
        self._owner.failed(self, reason, reply)

    def _end(self, reason: str) -> None:
        self.pending = False
        self.server.outstanding -= 1
        if self.stream is not None:
            self.stream.forget(self)
            self.stream = None
        if self.sends > 1 or reason not in ("", "error"):
            self.server.wheel.at(time.monotonic() + self.server.timeout_s, self)
        if self._counted:
            self.server.noted(reason)

    def _forget(self) -> None:
        self._owner = _NOBODY
        for line, identity in self._sent:
            line.forget(identity, self)
        self._sent = []

    def _ask_by_stream(self) -> None:
        self._by_stream = True
        server, ends = self.server, self._started + self.server.timeout_s
        if self._large is not None:
            ends = min(ends, time.monotonic() + STREAM_SHARE * server.timeout_s)
        server.wheel.at(ends, self)
        if not server.streams.ask(self):
            asyncio.get_running_loop().call_soon(self.failed, "timeout")


def _fault_of(reply: bytes) -> str:
    """Return why an answer is a failure, one of FAILURE_REASONS, or "" if it is none."""
    return _FAULTS[fault(reply, len(reply), _message)]


class _Nobody:
    """The owner of a query after its own has left."""

    def answered(self, one: Try, reply: bytes) -> None:
        """Do nothing."""

    def failed(self, one: Try, reason: str, reply: bytes | None) -> None:
        """Do nothing."""

    def hinted(self, one: Try) -> None:
        """Do nothing."""


_NOBODY = _Nobody()
