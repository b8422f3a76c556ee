"""One upstream, and one query asked there: what came back, how long it took, and what went wrong.

Rules:
- A reply counts only from the server asked, on the socket that asked, with the id and the question (RFC 5452 9.1), and
  where the case of the question was drawn, in that case: a datagram in another is followed by TCP.
- TC=1 is followed by TCP at the same server; so is a datagram larger than we take, and a socket at which somebody
  guesses. At most STREAMS connections a server; who finds none free waits within its time.
- What does not parse to its end, SERVFAIL, REFUSED, NOTIMP and FORMERR are failures that hand back the reply. These
  errors alone may come without the question.
- A query that was sent stays known for as long again after its time limit: a late reply is no forgery.
- Quantiles of the latency stand still for USUAL_FOR_QUANTILES exchanges, give or take a number drawn anew each time, of
  which each is nearly as likely as the next: when they change does not tell whether one query more was forwarded, and
  so not blocked.
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
"""refused, network: by the host or on the way; error: REFUSED, NOTIMP or FORMERR; loop: it led back to us."""

HEADER_OCTETS = 12
OPT_OCTETS = 11
STREAMS = 128
WINDOW = 1000
LEAST_FOR_QUANTILES = 100
USUAL_FOR_QUANTILES = 300
LIKELIER = 32
"""A number of exchanges is at the most one part in so many likelier than the next."""

_TRUNCATED = 2
_ERRORS = (codes.FORMERR, codes.NOTIMP, codes.REFUSED)
_message = Message()


class Server:
    """One upstream: its sockets, its load, its latency, its failures.

    up: 1, or 0 while it is taken out. noted: told of each query that ended, True for one that failed by the server.
    smoothed_s, spread_s: of its round trips, as in RFC 6298; below 0 before the first.
    """

    def __init__(self, endpoint: Endpoint, wheel: Wheel, timeout_s: float) -> None:
        self.endpoint = endpoint
        self.wheel = wheel
        self.timeout_s = timeout_s
        self.failures = dict.fromkeys(FAILURE_REASONS, 0)
        self.datagrams = Datagrams(endpoint, self._mismatched)
        self.streams = asyncio.Semaphore(STREAMS)
        self.up = 1
        self.outstanding = 0
        self.smoothed_s = -1.0
        self.spread_s = 0.0
        self.tasks: set[asyncio.Task[None]] = set()
        self.noted: Callable[[bool], None] = _nobody
        self._window: deque[float] = deque(maxlen=WINDOW)
        self._told: list[float] = []
        self._untold = exchanges_till_told()

    def latency(self, quantile: float) -> float | None:
        """Return this quantile in seconds, of exchanges up to some time ago; None while they were few."""
        if not self._told:
            return None
        return self._told[int(quantile * (len(self._told) - 1))]

    def patience_s(self) -> float:
        """Return after how long a datagram counts as lost: a 20th to a 5th of the time limit."""
        if self.smoothed_s < 0:
            return self.timeout_s / 10
        return min(max(self.smoothed_s + 4 * self.spread_s, self.timeout_s / 20), self.timeout_s / 5)

    def took(self, seconds: float, *, sure: bool) -> None:
        """Note a round trip; sure: one query was sent, so that it is known which one was answered."""
        self._window.append(seconds)
        self._untold -= 1
        if self._untold == 0:
            self._untold = exchanges_till_told()
            self._told = sorted(self._window)
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


def exchanges_till_told() -> int:
    """Draw the number of exchanges after which the quantiles change."""
    while True:
        number = USUAL_FOR_QUANTILES + _runs() - _runs()
        if number >= LEAST_FOR_QUANTILES:
            return number


def _runs() -> int:
    """Return how often a draw of one in LIKELIER fails: every number is that little likelier than the next."""
    failed = 0
    while draw() % LIKELIER:
        failed += 1
    return failed


def _nobody(failed: bool) -> None:
    """Where nobody watches a server's health."""


def question_of(query: bytes) -> bytes:
    """Return the question of a query of ours: all but the header and the OPT that ARCOUNT tells of."""
    return query[12 : len(query) - OPT_OCTETS * query[11]]


class Owner(Protocol):
    """Who asked: told once of each Try, unless it has gone by then."""

    def answered(self, one: "Try", reply: bytes) -> None:
        """The server's good reply."""

    def failed(self, one: "Try", reason: str, reply: bytes | None) -> None:
        """None came; or one that tells of an error, or that does not parse."""


class Try:
    """One server asked, by one datagram or several, then perhaps by TCP.

    exact: the case of the question's letters was drawn; counted: it tells of the server's health; now: monotonic s.
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
        """Whether another datagram may bring what an earlier one did not."""
        return self.pending and not self._stream

    def send(self, now: float) -> None:
        """Send the query, again on another socket and under another id.

        Where that fails the owner is told from the loop: who asks is in the middle of something.
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
        """A datagram brought a reply (Asking)."""
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
        """Somebody guesses: ask where guessing is no use (Asking)."""
        if self.resends:
            self._ask_by_stream()

    def failed(self, reason: str) -> None:
        """There is no reply (Asking)."""
        self._fail(reason, None)

    def leave(self) -> None:
        """The owner wants no reply any more; the server's health still wants to know whether there is one."""
        self._owner = _NOBODY
        if self.pending:
            self.server.wheel.at(self._started + self.server.timeout_s, self)

    def wake(self, now: float) -> None:
        """The time is up; the sockets know the query for as long again, then no more (Waking)."""
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
            self._end(failed=False)
            self.server.took(time.monotonic() - self._started, sure=self.sends == 1 and not self._stream)
            self._owner.answered(self, reply)

    def _fail(self, reason: str, reply: bytes | None) -> None:
        if not self.pending:
            return
        self.server.failures[reason] += 1
        self._end(failed=reason != "error")
        self._owner.failed(self, reason, reply)

    def _end(self, *, failed: bool) -> None:
        self.pending = False
        self.server.outstanding -= 1
        if self.sends > 1 or failed:
            self.server.wheel.at(time.monotonic() + self.server.timeout_s, self)
        if self._counted:
            self.server.noted(failed)

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
    """Owns a query that nobody waits for any more."""

    def answered(self, one: Try, reply: bytes) -> None:
        """Nothing is left to do."""

    def failed(self, one: Try, reason: str, reply: bytes | None) -> None:
        """Nothing is left to do."""


_NOBODY = _Nobody()
