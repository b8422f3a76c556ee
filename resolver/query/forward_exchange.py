"""One question on its way through the upstreams, for all who wait for its answer.

Rules:
- A datagram that brings nothing counts as lost after the server's patience_s, and the query is sent again: to the
  server asked least so far, each time a little later, MAX_SENDS times in all. Replies to all that was sent still count.
- Who fails outright (refused, cut, an error, half an answer) is followed at once by a server not asked yet; where
  there is one server only, it is asked once more, but not after a reply.
- FORMERR and NOTIMP to a query with OPT: asked once more there without OPT. That is not remembered: an answer without
  DNSSEC must not come of one bad reply before.
- Where all say no, the last error is the reply; half an answer only where there is nothing better.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from resolver.core import codes
from resolver.core.name import skip
from resolver.query.forward_datagram import draw
from resolver.query.forward_server import OPT_OCTETS, Server, Try, question_of

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_SENDS = 6
LAST_S = 0.005
"""With less time left nobody is asked anew: no reply could come, and uvloop's timers go off a millisecond early."""

_HEADER = 12
_NO_EDNS = (codes.FORMERR, codes.NOTIMP)


class Unanswered(Exception):
    """No upstream answered in time; `ede` is the extended error that says so (RFC 8914)."""

    def __init__(self, ede: int) -> None:
        super().__init__("no upstream answered")
        self.ede = ede


Outcome = Callable[[bytes | Unanswered], None]
"""Told of a shared exchange: its reply, or why there is none."""


class Upstreams(Protocol):
    """Who knows the servers, and is told when an exchange ends."""

    case_randomization: bool
    timeout_s: float

    def candidates(self) -> Sequence[Server]:
        """Those that may be asked now, never none."""

    def any_up(self) -> bool:
        """Tell whether one of them is up."""

    def ended(self, exchange: Exchange, reply: bytes | None) -> None:
        """It is over."""


def load(server: Server) -> tuple[int, float]:
    """Return what servers are chosen by: the least goes first."""
    return server.outstanding, server.smoothed_s


