"""Asks the upstreams one question, with retries, for all queries that wait for its answer.

Rules:
- A datagram without an answer counts as lost after the server's patience_s, and the query is sent again: to the server
  asked least so far, after pauses that double (RFC 8085 3.1.1), at most MAX_SENDS times in all. One server gets it at
  most twice within REST_S (a quarter of a short time limit). An answer to any of them counts.
- After an ICMP error a server not asked yet is asked at once, and the answer of the first still counts.
- After an outright failure (refused, network, an error rcode, an answer that does not parse) a server not asked yet is
  asked at once; if there is only one server, it is asked once more, unless an answer arrived.
- After FORMERR or NOTIMP to a query with OPT the same server is asked again without OPT. That is not remembered: one
  bad answer must not cost later answers their DNSSEC records.
- If all servers fail, the last error is the answer; an answer that does not parse, only if there is no error.
- An answer that comes within one more time limit after all have failed goes to the outcome: it is kept in place of the
  failure, for those who ask again.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from resolver.core import codes
from resolver.core.exchange import CHANCE_OCTETS, draw_case, restore_case
from resolver.query.forward_server import NOBODY, OPT_OCTETS, Server, Try, question_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resolver.query.forward_waiters import Waiter

MAX_SENDS = 6
HANDED_IN_A_TURN = 256
"""The number of waiting queries that are answered before others get their turn: a few milliseconds of work."""
REST_S = 0.5
LAST_S = 0.005
"""With less time left no server is asked: no answer could arrive, and uvloop's timers fire a millisecond early."""

_HEADER = 12
_NO_EDNS = (codes.FORMERR, codes.NOTIMP)


class Unanswered(Exception):
    """Raised if no upstream answered in time; `ede` is the extended error for the client (RFC 8914)."""

    def __init__(self, ede: int) -> None:
        super().__init__("no upstream answered")
        self.ede = ede


Outcome = Callable[[bytes | Unanswered], None]
"""Called with the result of a shared exchange: the answer, or the reason for its lack; then perhaps with a late one."""


class Upstreams(Protocol):
    """The owner of all exchanges: knows the servers and removes exchanges that end."""

    @property
    def case_randomization(self) -> bool:
        """Whether the case of each letter of a forwarded name is drawn."""

    @property
    def timeout_s(self) -> float:
        """The time limit of an exchange, in seconds."""

    def candidates(self) -> Sequence[Server]:
        """Return the servers that may be asked now, at least one."""

    def load(self, server: Server) -> tuple[int, float]:
        """Return the key by which servers are chosen; the smallest goes first, of equals the first."""

    def any_up(self) -> bool:
        """Return whether a server is up."""

    def ended(self, exchange: Exchange, reply: bytes | None) -> None:
        """Remove an exchange that ended; reply: its answer, None if there is none."""


def load(server: Server) -> tuple[int, float]:
    """Return the key by which servers are balanced; the smallest goes first."""
    return server.outstanding, server.smoothed_s


