"""Walks a query through the steps of `answer` for an operator, notes the result of each step, and keeps nothing.

Rules:
- The order is that of core.steps, which runs here with a lane of its own that only looks.
- The walk changes no state and keeps nothing: it checks the limit in a copy of the buckets, counts in tables of its
  own, reads the cache without marking a hit, and does not keep the upstream's answer.
- No list is named. A kept answer that was blocked is not shown, because it would reveal that somebody asked: it is
  skipped, and an upstream is asked.
- The tables are those in force when the walk began.
"""

import asyncio
from array import array
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from resolver.core import cache, codes, sketch, store, tally
from resolver.core.admit import exempts
from resolver.core.crash_shape import NUMBERS, Shape
from resolver.core.lane import Lane, Seat, Tables
from resolver.core.question import Question
from resolver.query.answer import Answer
from resolver.query.forward import NOBODY, Forward, Handed, Outcome, Overloaded, Unanswered
from resolver.query.transport import Reply, Transport

_TALLY_OCTETS = tally.TABLES * 2**12
_NO_KEY = bytes(16)
_OF_PROBLEM = {
    codes.BAD_OPCODE: "an opcode that is not served",
    codes.BAD_VERSION: "an EDNS version that is not served",
    codes.COOKIE_ALONE: "no question: it asks for a DNS cookie",
    codes.NOT_SERVED: "a transfer or a signed query, which is not served",
}
_NOT_FORWARDED = "not forwarded (RD=0, or a class other than IN): refused"
_LOCAL = "answered here, never forwarded"
_RD = 0x0100

Step = tuple[str, str, float]
"""The name of a step, its result, and its duration in seconds."""


@dataclass(frozen=True, slots=True)
class Walked:
    """The steps in order, and the answer that the client would get: None for silence."""

    steps: tuple[Step, ...]
    reply: bytes | None


class Trace:
    """Walks queries through the parts of a running service.

    tables: returns the tables in force, with a copy of the buckets. clock: monotonic, in seconds. named: returns the id
    of the list in a slot.
    """

    def __init__(
        self,
        tables: Callable[[], Tables],
        *,
        forward: Forward,
        clock: Callable[[], float],
        named: Callable[[int], str],
    ) -> None:
        self._named = named
        self._tables = tables
        self._forward = forward
        self._clock = clock

    async def walk(self, packet: bytes, client: bytes) -> Walked:
        """Return the steps and the answer of a query over UDP from `client` (16 octets)."""
        tables = self._tables().replaced(
            tally=tally.Tally(bytearray(_TALLY_OCTETS), _NO_KEY),
            asked=sketch.Sketch(bytearray(2 * sketch.SET_OCTETS), _NO_KEY),
        )
        shape = Shape(array("q", [0] * len(NUMBERS)))
        lane = Lane(array("Q", bytes(8 * codes.COUNTERS_SIZE)), shape, looking=True)
        steps = _Steps(self._clock)
        reply = _Answer(tables, lane, steps, self._forward, self._clock, self._named).answer(
            packet, client, Transport.UDP
        )
        if reply is not None and not isinstance(reply, bytes):
            reply = await reply
        return Walked(tuple(steps.walked), reply)


