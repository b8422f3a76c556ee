"""The way of a query walked for an operator: the very steps of `answer`, with parts that tell and keep nothing.

Rules:
- The order is that of `answer`, whose code runs here; only its parts are others.
- Nothing of the client is read and nothing kept: its bucket is looked at in a copy, its query counted in tables that go
  with the walk, the cache is looked into without a mark, and what upstream says is not kept.
- No list is named. That a kept answer was blocked is not told, for it would say that somebody had asked: such an answer
  is passed over, and upstream asked.
- The tables are those in force when the walk began.
"""

import asyncio
from array import array
from collections.abc import Callable
from dataclasses import dataclass

from resolver.core import codes, store, tally
from resolver.core.admit import exempts
from resolver.core.crash_shape import NUMBERS, Shape
from resolver.core.policy import Generation, Verdict
from resolver.core.question import Question
from resolver.query.answer import Answer
from resolver.query.block import Block
from resolver.query.cache import FRESH, NOTHING, Cache
from resolver.query.forward import Forward, Outcome, Overloaded, Unanswered
from resolver.query.query import Query, Tables
from resolver.query.respond import Respond
from resolver.query.transport import Transport

_TALLY_OCTETS = 3 * 2**12
_NO_KEY = bytes(16)
_OF_PROBLEM = {
    codes.BAD_OPCODE: "an opcode that is not served",
    codes.BAD_VERSION: "an EDNS version that is not served",
    codes.NOT_SERVED: "a transfer or a signed query, which is not served",
}

Step = tuple[str, str, float]
"""What was asked, what came of it, and the seconds it took."""


@dataclass(frozen=True, slots=True)
class Walked:
    """The steps in order, and the reply that the client would get: None for silence."""

    steps: tuple[Step, ...]
    reply: bytes | None


class Trace:
    """Walks queries through the parts of a running service.

    tables: those in force, with buckets copied; clock: seconds, monotonic.
    """

    def __init__(
        self,
        tables: Callable[[], Tables],
        *,
        memory: store.Store,
        forward: Forward,
        clock: Callable[[], float],
    ) -> None:
        self._tables = tables
        self._memory = memory
        self._forward = forward
        self._clock = clock

    async def walk(self, packet: bytes, client: bytes) -> Walked:
        """Return what becomes of a query over UDP from `client` (16 octets)."""
        tables, said = self._tables(), _Said(self._clock)
        counters = array("Q", bytes(8 * codes.COUNTERS_SIZE))
        answer = Answer(
            tables,
            block=_Block(said, tables, counters),
            cache=_Cache(said, self._memory, counters),
            forward=_Forward(said, self._forward),  # type: ignore[arg-type]  # the three calls that a query makes
            respond=_Respond(said, counters),
            clock=self._clock,
            shape=Shape(array("q", [0] * len(NUMBERS))),
        )
        reply = answer.answer(packet, client, Transport.UDP)
        if reply is not None and not isinstance(reply, bytes):
            reply = await reply
        return Walked(tuple(said.steps), reply)