class Exchange:
    """One exchange.

    query: the first query to send, with its own id. started: monotonic, in seconds. client: the first who asked.
    waiting: the queries that wait for it, the first first.
    """

    __slots__ = (
        "_asked",
        "_client",
        "_deadline",
        "_outcome",
        "_query",
        "_step_s",
        "_tries",
        "_upstreams",
        "_wants_late",
        "_worst",
        "digest",
        "done",
        "hopeless",
        "sends",
        "started",
        "waiting",
    )

    def __init__(
        self,
        upstreams: Upstreams,
        digest: tuple[int, int],
        query: bytes,
        outcome: Outcome,
        started: float,
        *,
        client: bytes = NOBODY,
    ) -> None:
        self.digest = digest
        self.done = False
        self.hopeless = False
        self.sends = 0
        self.started = started
        self.waiting: dict[Waiter, None] = {}
        self._client = client
        self._upstreams = upstreams
        self._deadline = started + upstreams.timeout_s
        self._outcome = outcome
        self._asked = query
        self._query = with_drawn_case(query) if upstreams.case_randomization else query
        self._tries: list[Try] = []
        self._worst: bytes | None = None
        self._step_s = 0.0
        self._wants_late = False

    def start(self, server: Server) -> None:
        """Ask this server first."""
        self._step_s = server.patience_s()
        server.wheel.at(self.started + self._step_s, self)
        self._ask(server, self._query, self.started)

    def go_on(self, server: Server, reply: bytes) -> Try:
        """Go on where a thread of the engine had to end, which has asked this server once; reply: b"" for none."""
        now = time.monotonic()
        self._step_s = server.patience_s()
        self.sends += 1
        exact = self._query is not self._asked
        one = Try(self, server, self._query, exact=exact, now=self.started, client=self._client)
        one.sends = 1
        self._tries.append(one)
        if reply:
            server.wheel.at(min(now + self._step_s, self._deadline), self)
            one.replied(reply, 2)  # The thread has compared the case, and the reply has the client's.
        else:
            self.wake(now)
        return one

    def answered(self, one: Try, reply: bytes) -> None:
        """End with this answer, if it is the first; one that is late is only kept (Owner)."""
        if not self.done:
            self._end(reply)
        elif self._wants_late:
            self._wants_late = False
            self._tell(self._as_asked(reply))

    def failed(self, one: Try, reason: str, reply: bytes | None) -> None:
        """Ask the same server without OPT, or go on with another (Owner)."""
        if self.done:
            return
        now = time.monotonic()
        if reply is not None:
            if reply[3] & 15 in _NO_EDNS and one.query[11] and reason == "error" and self.sends < MAX_SENDS:
                self._ask(one.server, without_opt(one.query), now)
                return
            if self._worst is None or reason != "malformed":
                self._worst = reply
        self._go_on(one.server, now)

    def hinted(self, one: Try) -> None:
        """Ask a server not asked yet, and go on waiting for this one (Owner)."""
        if not self.done:
            now = time.monotonic()
            fresh = self._not_asked(now)
            if fresh:
                self._ask(min(fresh, key=self._upstreams.load), self._query, now)

    def wake(self, now: float) -> None:
        """Send again if no answer has arrived, or give up at the end of the time limit (Waking)."""
        if self.done:
            return
        if now >= self._deadline:
            self._give_up()
            return
        self._send_again(now)
        if not self.done:
            self._step_s *= 2
            self._tries[0].server.wheel.at(min(now + self._step_s, self._deadline), self)

    def end_early(self) -> None:
        """End now with the best result so far, unless it has ended: a new exchange needs the place."""
        if not self.done:
            self._end(Unanswered(codes.EDE_OTHER) if self._worst is None else self._worst)

    def cancel(self) -> None:
        """End without an outcome and cancel all waiting queries."""
        self.done = True
        for one in self.waiting:
            one.result.cancel()

    def _ask(self, server: Server, query: bytes, now: float) -> None:
        self.sends += 1
        one = Try(self, server, query, exact=self._query is not self._asked, now=now, client=self._client)
        self._tries.append(one)
        one.send(now)

    def _send_again(self, now: float) -> None:
        if self.sends >= MAX_SENDS:
            return
        asked = {one.server: one for one in self._tries}
        rest_s = min(REST_S, self._upstreams.timeout_s / 4)
        open_to = [one for one in self._upstreams.candidates() if one not in asked or asked[one].may_send(now, rest_s)]
        if not open_to:
            return
        load = self._upstreams.load
        server = min(open_to, key=lambda one: (asked[one].sends if one in asked else 0, load(one)))
        if server in asked:
            self.sends += 1
            asked[server].send(now)
        else:
            self._ask(server, self._query, now)

    def _not_asked(self, now: float) -> list[Server]:
        """Return the servers that were not asked and still can be."""
        if self.sends >= MAX_SENDS or now >= self._deadline - LAST_S:
            return []
        asked = {one.server for one in self._tries}
        return [one for one in self._upstreams.candidates() if one not in asked]

    def _go_on(self, failed: Server, now: float) -> None:
        """Ask a server not asked yet, else wait for those that may still answer, else retry the only one or give up."""
        fresh = self._not_asked(now)
        if fresh:
            self._ask(min(fresh, key=self._upstreams.load), self._query, now)
        elif any(one.pending for one in self._tries):
            return
        elif len(self._tries) == 1 and self._worst is None and now < self._deadline - LAST_S:
            self._ask(failed, self._query, now)
        else:
            self._give_up()

    def _give_up(self) -> None:
        self._wants_late = True
        if self._worst is not None:
            self._end(self._worst)
        else:
            up = self._upstreams.any_up()
            self._end(Unanswered(codes.EDE_NETWORK_ERROR if up else codes.EDE_NO_REACHABLE_AUTHORITY))

    def _end(self, result: bytes | Unanswered) -> None:
        """Hand the result to the outcome, then to all waiting queries."""
        self.done = True
        for one in self._tries:
            one.leave(late=self._wants_late)
        reply = self._as_asked(result) if isinstance(result, bytes) else None
        self._upstreams.ended(self, reply)
        self._tell(result if reply is None else reply)
        self._hand_out(result if reply is None else reply)

    def _hand_out(self, result: bytes | Unanswered) -> None:
        """Hand the result to those who wait: to only so many in a turn of the loop."""
        for waiter in tuple(islice(self.waiting, HANDED_IN_A_TURN)):
            waiter.end(Unanswered(result.ede) if isinstance(result, Unanswered) else result)
        if self.waiting:
            asyncio.get_running_loop().call_soon(self._hand_out, result)

    def _tell(self, result: bytes | Unanswered) -> None:
        try:
            self._outcome(result)
        except Exception as error:  # noqa: BLE001 - if keeping fails, the queries still get their answer
            asyncio.get_running_loop().call_exception_handler({"message": "outcome", "exception": error})

    def _as_asked(self, reply: bytes) -> bytes:
        return reply if self._query is self._asked else with_case_of(reply, self._query, self._asked)


def without_opt(query: bytes) -> bytes:
    """Return a query of ours without its OPT record."""
    return query[:11] + b"\0" + query[12:-OPT_OCTETS]


def with_drawn_case(query: bytes) -> bytes:
    """Return a query of ours with the case of each letter of its name drawn at random (0x20)."""
    drawn = bytearray(query)
    draw_case(drawn, _HEADER + len(question_of(query)), os.urandom(CHANCE_OCTETS))
    return bytes(drawn)


def with_case_of(reply: bytes, sent: bytes, asked: bytes) -> bytes:
    """Return an answer to `sent` with the case of `asked` in its question, and in owners that repeat it in full."""
    out = bytearray(reply)
    restore_case(out, len(out), sent, asked, _HEADER + len(question_of(sent)))
    return bytes(out)
