"""Walks the steps of every query, over every transport. Read this first.

Rules:
- Block before cache, recheck before keep: the name is judged before the cache is read, and an upstream's answer before
  it is kept or sent. Any other order lets listed names pass.
- What is never answered from the cache or an upstream (RD=0, a class other than IN) is refused before the verdict, for
  listed and unlisted names alike: it cannot be used to find out what is listed.
- resolver.core decides; a step only says when.
- A packet gets at most one answer; an exception in a step is counted and answered with SERVFAIL.
- An upstream's answer is kept once for each exchange, whether many queries wait for it or none any more.
- A stale answer is given only if no upstream answers in time (RFC 8767), and is judged like any other. If no upstream
  is up it is given at once: nobody is there to wait for, and probes find an upstream that returns.
- An answer may come after its exchange failed: it replaces the failure that was kept, judged by the lists of then.
- Nothing here logs: a packet that is not answered normally counts a reason.
"""

from collections.abc import Awaitable, Callable
from functools import partial

from resolver.core import codes
from resolver.core.admit import admit, exempts, scope
from resolver.core.crash_shape import Shape, read
from resolver.core.crash_shape import reply as note_for_crash
from resolver.core.image import SELFTEST_ZONE
from resolver.core.local_zones import find as find_local
from resolver.core.question import Question
from resolver.core.reply import limit_of
from resolver.core.scratch import Scratch
from resolver.core.sketch import Sketch
from resolver.core.sketch import note as note_for_lists
from resolver.core.store import FAILURE
from resolver.query.block import Block
from resolver.query.cache import FRESH, NOTHING, STALE, Cache, ede_option
from resolver.query.forward import Forward, Overloaded, Unanswered
from resolver.query.query import Query, Reply, Tables
from resolver.query.recheck import Recheck
from resolver.query.respond import Respond
from resolver.query.transport import Transport

PATIENCE_S = 1.8
"""The time after which a stale answer is given instead of waiting for the upstream, in seconds (RFC 8767 5)."""

SPARE_QUESTIONS = 1024
"""The number of Questions kept for reuse, about 5 kB each: a burst of waiting queries must not pin memory for ever."""


def _is_proof(query: Query, tables: Tables) -> bool:
    """Return whether this host itself asks for the synthetic name of an image."""
    if query.client not in tables.own:
        return False
    name = query.question.name.wire()
    # Skip exactly one label and compare the rest: a label may itself contain the octets of the zone.
    return bool(name[1 + name[0] :] == SELFTEST_ZONE)