class Exchange:
    """An exchange from its first query (with an id of its own) to its end."""

    __slots__ = (
        "_asked",
        "_deadline",
        "_outcome",
        "_query",
        "_step_s",
        "_tries",
        "_upstreams",
        "_worst",
        "digest",
        "done",
        "hopeless",
        "sends",
        "started",
        "waiting",
    )

    def __init__(
        self, upstreams: Upstreams, digest: tuple[int, int], query: bytes, outcome: Outcome, started: float
    ) -> None:
        self.digest = digest
        self.done = False
        self.hopeless = False
        self.sends = 0
        self.started = started
        self.waiting: list[asyncio.Future[bytes]] = []
        self._upstreams = upstreams
        self._deadline = started + upstreams.timeout_s
        self._outcome = outcome
        self._asked = query
        self._query = with_drawn_case(query) if upstreams.case_randomization else query
        self._tries: list[Try] = []
        self._worst: bytes | None = None
        self._step_s = 0.0

    def start(self, server: Server) -> None:
        """Ask this server first."""
        self._step_s = server.patience_s()
        server.wheel.at(self.started + self._step_s, self)
        self._ask(server, self._query, self.started)

    def answered(self, one: Try, reply: bytes) -> None:
        """The first answer counts (Owner)."""
        if not self.done:
            self._end(reply)

    def failed(self, one: Try, reason: str, reply: bytes | None) -> None:
        """Go on elsewhere (Owner)."""
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

    def wake(self, now: float) -> None:
        """Nothing came so far: send again, or end (Waking)."""
        if self.done:
            return
        if now >= self._deadline:
            self._give_up()
            return
        self._send_again(now)
        if not self.done:
            self._step_s = min(2 * self._step_s, self._upstreams.timeout_s / 5)
            self._tries[0].server.wheel.at(min(now + self._step_s, self._deadline), self)

    def give_way(self) -> None:
        """End now, with the best there is: others need the place."""
        self._end(Unanswered(codes.EDE_OTHER) if self._worst is None else self._worst)

    def cancel(self) -> None:
        """End without an outcome; who waits is cancelled."""
        self.done = True
        for one in self.waiting:
            one.cancel()

    def _ask(self, server: Server, query: bytes, now: float) -> None:
        self.sends += 1
        one = Try(self, server, query, exact=self._query is not self._asked, now=now)
        self._tries.append(one)
        one.send(now)

    def _send_again(self, now: float) -> None:
        if self.sends >= MAX_SENDS:
            return
        asked = {one.server: one for one in self._tries}
        open_to = [one for one in self._upstreams.candidates() if one not in asked or asked[one].resends]
        if not open_to:
            return
        server = min(open_to, key=lambda one: (asked[one].sends if one in asked else 0, load(one)))
        if server in asked:
            self.sends += 1
            asked[server].send(now)
        else:
            self._ask(server, self._query, now)

    def _go_on(self, failed: Server, now: float) -> None:
        """After an outright failure: a server not asked yet, else whoever still may answer, else the end."""
        asked = {one.server for one in self._tries}
        fresh = [one for one in self._upstreams.candidates() if one not in asked]
        late = now >= self._deadline - LAST_S
        if late or self.sends >= MAX_SENDS:
            fresh = []
        if fresh:
            self._ask(min(fresh, key=load), self._query, now)
        elif any(one.pending for one in self._tries):
            return
        elif len(self._tries) == 1 and self._worst is None and not late:
            self._ask(failed, self._query, now)
        else:
            self._give_up()

    def _give_up(self) -> None:
        if self._worst is not None:
            self._end(self._worst)
        else:
            up = self._upstreams.any_up()
            self._end(Unanswered(codes.EDE_NETWORK_ERROR if up else codes.EDE_NO_REACHABLE_AUTHORITY))

    def _end(self, result: bytes | Unanswered) -> None:
        """Tell the outcome, then all who wait."""
        self.done = True
        for one in self._tries:
            if one.pending:
                one.leave()
        reply = result if isinstance(result, bytes) else None
        if reply is not None and self._query is not self._asked:
            reply = with_case_of(reply, self._query, self._asked)
        self._upstreams.ended(self, reply)
        try:
            self._outcome(result if reply is None else reply)
        except Exception as error:  # noqa: BLE001 - whatever becomes of what is kept, who waits is told
            asyncio.get_running_loop().call_exception_handler({"message": "outcome", "exception": error})
        for waiter in self.waiting:
            if waiter.done():
                continue
            if reply is not None:
                waiter.set_result(reply)
            elif isinstance(result, Unanswered):
                give_up(waiter, Unanswered(result.ede))


def give_up(waiter: asyncio.Future[bytes], why: Exception) -> None:
    """Have one who waits raise `why`; where that one is going away just now, nobody misses it."""
    waiter.set_exception(why)
    waiter.exception()


def without_opt(query: bytes) -> bytes:
    """Return a query of ours without its OPT record."""
    return query[:11] + b"\0" + query[12:-OPT_OCTETS]


def with_drawn_case(query: bytes) -> bytes:
    """Return a query of ours with each letter of its name in a case drawn anew (0x20)."""
    drawn = bytearray(query)
    bits, left = 0, 0
    for at in range(_HEADER, _HEADER + len(question_of(query)) - 4):
        if 65 <= drawn[at] & 0xDF <= 90:
            if not left:
                bits, left = draw(), 16
            drawn[at] ^= (bits & 1) << 5
            bits, left = bits >> 1, left - 1
    return bytes(drawn)


def with_case_of(reply: bytes, sent: bytes, asked: bytes) -> bytes:
    """Return a reply to `sent` with its question, and owners that repeat it in full, as `asked` has them."""
    drawn, own = question_of(sent), question_of(asked)
    if not reply.startswith(drawn, _HEADER):
        return reply
    name, size = drawn[:-4], len(drawn) - 4
    out = bytearray(reply)
    at = _HEADER + len(drawn)
    out[_HEADER:at] = own
    records = sum(int.from_bytes(reply[number : number + 2], "big") for number in (6, 8, 10))
    for _ in range(records):
        if reply.startswith(name, at):
            out[at : at + size] = own[:-4]
        at = skip(reply, at, len(reply))
        if at == 0 or at + 10 > len(reply):
            break
        at += 10 + int.from_bytes(reply[at + 8 : at + 10], "big")
    return bytes(out)