class _Said:
    """The steps told so far."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.steps: list[Step] = []
        self._clock = clock
        self._since = clock()

    def __call__(self, step: str, said: str) -> None:
        now = self._clock()
        self.steps.append((step, said, now - self._since))
        self._since = now


class _Block(Block):
    """Judges names; who comes to it has been admitted, which is told here."""

    def __init__(self, said: _Said, tables: Tables, counters: "array[int]") -> None:
        super().__init__(tally.Tally(bytearray(_TALLY_OCTETS), _NO_KEY), counters)
        self._said = said
        self._tables = tables
        self._last = -1

    def judge(self, generation: Generation, query: Query) -> int:
        if self._last < 0:
            self._tell_client(query)
        verdict = super().judge(generation, query)
        if verdict != self._last:
            self._last = verdict
            words = {codes.PASS: "not blocked", codes.BLOCK: "blocked"}
            self._said("lists", words.get(verdict, "cannot be judged"))
            if verdict == codes.PASS and not self._tables.complete:
                self._said("lists", "not all in force yet: nothing unlisted is answered")
        return verdict

    def answer(
        self, generation: Generation, query: Query, verdict: Verdict, now: float, respond: Respond
    ) -> bytes | None:
        if verdict is not self.verdict:
            self._said("reply", "leads to a name that is blocked")
        return super().answer(generation, query, verdict, now, respond)

    def _tell_client(self, query: Query) -> None:
        access = self._tables.access
        self._said("client", "in listen.allow")
        spared = exempts(access, query.client)
        self._said("limiter", "in limits.exempt" if spared else f"below {access.rate} queries a second")
        members = self._tables.generation.members
        judging = sum(1 for one in members if one.scope_bit & query.scope)
        self._said("scope", f"{judging} of {len(members)} lists in force judge this client")


class _Cache(Cache):
    """Looks without a mark, and keeps nothing."""

    def __init__(self, said: _Said, memory: store.Store, counters: "array[int]") -> None:
        super().__init__(memory, counters)
        self._said = said

    def _look(self, low: int, high: int, now_s: int) -> int:
        found: int = store.peek(self.memory, low, high, now_s, self.kept)
        if found != NOTHING and self.kept.kind & store.BLOCKED:
            found = NOTHING
        kept = self.kept
        if found == NOTHING:
            self._said("cache", "nothing kept")
        elif self.is_failure():
            self._said("cache", f"a failure, kept for {kept.ttl_s - kept.age_s} s more")
        elif found == FRESH:
            self._said("cache", f"kept {kept.age_s} s ago, good for {kept.ttl_s - kept.age_s} s more")
        else:
            self._said("cache", f"past its time by {kept.age_s - kept.ttl_s} s, to be given if upstream fails")
        return found

    def keep(self, *_: object) -> None:
        pass

    def fail(self, *_: object) -> None:
        pass

    def renew(self, *_: object) -> None:
        pass


class _Forward:
    """Asks the real upstreams, and nobody else what came."""

    def __init__(self, said: _Said, forward: Forward) -> None:
        self._said = said
        self._forward = forward

    async def exchange(
        self,
        packet: bytes,
        question: Question,
        digest: tuple[int, int],
        outcome: Outcome,
        patience_s: float | None = None,
    ) -> bytes:
        """As Forward's; of an exchange that others share the outcome is theirs."""
        del outcome
        try:
            reply = await self._forward.exchange(packet, question, digest, _not_kept, patience_s)
        except (Overloaded, Unanswered, TimeoutError, asyncio.CancelledError) as error:
            self._said("upstream", _OF_FAILURE.get(type(error), "no answer"))
            raise
        rcode = codes.RCODES[reply[3] & 15] if reply[3] & 15 <= codes.REFUSED else f"rcode {reply[3] & 15}"
        self._said("upstream", f"answered {rcode}, {len(reply)} octets")
        return reply

    def refresh(self, *_: object) -> None:
        """Fetch nothing anew: nobody asked."""

    def is_probe(self, _: Question) -> bool:
        """No probe is asked about by an operator."""
        return False


_OF_FAILURE: dict[type[BaseException], str] = {
    Overloaded: "as many exchanges as there may be are in flight",
    TimeoutError: "no answer in time",
}


def _not_kept(_: bytes | Unanswered) -> None:
    pass


class _Respond(Respond):
    """Writes the reply as for any client, and says which it is where no step before has."""

    def __init__(self, said: _Said, counters: "array[int]") -> None:
        super().__init__(counters)
        self._said = said

    def silence(self, problem: int) -> None:
        self._said("question", "no query: silence")

    def turned_away(self, query: Query, admitted: int) -> bytes | None:
        if admitted == codes.NOT_A_CLIENT:
            self._said("client", "not in listen.allow: refused")
        else:
            self._said("client", "in listen.allow")
            self._said("limiter", "past its queries a second: told to come by TCP, or left without an answer")
        return super().turned_away(query, admitted)

    def malformed(self, query: Query, problem: int) -> bytes | None:
        self._said("question", _OF_PROBLEM.get(problem, "malformed"))
        return super().malformed(query, problem)

    def local(self, query: Query, found: int) -> bytes | None:
        self._said("local zone", "answered here, never forwarded")
        return super().local(query, found)

    def any(self, query: Query) -> bytes | None:
        self._said("type", "ANY is answered here, as little as can be")
        return super().any(query)

    def refused(self, query: Query) -> bytes | None:
        self._said("question", "not to be forwarded (RD=0, or a class that is not IN): refused")
        return super().refused(query)