class _Steps:
    """The steps walked so far; a call adds one."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.walked: list[Step] = []
        self._clock = clock
        self._since = clock()

    def __call__(self, step: str, result: str) -> None:
        now = self._clock()
        self.walked.append((step, result, now - self._since))
        self._since = now


class _Answer(Answer):
    """Answers as any client is answered, and notes what the steps have left in the seat and the lane."""

    def __init__(
        self,
        tables: Tables,
        lane: Lane,
        steps: _Steps,
        forward: Forward,
        clock: Callable[[], float],
        named: Callable[[int], str],
    ) -> None:
        asking = _Forward(steps, forward)
        super().__init__(tables, lane=lane, forward=asking, clock=clock)  # type: ignore[arg-type]  # has what is called
        self._note = steps
        self._named = named

    def _go_on(
        self, seat: Seat, packet: bytes, client: bytes, handed: Handed | None, written: Callable[[Seat], Reply]
    ) -> Awaitable[Reply] | None:
        asks = seat.outcome == codes.OUTCOME_ASK
        if not asks:
            self._tell(seat, client)
        given = seat.length
        waiting = super()._go_on(seat, packet, client, handed, written)
        if asks:
            self._tell(seat, client)
        elif waiting is None and not given:
            self._tell_kept(seat)
        return waiting and self._told(seat, waiting)

    async def _told(self, seat: Seat, reply: Awaitable[Reply]) -> Reply:
        answer = await reply
        self._tell_kept(seat)
        return answer

    def _tell(self, seat: Seat, client: bytes) -> None:
        """Note what `take` did."""
        match seat.reason:
            case codes.END_NO_QUERY:
                self._note("question", "not a query: no answer")
            case codes.END_TURNED_AWAY if seat.admitted == codes.NOT_A_CLIENT:
                self._note("client", "not in listen.allow: refused")
            case codes.END_TURNED_AWAY:
                self._note("client", "in listen.allow")
                self._note("limiter", "above its queries a second: TC=1, so that it retries over TCP, or no answer")
            case codes.END_MALFORMED | codes.END_NOTICE:
                self._note("question", _OF_PROBLEM.get(seat.problem, "malformed"))
            case codes.END_REFUSED:
                self._note("question", _NOT_FORWARDED)
            case codes.END_LOCAL if not seat.question.flags & _RD:
                self._note("local zone", _LOCAL)
            case _:
                self._tell_judged(seat, client)

    def _tell_judged(self, seat: Seat, client: bytes) -> None:
        """Note what is known of a name that was judged."""
        access, members = self.tables.access, self.tables.generation.members
        self._note("client", "in listen.allow")
        spared = exempts(access, client)
        self._note("limiter", "in limits.exempt" if spared else f"below {access.rate} queries a second")
        judging = sum(1 for one in members if one.scope_bit & seat.scope)
        self._note("scope", f"{judging} of {len(members)} lists in force judge this client")
        verdict = seat.verdict.verdict
        words = {codes.PASS: "not blocked", codes.BLOCK: f"blocked by {self._named(seat.verdict.slot)}"}
        self._note("lists", words.get(verdict, "cannot be judged"))
        if verdict != codes.PASS:
            return
        if not self.tables.complete:
            self._note("lists", "not all in force yet: only blocked names are answered")
        elif seat.reason == codes.END_LOCAL:
            self._note("local zone", _LOCAL)
        elif seat.reason == codes.END_ANY:
            self._note("type", "ANY gets a minimal answer, never forwarded")
        else:
            lent = bool(self._lane.lent)
            self._tell_cache(seat)
            self._tell_kept(seat, lent=lent)

    def _tell_cache(self, seat: Seat) -> None:
        """Note what is kept of this form of the question."""
        found, kept = cache.find(self.tables, self._lane, seat, int(self._clock())), self._lane.kept
        if found == store.NOTHING:
            self._note("cache", "nothing kept")
        elif kept.kind & store.FAILURE:
            self._note("cache", f"a failure, kept for {kept.ttl_s - kept.age_s} s more")
        elif found == store.FRESH:
            self._note("cache", f"kept {kept.age_s} s ago, fresh for {kept.ttl_s - kept.age_s} s more")
        else:
            self._note("cache", f"stale for {kept.age_s - kept.ttl_s} s, given only if no upstream answers")

    def _tell_kept(self, seat: Seat, *, lent: bool | None = None) -> None:
        """Note what was special about the answer."""
        if self._lane.lent if lent is None else lent:
            self._note("cache", "the answer to the question with another DO or CD serves this one")
        if seat.reason == codes.END_LEADS:
            self._note("reply", f"leads to a name that is blocked by {self._named(seat.slot)}")


class _Forward:
    """Asks the real upstreams, and keeps no answer."""

    def __init__(self, steps: _Steps, forward: Forward) -> None:
        self._note = steps
        self._forward = forward

    async def exchange(
        self,
        packet: bytes,
        question: Question,
        digest: tuple[int, int],
        outcome: Outcome,
        patience_s: float | None = None,
        client: bytes = NOBODY,
        handed: Handed | None = None,
    ) -> bytes:
        """Ask as Forward.exchange does, but keep nothing; the outcome of a shared exchange is that of the others."""
        del outcome
        zone = self._forward.group_of(question).zone
        zone = zone and f"servers of zone {zone}: "
        try:
            reply = await self._forward.exchange(packet, question, digest, _not_kept, patience_s, client, handed)
        except (Overloaded, Unanswered, TimeoutError, asyncio.CancelledError) as error:
            self._note("upstream", zone + _OF_FAILURE.get(type(error), "no answer"))
            raise
        rcode = codes.RCODES[reply[3] & 15] if reply[3] & 15 <= codes.REFUSED else f"rcode {reply[3] & 15}"
        self._note("upstream", f"{zone}answered {rcode}, {len(reply)} octets")
        return reply

    def refresh(self, *_: object) -> None:
        """Prefetch nothing: no client asked."""

    def is_probe(self, _: Question) -> bool:
        """Return False: an operator's query is not a probe."""
        return False

    def is_up_for(self, question: Question) -> bool:
        """Return whether a server that this question goes to is up."""
        return self._forward.is_up_for(question)


_OF_FAILURE: dict[type[BaseException], str] = {
    Overloaded: "the maximum number of exchanges is in flight",
    TimeoutError: "no answer in time",
}


def _not_kept(_: bytes | Unanswered) -> None:
    pass