class Answer:
    """Answers queries by the tables in force.

    clock: monotonic, in seconds. crash_shape: numbers about the present packet for a crash report. asked: the
    sketch of what clients ask, by which lists are judged before they come.
    """

    def __init__(
        self,
        tables: Tables,
        *,
        block: Block,
        cache: Cache,
        forward: Forward,
        respond: Respond,
        clock: Callable[[], float],
        crash_shape: Shape,
        asked: Sketch,
    ) -> None:
        self.tables = tables
        self.in_flight = 0
        # Returns the answer to a NOTIFY (packet, client) for a zone of ours, else None; set if a list is a zone.
        self.notified: Callable[[bytes, bytes], bytes | None] | None = None
        self._block = block
        self._cache = cache
        self._forward = forward
        self._recheck = Recheck()
        self._respond = respond
        self._clock = clock
        self._crash_shape = crash_shape
        self._asked = asked
        self._spare: list[Question] = []
        self._scratch = Scratch()

    def errors(self) -> int:
        """Return the number of verdicts that failed since the start; above 0, enforcement is not certain."""
        return self._block.verdict.errors + self._recheck.errors

    def answer(self, packet: bytes, client: bytes, transport: Transport) -> Reply | Awaitable[Reply]:
        """Return the answer to a query from `client` (16 octets), None for silence, or an awaitable of either."""
        self._respond.received(transport)
        question = self._spare.pop() if self._spare else Question()
        query = Query(packet, question, client, transport)
        try:
            result = self._steps(query)
        except Exception:  # noqa: BLE001 - whatever a packet causes here, its sender gets exactly one answer
            result = self._respond.failed(query, codes.SERVFAIL, codes.EDE_OTHER, "internal")
        if isinstance(result, bytes | None):
            self._spare.append(question)
        return result

    def _steps(self, query: Query) -> Reply | Awaitable[Reply]:
        tables, respond, question = self.tables, self._respond, query.question
        now = self._clock()
        transport = query.transport
        problem = read(self._crash_shape, query.packet, len(query.packet), transport.is_stream, question)
        if problem in (codes.SILENT_SHORT, codes.SILENT_RESPONSE):
            respond.silence(problem)
            return None
        query.limit = limit_of(question, transport.least, transport.most)
        if question.keepalive:
            question.keepalive_ds = transport.keepalive_ds
        admitted = admit(tables.access, query.client, transport.is_stream, int(now * 1000), self._scratch)
        if admitted != codes.ADMITTED and not (problem == codes.WELL_FORMED and _is_proof(query, tables)):
            return self._notice(query, problem) or respond.turned_away(query, admitted)
        if problem != codes.WELL_FORMED:
            return self._notice(query, problem) or respond.malformed(query, problem)
        if question.qclass != codes.CLASS_IN:
            return respond.refused(query)
        if not question.flags & 0x0100:
            return self._without_recursion(query, tables)
        if not self._passes(query, tables):  # before the cache, else a kept answer would bypass the lists
            return self._stopped(query, tables, now)
        found = find_local(tables.zones, question.name, question.qtype)
        if found != codes.NOT_LOCAL:
            return respond.local(query, found)
        if question.qtype == codes.TYPE_ANY:
            return respond.any(query)
        note_for_lists(self._asked, tables.access, tables.generation, question.name, now, self._scratch)
        return self._look_up(query, tables, now)

    def _without_recursion(self, query: Query, tables: Tables) -> Reply:
        """Answer a query with RD=0 from a local zone, or refuse it; neither the lists nor the cache are asked.

        The cache would show what others asked (cache snooping), and the lists what is listed, without an attempt.
        """
        found = find_local(tables.zones, query.question.name, query.question.qtype)
        return self._respond.refused(query) if found == codes.NOT_LOCAL else self._respond.local(query, found)

    def _notice(self, query: Query, problem: int) -> Reply:
        """Answer a NOTIFY from a list's primary, which need not be in the ACL; return None for every other packet."""
        if problem != codes.BAD_OPCODE or self.notified is None:
            return None
        said = self.notified(query.packet, query.client)
        return said and self._respond.sent(memoryview(said), len(said))

    def _passes(self, query: Query, tables: Tables) -> bool:
        """Judge the name by the lists that apply to the client; only an explicit PASS by complete tables passes."""
        access = tables.access
        query.scope = codes.ALL_LISTS if access.scoped and _is_proof(query, tables) else scope(access, query.client)
        return self._block.judge(tables.generation, query) == codes.PASS and tables.complete

    def _stopped(self, query: Query, tables: Tables, now: float) -> Reply:
        """Answer a query whose name did not pass, by the last verdict."""
        verdict = self._block.verdict
        if verdict.verdict == codes.BLOCK:
            return self._block.answer(tables, query, verdict, now, self._respond)
        if verdict.verdict != codes.PASS:
            return self._respond.failed(query, codes.SERVFAIL, codes.EDE_OTHER, "internal")
        return self._respond.failed(query, codes.SERVFAIL, codes.EDE_NOT_READY, "not_ready")

    def _look_up(self, query: Query, tables: Tables, now: float) -> Reply | Awaitable[Reply]:
        """Answer from the cache, else from an upstream; prefetch popular answers before their TTL ends."""
        cache = self._cache
        found = cache.find(query, now)
        if found != FRESH or cache.kept.kind & FAILURE:
            return self._look_further(query, tables, found, now)
        if cache.kept.hot:
            digest = cache.digest()
            self._forward.refresh(query.packet, query.question, digest, self._keeper(query, digest))
        return self._give_kept(query, tables, FRESH, now)

    def _look_further(self, query: Query, tables: Tables, found: int, now: float) -> Reply | Awaitable[Reply]:
        """Answer a query without a fresh answer to its own form; found: a failure (FRESH), STALE or NOTHING."""
        cache = self._cache
        other = cache.other(query, now)
        if other == FRESH and cache.lend(query, FRESH, now):
            return self._give_kept(query, tables, FRESH, now)
        if found == FRESH:
            return self._give_kept(query, tables, (other and cache.lend(query, STALE, now)) or FRESH, now)
        if found == STALE and cache.kept.quiet:
            return self._give_kept(query, tables, STALE, now)
        if self._forward.is_probe(query.question):
            return self._respond.failed(query, codes.SERVFAIL, codes.EDE_NETWORK_ERROR, "upstream")
        if not self._forward.is_up_for(query.question):
            stale = found or (other and cache.lend(query, STALE, now))
            if stale:
                return self._give_kept(query, tables, stale, now)
        return self._ask_upstream(query, cache.digest(), STALE if found or other else NOTHING)

    def _give_kept(self, query: Query, tables: Tables, found: int, now: float) -> Reply:
        """Send the answer found last in the cache, judged by the lists now in force."""
        cache, respond = self._cache, self._respond
        cache.count(found)
        if cache.is_judged(tables.generation.number):
            return respond.kept(query, cache, stale=found == STALE)
        kept = cache.body()
        judged = self._recheck.judge(tables.generation, kept, query.scope)
        if judged.for_all == codes.ASK:
            return respond.failed(query, codes.SERVFAIL, codes.EDE_OTHER, "internal")
        if judged.for_client == codes.BLOCK:
            return self._block.answer(tables, query, self._recheck.verdict, now, respond)
        if not self._recheck.message.drop_additional:
            cache.renew(tables.generation.number, judged.for_all)
        cache.trimmed(self._recheck.message)
        return respond.kept(query, cache, stale=found == STALE)

    async def _ask_upstream(self, query: Query, digest: tuple[int, int], found: int) -> Reply:
        """Forward, recheck, keep and respond; the tables may be replaced while the upstream is asked."""
        self.in_flight += 1
        patience_s = PATIENCE_S if found == STALE else None
        try:
            keeper = self._keeper(query, digest)
            try:
                reply = await self._forward.exchange(
                    query.packet, query.question, digest, keeper, patience_s, query.client
                )
            except TimeoutError:
                return self._without_upstream(query, codes.EDE_NO_REACHABLE_AUTHORITY, "upstream")
            except Overloaded:
                return self._without_upstream(query, codes.EDE_OTHER, "overload")
            except Unanswered as failure:
                return self._without_upstream(query, failure.ede, "upstream")
            return self._judge_reply(query, reply, found)
        except Exception:  # noqa: BLE001 - as in `answer`
            return self._respond.failed(query, codes.SERVFAIL, codes.EDE_OTHER, "internal")
        finally:
            self.in_flight -= 1
            if len(self._spare) < SPARE_QUESTIONS:
                self._spare.append(query.question)

    def _judge_reply(self, query: Query, reply: bytes, found: int) -> Reply:
        tables, recheck = self.tables, self._recheck
        # Judge the name again: a swap that happened while the upstream was asked applies to this answer too.
        if not self._passes(query, tables):
            return self._stopped(query, tables, self._clock())
        note_for_crash(self._crash_shape, len(reply))
        judged = recheck.judge_shared(tables.generation, reply, query.scope)
        # BADVERS concerns our own EDNS version, never the client's, and we only send version 0.
        if judged.for_all == codes.ASK or recheck.message.rcode == codes.BADVERS:
            return self._without_upstream(query, codes.EDE_INVALID_DATA, "malformed_reply")
        if judged.for_client == codes.BLOCK:
            return self._block.answer(tables, query, recheck.verdict, self._clock(), self._respond)
        if found == STALE and recheck.message.rcode not in (codes.NOERROR, codes.NXDOMAIN):
            return self._without_upstream(query, codes.EDE_NETWORK_ERROR, "upstream")
        self._cache.count(NOTHING)
        return self._respond.fresh(query, recheck.message)

    def _without_upstream(self, query: Query, ede: int, reason: str) -> Reply:
        """Answer a query that no upstream answered: with what is kept by now, fresh or stale, else with SERVFAIL."""
        tables, now = self.tables, self._clock()
        if not self._passes(query, tables):
            return self._stopped(query, tables, now)
        cache = self._cache
        found = cache.find(query, now)
        if found == NOTHING or cache.is_failure():
            found = cache.lend(query, STALE, now)
        if found != NOTHING:
            return self._give_kept(query, tables, found, now)
        cache.count(NOTHING)
        return self._respond.failed(query, codes.SERVFAIL, ede, reason)

    def _keeper(self, query: Query, digest: tuple[int, int]) -> Callable[[bytes | Unanswered], None]:
        return partial(self._keep, digest, query.packet[12 : query.question.end], query.client)

    def _keep(self, digest: tuple[int, int], asked: bytes, client: bytes, outcome: bytes | Unanswered) -> None:
        """Keep the outcome of an exchange for the question `asked`: the answer, judged by all lists, or the failure."""
        cache, recheck, tables, now = self._cache, self._recheck, self.tables, self._clock()
        payer = None if exempts(tables.access, client) else client
        if isinstance(outcome, Unanswered):
            failed = codes.SERVFAIL, ede_option(outcome.ede)
            cache.fail(digest, asked, failed, now, payer)
            if outcome.ede != codes.EDE_OTHER:  # else the exchange had to end early, which says nothing of upstream
                for more in cache.asking_more(digest, asked):
                    cache.fail(more, asked, failed, now, payer)
            return
        note_for_crash(self._crash_shape, len(outcome))
        judged = recheck.judge_shared(tables.generation, outcome, codes.ALL_LISTS)
        message = recheck.message
        if judged.for_all == codes.ASK or message.rcode == codes.BADVERS:
            cache.fail(digest, asked, (codes.SERVFAIL, ede_option(codes.EDE_INVALID_DATA)), now, payer)
        elif message.rcode in (codes.NOERROR, codes.NXDOMAIN):
            cache.keep(digest, message, (tables.generation.number, judged.for_all), now, payer)
        elif message.rcode != codes.YXDOMAIN:  # YXDOMAIN is an answer, with a DNAME (RFC 6672 2.2), and rare.
            cache.fail(digest, asked, (message.rcode, message.errors[: message.errors_size]), now, payer)
