"""The steps of every query, over every transport. Read this first.

Rules:
- The verdict on the name comes before the cache, and the verdict on the reply before it is kept or sent: an order
  turned round here is a leak.
- What is decided is decided by resolver.core; a step only says when.
- Whatever arrives gives at most one answer; an exception in a step is counted and answered with SERVFAIL.
- What upstream said is kept once an exchange, however many wait for it and even if nobody does any more.
- An answer past its time is given only where upstream gives none in time (RFC 8767), and judged like any other.
- Nothing here logs: a packet counts a reason.
"""

from collections.abc import Awaitable, Callable
from functools import partial

from resolver.core import codes
from resolver.core.admit import admit, scope
from resolver.core.crash_shape import Shape, read
from resolver.core.crash_shape import reply as note_reply
from resolver.core.image import SELFTEST_ZONE
from resolver.core.local_zones import find as find_local
from resolver.core.question import Question
from resolver.core.reply import limit_of
from resolver.query.block import Block
from resolver.query.cache import NOTHING, STALE, Cache, ede_option
from resolver.query.forward import Forward, Overloaded, Unanswered
from resolver.query.query import Query, Reply, Tables
from resolver.query.recheck import Recheck
from resolver.query.respond import Respond
from resolver.query.transport import Transport

PATIENCE_S = 1.8
"""How long upstream may take before an answer past its time is given instead (RFC 8767 5)."""

SPARE_QUESTIONS = 1024
"""How many are kept for later queries, about 5 kB each: not as many as once waited for an upstream that was silent."""


def _is_proof(query: Query, tables: Tables) -> bool:
    """Tell whether this host itself asks for the synthetic name of an image."""
    if query.client not in tables.own:
        return False
    name = query.question.name.wire()
    # One label before the zone: a label may hold any octet, those of the zone too.
    return bool(name[1 + name[0] :] == SELFTEST_ZONE)


