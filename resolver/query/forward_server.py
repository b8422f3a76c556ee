"""Asks one upstream one query: checks the answer, measures its latency, and counts failures.

Rules:
- An answer counts only from the server asked, on the socket that asked, with the same id and question (RFC 5452 9.1).
  If the case of the question was drawn, it must match too; a datagram in another case leads to a retry over TCP.
- TC=1 leads to a retry over TCP at the same server; so does a datagram larger than our payload size, and a socket on
  which somebody guesses ids. A server has at most STREAMS connections; a query waits for one within its time limit.
- An answer that does not parse to its end, SERVFAIL, REFUSED, NOTIMP and FORMERR are failures that hand the answer
  over. Only these error rcodes may lack the question.
- After its time limit a query stays known for as long again, so that a late answer does not count as forged.
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
from resolver.core import codes
from resolver.core.message import Message, read
from resolver.core.question import Question, matches, parse
from resolver.core.reply import MAX_UDP_OCTETS
from resolver.query.forward_datagram import Datagrams, Line, Refused, draw
from resolver.query.forward_stream import ask_by_stream
from resolver.query.forward_wheel import Wheel

FAILURE_REASONS = ("timeout", "refused", "network", "mismatch", "malformed", "servfail", "error", "loop")
"""refused: by the host; network: on the path; error: REFUSED, NOTIMP or FORMERR; loop: the server led back to us."""

HEADER_OCTETS = 12
OPT_OCTETS = 11
STREAMS = 128
WINDOW = 1000
LEAST_FOR_QUANTILES = 100
USUAL_FOR_QUANTILES = 300
LIKELIER = 32
"""A number of exchanges is more likely than the next by at most one part in this many."""

_TRUNCATED = 2
_ERRORS = (codes.FORMERR, codes.NOTIMP, codes.REFUSED)
_message = Message()


class Server:
    """One upstream: its sockets, its load, its latency, its failures.

    up: 1, or 0 while it is taken out. poor: it is asked only while no better server is up. asked, answers, fault: what
    is shown of it: whether it was looked at yet, whether it then answered, and in words what is wrong with its answers.
    zones: those whose names it is asked for, "" for all names in no zone.
    noted: called for each query that ended, with the reason of its failure, "" for a good answer.
    smoothed_s, spread_s: of its round trips, as in RFC 6298; smoothed_s is below 0 before the first.
    """

    def __init__(self, endpoint: Endpoint, wheel: Wheel, timeout_s: float) -> None:
        self.endpoint = endpoint
        self.wheel = wheel
        self.timeout_s = timeout_s
        self.failures = dict.fromkeys(FAILURE_REASONS, 0)
        self.datagrams = Datagrams(endpoint, self._mismatched)
        self.streams = asyncio.Semaphore(STREAMS)
        self.up = 1
        self.poor = False
        self.asked = self.answers = False
        self.fault = ""
        self.zones: tuple[str, ...] = ()
        self.outstanding = 0
        self.smoothed_s = -1.0
        self.spread_s = 0.0
        self.tasks: set[asyncio.Task[None]] = set()
        self.noted: Callable[[str], None] = _nobody
        self._window: deque[float] = deque(maxlen=WINDOW)
        self._sorted: list[float] = []
        self._until_quantiles = exchanges_between_quantiles()

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
        self.failures["mismatch"] += 1


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


class Try:
    """One query to one server, by one datagram or several, then perhaps over TCP.

    exact: the case of the question's letters was drawn. counted: the result counts for the server's health. now:
    monotonic, in seconds.
    """

    __slots__ = ("_counted", "_exact", "_owner", "_sent", "_started", "_stream", "pending", "query", "sends", "server")

    def __init__(
        self, owner: Owner, server: Server, query: bytes, *, exact: bool, now: float, counted: bool = True
    ) -> None:
        self.server = server
        self.query = query
        self.pending = True
        self.sends = 0
        self._exact = exact
        self._counted = counted
        self._owner = owner
        self._started = now
        self._stream = False
        self._sent: list[tuple[Line, int]] = []
        server.outstanding += 1

    @property
    def resends(self) -> bool:
        """True if another datagram may still bring an answer."""
        return self.pending and not self._stream

    def send(self, now: float) -> None:
        """Send the query; each time on a random socket and with another id.

        If that fails, the owner's `failed` is called from the loop, because the owner is still in the middle of a call.
        """
        self.sends += 1
        try:
            self._sent.append(self.server.datagrams.send(self, now))
        except Refused:
            asyncio.get_running_loop().call_soon(self.failed, "refused")
        except OSError:
            if not self._sent:
                asyncio.get_running_loop().call_soon(self.failed, "network")

    def replied(self, reply: bytes, found: int) -> None:
        """Take the answer of a datagram, or retry over TCP (Asking)."""
        if not self.resends:
            return
        if found == 1 and self._exact and not reply.startswith(question_of(self.query), 12):
            self.server.failures["mismatch"] += 1
            self._ask_by_stream()
        elif reply[2] & _TRUNCATED or len(reply) > MAX_UDP_OCTETS:
            self._ask_by_stream()
        else:
            self._take(reply)

    def suspected(self) -> None:
        """Ask again over TCP, unless that was done: somebody guesses ids on the socket (`Asking.suspected`)."""
        if self.resends:
            self._ask_by_stream()

    def failed(self, reason: str) -> None:
        """Fail without an answer (Asking)."""
        self._fail(reason, None)

    def leave(self) -> None:
        """Detach the owner; the server's health still counts whether an answer arrives in time."""
        self._owner = _NOBODY
        if self.pending:
            self.server.wheel.at(self._started + self.server.timeout_s, self)

    def wake(self, now: float) -> None:
        """Fail at the end of the time limit; forget the query on its sockets at the end of the next (Waking)."""
        if self.pending:
            self._fail("timeout", None)
        else:
            self._forget()

    def _take(self, reply: bytes) -> None:
        if not read(reply, len(reply), _message):
            self._fail("malformed", reply)
        elif _message.rcode == codes.SERVFAIL:
            self._fail("servfail", reply)
        elif _message.rcode in _ERRORS:
            self._fail("error", reply)
        elif len(reply) == HEADER_OCTETS:
            self._fail("mismatch", None)
        else:
            self._end("")
            self.server.took(time.monotonic() - self._started, sure=self.sends == 1 and not self._stream)
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
        if self.sends > 1 or reason not in ("", "error"):
            self.server.wheel.at(time.monotonic() + self.server.timeout_s, self)
        if self._counted:
            self.server.noted(reason)

    def _forget(self) -> None:
        for line, identity in self._sent:
            line.forget(identity, self)
        self._sent = []

    def _ask_by_stream(self) -> None:
        self._stream = True
        task = asyncio.get_running_loop().create_task(self._by_stream())
        self.server.tasks.add(task)
        task.add_done_callback(self.server.tasks.discard)

    async def _by_stream(self) -> None:
        server, left = self.server, self._started + self.server.timeout_s - time.monotonic()
        try:
            async with asyncio.timeout(left), server.streams:
                reply = await ask_by_stream(server.endpoint, self.query)
        except TimeoutError:
            self._fail("timeout", None)
        except (OSError, EOFError):
            self._fail("network", None)
        else:
            question = Question()
            parse(self.query, len(self.query), question)
            if matches(reply, len(reply), self.query, question):
                self._take(reply)
            else:
                self._fail("mismatch", None)


class _Nobody:
    """The owner of a query after its own has left."""

    def answered(self, one: Try, reply: bytes) -> None:
        """Do nothing."""

    def failed(self, one: Try, reason: str, reply: bytes | None) -> None:
        """Do nothing."""


_NOBODY = _Nobody()
