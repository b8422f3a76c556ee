"""The steps of every query, over every transport. Read this first.

Rules:
- The verdict on the name comes before the cache, and the verdict on the reply before it is kept or sent: an order
  turned round here is a leak.
- What is decided is decided by resolver.core; a step only says when.
- Whatever arrives gives at most one answer; an exception in a step is counted and answered with SERVFAIL.
- Nothing here logs: a packet counts a reason.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from resolver.core import codes
from resolver.core.admit import Access, admit, scope
from resolver.core.policy import Generation
from resolver.core.question import Question, parse
from resolver.core.reply import limit_of
from resolver.query.block import Block
from resolver.query.cache import Cache
from resolver.query.forward import Forward, Overloaded, Unanswered
from resolver.query.recheck import Recheck
from resolver.query.respond import Respond

Reply = bytes | None
"""What to send, or silence."""


@dataclass(frozen=True)
class Tables:
    """What is in force for the queries of this moment; replaced whole.

    complete: whether every configured list is in force. Until then a name that no list blocks is not answered.
    """

    generation: Generation
    access: Access
    complete: bool


@dataclass(slots=True)
class Query:
    """One query on its way: its octets, what core read from them, and who asked (16 octets) over what."""

    packet: bytes
    question: Question
    client: bytes
    stream: bool
    scope: int
    limit: int


def _not_kept(reply: bytes | Unanswered) -> None:
    """Each who waits for an exchange keeps its reply."""


class Answer:
    """Answers queries by the tables in force; `clock` is a monotonic clock in seconds."""

    def __init__(
        self,
        tables: Tables,
        *,
        block: Block,
        cache: Cache,
        forward: Forward,
        counters: Any,
        clock: Callable[[], float],
    ) -> None:
        self.tables = tables
        self.in_flight = 0
        self._block = block
        self._cache = cache
        self._forward = forward
        self._recheck = Recheck()
        self._respond = Respond(counters)
        self._clock = clock
        self._spare: list[Question] = []

    def errors(self) -> int:
        """Return how many verdicts failed since the start: above 0, this process does not enforce for sure."""
        return self._block.verdict.errors + self._recheck.verdict.errors

    def answer(self, packet: bytes, client: bytes, stream: bool) -> Reply | Awaitable[Reply]:
        """Return the reply to a query from `client` (16 octets), None for silence, or either to be awaited."""
        self._respond.received(stream)
        question = self._spare.pop() if self._spare else Question()
        query = Query(packet, question, client, stream, 0, 0)
        try:
            result = self._steps(query)
        except Exception:  # noqa: BLE001 - whatever a packet does to us, its sender gets one answer and no more
            result = self._respond.failed(query, codes.SERVFAIL, codes.EDE_OTHER, "internal")
        if isinstance(result, bytes | None):
            self._spare.append(question)
        return result

    def _steps(self, query: Query) -> Reply | Awaitable[Reply]:
        tables, respond, question = self.tables, self._respond, query.question
        now = self._clock()
        problem = parse(query.packet, len(query.packet), question)
        if problem in (codes.SILENT_SHORT, codes.SILENT_RESPONSE):
            respond.silence(problem)
            return None
        query.limit = limit_of(question, query.stream)
        admitted = admit(tables.access, query.client, int(now * 1000))
        if admitted != codes.ADMITTED:
            return respond.turned_away(query, admitted)
        if problem != codes.WELL_FORMED:
            return respond.malformed(query, problem)
        if not self._passes(query, tables):  # before the cache, or a kept answer passes the list
            return self._stopped(query, tables, now)
        if not respond.is_ours_to_forward(question):  # before the cache: RD=0 tells what others asked (snooping)
            return respond.refused(query)
        found = self._cache.find(query, now)
        if found and self._cache.judged_under != tables.generation.number:
            return self._judge_again(query, tables, now)
        if found:
            return respond.kept(query, self._cache)
        return self._ask_upstream(query, self._cache.digest(query))

    def _passes(self, query: Query, tables: Tables) -> bool:
        """Judge the name by the lists that judge the client; only an explicit PASS by complete tables goes on."""
        query.scope = scope(tables.access, query.client)
        return self._block.judge(tables.generation, query) == codes.PASS and tables.complete

    def _stopped(self, query: Query, tables: Tables, now: float) -> Reply:
        """Answer a query whose name did not pass, by the verdict just given."""
        verdict = self._block.verdict
        if verdict.verdict == codes.BLOCK:
            return self._block.answer(tables.generation, query, verdict, now, self._respond)
        if verdict.verdict != codes.PASS:
            return self._respond.failed(query, codes.SERVFAIL, codes.EDE_OTHER, "internal")
        return self._respond.failed(query, codes.SERVFAIL, codes.EDE_NOT_READY, "not_ready")

    async def _ask_upstream(self, query: Query, digest: tuple[int, int]) -> Reply:
        """Forward, recheck, keep, respond. The tables may have been replaced while upstream answered."""
        respond = self._respond
        self.in_flight += 1
        try:
            reply = await self._forward.exchange(query.packet, query.question, digest, _not_kept)
            return self._judge_reply(query, digest, bytearray(reply))
        except Overloaded:
            return respond.failed(query, codes.SERVFAIL, codes.EDE_OTHER, "overload")
        except Unanswered as failure:
            return respond.failed(query, codes.SERVFAIL, failure.ede, "upstream")
        except Exception:  # noqa: BLE001 - as in `answer`
            return respond.failed(query, codes.SERVFAIL, codes.EDE_OTHER, "internal")
        finally:
            self.in_flight -= 1
            self._spare.append(query.question)

    def _judge_reply(self, query: Query, digest: tuple[int, int], reply: bytearray) -> Reply:
        tables, recheck, now = self.tables, self._recheck, self._clock()
        # The name again: a list that came or went while upstream answered holds for this answer too.
        if not self._passes(query, tables):
            return self._stopped(query, tables, now)
        judged = recheck.judge(tables.generation, reply, query.scope)
        if judged.for_all == codes.ASK:
            return self._respond.failed(query, codes.SERVFAIL, codes.EDE_NONE, "malformed_reply")
        self._cache.keep(digest, reply, recheck.message, tables.generation.number, judged.for_all, now)
        if judged.for_client == codes.BLOCK:
            return self._block.answer(tables.generation, query, recheck.verdict, now, self._respond)
        return self._respond.fresh(query, reply, recheck.message)

    def _judge_again(self, query: Query, tables: Tables, now: float) -> Reply:
        """A kept answer of an older generation, or one that was blocked: judged before it is sent."""
        kept = self._cache.body()
        judged = self._recheck.judge(tables.generation, kept, query.scope)
        if judged.for_all == codes.ASK:
            return self._respond.failed(query, codes.SERVFAIL, codes.EDE_OTHER, "internal")
        if judged.for_client == codes.BLOCK:
            return self._block.answer(tables.generation, query, self._recheck.verdict, now, self._respond)
        if not self._recheck.message.drop_additional:
            self._cache.renew(tables.generation.number, judged.for_all)
        return self._respond.kept(query, self._cache, kept[: self._recheck.message.end])
