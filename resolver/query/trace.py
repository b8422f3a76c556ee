"""Walks a query through the steps of `answer` for an operator, notes the result of each step, and keeps nothing.

Rules:
- The order is that of `answer`, whose code runs here with parts that note their results.
- The walk changes no state and keeps nothing: it checks the limit in a copy of the buckets, counts in tables of its
  own, reads the cache without marking a hit, and does not keep the upstream's answer.
- No list is named. A kept answer that was blocked is not shown, because it would reveal that somebody asked: it is
  skipped, and an upstream is asked.
- The tables are those in force when the walk began.
"""

import asyncio
from array import array
from collections.abc import Callable
from dataclasses import dataclass

from resolver.core import codes, sketch, store, tally
from resolver.core.admit import exempts
from resolver.core.crash_shape import NUMBERS, Shape
from resolver.core.policy import Generation, Verdict
from resolver.core.question import Question
from resolver.query.answer import Answer
from resolver.query.block import Block
from resolver.query.cache import FRESH, NOTHING, Cache, key_bits
from resolver.query.forward import NOBODY, Forward, Outcome, Overloaded, Unanswered
from resolver.query.query import Query, Tables
from resolver.query.respond import Respond
from resolver.query.transport import Transport

_TALLY_OCTETS = tally.TABLES * 2**12
_NO_KEY = bytes(16)
_OF_PROBLEM = {
    codes.BAD_OPCODE: "an opcode that is not served",
    codes.BAD_VERSION: "an EDNS version that is not served",
    codes.NOT_SERVED: "a transfer or a signed query, which is not served",
}

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
        memory: store.Store,
        forward: Forward,
        clock: Callable[[], float],
        named: Callable[[int], str],
    ) -> None:
        self._named = named
        self._tables = tables
        self._memory = memory
        self._forward = forward
        self._clock = clock

    async def walk(self, packet: bytes, client: bytes) -> Walked:
        """Return the steps and the answer of a query over UDP from `client` (16 octets)."""
        tables, steps = self._tables(), _Steps(self._clock)
        counters = array("Q", bytes(8 * codes.COUNTERS_SIZE))
        answer = Answer(
            tables,
            block=_Block(steps, tables, counters, self._named),
            cache=_Cache(steps, self._memory, counters),
            forward=_Forward(steps, self._forward),  # type: ignore[arg-type]  # has the four calls that Answer makes
            respond=_Respond(steps, counters),
            clock=self._clock,
            crash_shape=Shape(array("q", [0] * len(NUMBERS))),
            asked=sketch.Sketch(bytearray(2 * sketch.SET_OCTETS), bytes(16)),
        )
        reply = answer.answer(packet, client, Transport.UDP)
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


class _Block(Block):
    """Judges names; notes first that the client was admitted, because a query only gets here if it was."""

    def __init__(
        self, steps: _Steps, tables: Tables, counters: "array[int]", named: Callable[[int], str]
    ) -> None:
        super().__init__(tally.Tally(bytearray(_TALLY_OCTETS), _NO_KEY), counters)
        self._note = steps
        self._named = named
        self._tables = tables
        self._last = -1

    def judge(self, generation: Generation, query: Query) -> int:
        if self._last < 0:
            self._note_client(query)
        verdict = super().judge(generation, query)
        if verdict != self._last:
            self._last = verdict
            words = {codes.PASS: "not blocked", codes.BLOCK: f"blocked by {self._named(self.verdict.slot)}"}
            self._note("lists", words.get(verdict, "cannot be judged"))
            if verdict == codes.PASS and not self._tables.complete:
                self._note("lists", "not all in force yet: only blocked names are answered")
        return verdict

    def answer(
        self, tables: Tables, query: Query, verdict: Verdict, now: float, respond: Respond
    ) -> bytes | None:
        if verdict is not self.verdict:
            self._note("reply", f"leads to a name that is blocked by {self._named(verdict.slot)}")
        return super().answer(tables, query, verdict, now, respond)

    def _note_client(self, query: Query) -> None:
        access = self._tables.access
        self._note("client", "in listen.allow")
        spared = exempts(access, query.client)
        self._note("limiter", "in limits.exempt" if spared else f"below {access.rate} queries a second")
        members = self._tables.generation.members
        judging = sum(1 for one in members if one.scope_bit & query.scope)
        self._note("scope", f"{judging} of {len(members)} lists in force judge this client")


class _Cache(Cache):
    """Finds answers without marking a hit, and keeps nothing."""

    def __init__(self, steps: _Steps, memory: store.Store, counters: "array[int]") -> None:
        super().__init__(memory, counters)
        self._note = steps
        self._looked = False

    def _look(self, query: Query, now_s: int) -> int:
        form = key_bits(query.question)
        found: int = store.peek_form(self.memory, query.question, form, now_s, self.kept, self.scratch)
        if found != NOTHING and self.kept.kind & store.BLOCKED:
            found = NOTHING
        if not self._looked:
            self._looked = True
            self._tell(found)
        return found

    def _tell(self, found: int) -> None:
        kept = self.kept
        if found == NOTHING:
            self._note("cache", "nothing kept")
        elif self.is_failure():
            self._note("cache", f"a failure, kept for {kept.ttl_s - kept.age_s} s more")
        elif found == FRESH:
            self._note("cache", f"kept {kept.age_s} s ago, fresh for {kept.ttl_s - kept.age_s} s more")
        else:
            self._note("cache", f"stale for {kept.age_s - kept.ttl_s} s, given only if no upstream answers")

    def _other_form(self, query: Query, now_s: int) -> int:
        serves = super()._other_form(query, now_s)
        return NOTHING if self._other.kind & store.BLOCKED else serves

    def _take_over(self, query: Query, found: int, now_s: int) -> int:
        del query, now_s
        self._note("cache", "the answer to the question with another DO or CD serves this one")
        self.kept = self._other
        return found

    def keep(self, *_: object) -> None:
        pass

    def fail(self, *_: object) -> None:
        pass

    def renew(self, *_: object) -> None:
        pass


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
    ) -> bytes:
        """Ask as Forward.exchange does, but keep nothing; the outcome of a shared exchange is that of the others."""
        del outcome
        zone = self._forward.group_of(question).zone
        zone = zone and f"servers of zone {zone}: "
        try:
            reply = await self._forward.exchange(packet, question, digest, _not_kept, patience_s, client)
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


class _Respond(Respond):
    """Writes the answer as for any client, and notes its reason if no earlier step has."""

    def __init__(self, steps: _Steps, counters: "array[int]") -> None:
        super().__init__(counters)
        self._note = steps

    def silence(self, problem: int) -> None:
        self._note("question", "not a query: no answer")

    def turned_away(self, query: Query, admitted: int) -> bytes | None:
        if admitted == codes.NOT_A_CLIENT:
            self._note("client", "not in listen.allow: refused")
        else:
            self._note("client", "in listen.allow")
            self._note("limiter", "above its queries a second: TC=1, so that it retries over TCP, or no answer")
        return super().turned_away(query, admitted)

    def malformed(self, query: Query, problem: int) -> bytes | None:
        self._note("question", _OF_PROBLEM.get(problem, "malformed"))
        return super().malformed(query, problem)

    def local(self, query: Query, found: int) -> bytes | None:
        self._note("local zone", "answered here, never forwarded")
        return super().local(query, found)

    def any(self, query: Query) -> bytes | None:
        self._note("type", "ANY gets a minimal answer, never forwarded")
        return super().any(query)

    def refused(self, query: Query) -> bytes | None:
        self._note("question", "not forwarded (RD=0, or a class other than IN): refused")
        return super().refused(query)