class Answer:
    """Answers queries by the tables in force; `clock` is a monotonic clock in seconds, `shape` what a crash tells."""

    def __init__(
        self,
        tables: Tables,
        *,
        block: Block,
        cache: Cache,
        forward: Forward,
        respond: Respond,
        clock: Callable[[], float],
        shape: Shape,
    ) -> None:
        self.tables = tables
        self.in_flight = 0
        # Answers a NOTIFY (packet, client) that is meant for us, None for any other; set where there are zones.
        self.notified: Callable[[bytes, bytes], bytes | None] | None = None
        self._block = block
        self._cache = cache
        self._forward = forward
        self._recheck = Recheck()
        self._respond = respond
        self._clock = clock
        self._shape = shape
        self._spare: list[Question] = []

    def errors(self) -> int:
        """Return how many verdicts failed since the start: above 0, this process does not enforce for sure."""
        return self._block.verdict.errors + self._recheck.verdict.errors

    def answer(self, packet: bytes, client: bytes, transport: Transport) -> Reply | Awaitable[Reply]:
        """Return the reply to a query from `client` (16 octets), None for silence, or either to be awaited."""
        self._respond.received(transport)
        question = self._spare.pop() if self._spare else Question()
        query = Query(packet, question, client, transport)
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
        transport = query.transport
        problem = read(self._shape, query.packet, len(query.packet), transport.is_stream, question)
        if problem in (codes.SILENT_SHORT, codes.SILENT_RESPONSE):
            respond.silence(problem)
            return None
        query.limit = limit_of(question, transport.least, transport.most)
        if question.keepalive:
            question.keepalive_ds = transport.keepalive_ds
        admitted = admit(tables.access, query.client, int(now * 1000))
        if admitted != codes.ADMITTED and not (problem == codes.WELL_FORMED and _is_proof(query, tables)):
            return self._notice(query, problem) or respond.turned_away(query, admitted)
        if problem != codes.WELL_FORMED:
            return self._notice(query, problem) or respond.malformed(query, problem)
        if not self._passes(query, tables):  # before the cache, or a kept answer passes the list
            return self._stopped(query, tables, now)
        if question.qclass != codes.CLASS_IN:
            return respond.refused(query)
        found = find_local(tables.zones, question.name, question.qtype)
        if found != codes.NOT_LOCAL:
            return respond.local(query, found)
        if not question.flags & 0x0100:  # before the cache: RD=0 tells what others asked (snooping)
            return respond.refused(query)
        if question.qtype == codes.TYPE_ANY:
            return respond.any(query)
        return self._look_up(query, tables, now)

    def _notice(self, query: Query, problem: int) -> Reply:
        """Answer a NOTIFY of a list's primary, which need be no client; None for everything else."""
        if problem != codes.BAD_OPCODE or self.notified is None:
            return None
        said = self.notified(query.packet, query.client)
        return said and self._respond.sent(memoryview(said), len(said))

    def _passes(self, query: Query, tables: Tables) -> bool:
        """Judge the name by the lists that judge the client; only an explicit PASS by complete tables goes on."""
        access = tables.access
        query.scope = codes.ALL_LISTS if access.scoped and _is_proof(query, tables) else scope(access, query.client)
        return self._block.judge(tables.generation, query) == codes.PASS and tables.complete

    def _stopped(self, query: Query, tables: Tables, now: float) -> Reply:
        """Answer a query whose name did not pass, by the verdict just given."""
        verdict = self._block.verdict
        if verdict.verdict == codes.BLOCK:
            return self._block.answer(tables.generation, query, verdict, now, self._respond)
        if verdict.verdict != codes.PASS:
            return self._respond.failed(query, codes.SERVFAIL, codes.EDE_OTHER, "internal")
        return self._respond.failed(query, codes.SERVFAIL, codes.EDE_NOT_READY, "not_ready")

    def _look_up(self, query: Query, tables: Tables, now: float) -> Reply | Awaitable[Reply]:
        """Answer from the cache, else from upstream; what is asked for often is fetched anew before its time ends."""
        cache = self._cache
        found = cache.find(query, now)
        if found == NOTHING or (found == STALE and not cache.kept.quiet):
            if self._forward.is_probe(query.question):
                return self._respond.failed(query, codes.SERVFAIL, codes.EDE_NETWORK_ERROR, "upstream")
            return self._ask_upstream(query, cache.digest(), found)
        if cache.kept.hot:
            digest = cache.digest()
            self._forward.refresh(query.packet, query.question, digest, self._keeper(query, digest))
        return self._give_kept(query, tables, found, now)

    def _give_kept(self, query: Query, tables: Tables, found: int, now: float) -> Reply:
        """Send what was found last, judged by the lists now in force."""
        cache, respond = self._cache, self._respond
        cache.count(found)
        if cache.is_judged(tables.generation.number):
            return respond.kept(query, cache, stale=found == STALE)
        kept = cache.body()
        judged = self._recheck.judge(tables.generation, kept, query.scope)
        if judged.for_all == codes.ASK:
            return respond.failed(query, codes.SERVFAIL, codes.EDE_OTHER, "internal")
        if judged.for_client == codes.BLOCK:
            return self._block.answer(tables.generation, query, self._recheck.verdict, now, respond)
        if not self._recheck.message.drop_additional:
            cache.renew(tables.generation.number, judged.for_all)
        cache.trimmed(self._recheck.message)
        return respond.kept(query, cache, stale=found == STALE)

    async def _ask_upstream(self, query: Query, digest: tuple[int, int], found: int) -> Reply:
        """Forward, recheck, keep, respond. The tables may have been replaced while upstream answered."""
        self.in_flight += 1
        patience_s = PATIENCE_S if found == STALE else None
        try:
            keeper = self._keeper(query, digest)
            try:
                reply = await self._forward.exchange(query.packet, query.question, digest, keeper, patience_s)
            except TimeoutError:
                return self._without_upstream(query, found, codes.EDE_NONE, "upstream")
            except Overloaded:
                return self._without_upstream(query, found, codes.EDE_OTHER, "overload")
            except Unanswered as failure:
                return self._without_upstream(query, found, failure.ede, "upstream")
            return self._judge_reply(query, bytearray(reply), found)
        except Exception:  # noqa: BLE001 - as in `answer`
            return self._respond.failed(query, codes.SERVFAIL, codes.EDE_OTHER, "internal")
        finally:
            self.in_flight -= 1
            if len(self._spare) < SPARE_QUESTIONS:
                self._spare.append(query.question)

    def _judge_reply(self, query: Query, reply: bytearray, found: int) -> Reply:
        tables, recheck = self.tables, self._recheck
        # The name again: a list that came or went while upstream answered holds for this answer too.
        if not self._passes(query, tables):
            return self._stopped(query, tables, self._clock())
        note_reply(self._shape, len(reply))
        judged = recheck.judge(tables.generation, reply, query.scope)
        # BADVERS would speak of our EDNS to the client, and we send version 0 only.
        if judged.for_all == codes.ASK or recheck.message.rcode == codes.BADVERS:
            return self._without_upstream(query, found, codes.EDE_NONE, "malformed_reply")
        if judged.for_client == codes.BLOCK:
            return self._block.answer(tables.generation, query, recheck.verdict, self._clock(), self._respond)
        if found == STALE and recheck.message.rcode not in (codes.NOERROR, codes.NXDOMAIN):
            return self._without_upstream(query, found, codes.EDE_NONE, "upstream")
        self._cache.count(NOTHING)
        return self._respond.fresh(query, recheck.message)

    def _without_upstream(self, query: Query, found: int, ede: int, reason: str) -> Reply:
        """Answer what upstream did not: with what is kept, where there was something, else that it failed."""
        tables, now = self.tables, self._clock()
        if not self._passes(query, tables):
            return self._stopped(query, tables, now)
        if found == STALE:
            found = self._cache.find(query, now)
            if found != NOTHING and not self._cache.is_failure():
                return self._give_kept(query, tables, found, now)
        self._cache.count(NOTHING)
        return self._respond.failed(query, codes.SERVFAIL, ede, reason)

    def _keeper(self, query: Query, digest: tuple[int, int]) -> Callable[[bytes | Unanswered], None]:
        return partial(self._keep, digest, query.packet[12 : query.question.end])

    def _keep(self, digest: tuple[int, int], asked: bytes, outcome: bytes | Unanswered) -> None:
        """Keep what an exchange came to for the question `asked`: the reply, judged by all lists, or the failure."""
        cache, recheck, tables, now = self._cache, self._recheck, self.tables, self._clock()
        if isinstance(outcome, Unanswered):
            cache.fail(digest, asked, codes.SERVFAIL, ede_option(outcome.ede), now)
            return
        reply = bytearray(outcome)
        note_reply(self._shape, len(reply))
        judged = recheck.judge(tables.generation, reply, codes.ALL_LISTS)
        message = recheck.message
        if judged.for_all == codes.ASK or message.rcode == codes.BADVERS:
            cache.fail(digest, asked, codes.SERVFAIL, b"", now)
        elif message.rcode in (codes.NOERROR, codes.NXDOMAIN):
            cache.keep(digest, message, tables.generation.number, judged.for_all, now)
        elif message.rcode != codes.YXDOMAIN:  # An answer, with its DNAME (RFC 6672 2.2), and rare.
            cache.fail(digest, asked, message.rcode, message.errors[: message.errors_size], now)
