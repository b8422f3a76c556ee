"""Finds and keeps answers; the memory, and the rules about TTLs and eviction, are core.store's.

Rules:
- Queries that differ in DO or CD never share an answer. All others for one name, type and class do: they are asked
  upstream in one shape (forward.build_query), and core.reply shapes each reply.
- NOERROR and NXDOMAIN are kept if complete (TC=0); a negative answer only with its SOA, whose time it has (RFC 2308 5).
- An answer that any list blocks is kept with that verdict and judged again at each hit, as is one of an older
  generation.
- Any other rcode, and no answer at all, is a failure: kept for seconds (RFC 9520), never longer than 30.
"""

from typing import Any

from resolver.core import codes, flush, store
from resolver.core.message import Message
from resolver.core.name import Name, unfold
from resolver.core.store import FRESH, NOTHING, STALE, Kept, Store
from resolver.query.query import Query

__all__ = ["FRESH", "NOTHING", "STALE", "Cache", "key_bits"]

STEPS_A_TURN = 4096
_EDE_OPTION = b"\0\x0f\0\x02"


def key_bits(question: Any) -> int:
    """Return the KEY_* bits of core.codes for a question: with name, type and class they identify an answer."""
    bits = codes.KEY_CD if question.flags & 0x10 else 0
    return bits | (codes.KEY_DO if question.dnssec_ok else 0)


class Cache:
    """Kept answers in core.store's memory; `kept` describes the answer found last."""

    def __init__(self, memory: Store, counters: Any) -> None:
        self.memory = memory
        self.kept = Kept()
        self._replaced = Kept()
        self._written = Kept()
        self._counters = counters
        self._miss = codes.counter("cache_answers_total", "miss")
        self._stale = codes.counter("cache_answers_total", "stale")
        # Indexed by the bits of a record's kind: faster for every cached answer than a look-up by word.
        self._given = tuple(codes.counter("cache_answers_total", _word(kind)) for kind in range(8))

    def used_bytes(self) -> int:
        """Return how many octets of the ring hold records."""
        used: int = self.memory.head - self.memory.tail
        return used

    def digest(self) -> tuple[int, int]:
        """Return the key of the query that `find` was last called with."""
        return self.memory.digest[0], self.memory.digest[1]

    def find(self, query: Query, now: float) -> int:
        """Look for an answer to the query at `now` (seconds); return FRESH, STALE or NOTHING."""
        memory = self.memory
        store.set_key(memory, query.question, key_bits(query.question))
        return self._look(memory.digest[0], memory.digest[1], int(now))

    def _look(self, low: int, high: int, now_s: int) -> int:
        found: int = store.find(self.memory, low, high, now_s, self.kept)
        return found

    def count(self, found: int) -> None:
        """Count the result of a look-up: the answer found last was given, or none was."""
        if found == FRESH:
            self._counters[self._given[self.kept.kind]] += 1
        else:
            self._counters[self._stale if found == STALE else self._miss] += 1

    def is_judged(self, generation: int) -> bool:
        """Return whether the answer found last may be given unjudged under this generation of the lists."""
        if self.kept.kind & store.FAILURE:
            return True  # A failure holds no records, and the name itself has just been judged.
        return not self.kept.kind & store.BLOCKED and self.kept.generation == generation

    def is_failure(self) -> bool:
        """Return whether the record found last is a failure, not an answer."""
        return bool(self.kept.kind & store.FAILURE)

    def body(self) -> bytearray:
        """Return a copy of the answer found last, to be judged and trimmed."""
        return bytearray(self.memory.ring[self.kept.start : self.kept.end])

    def trimmed(self, message: Message) -> None:
        """Replace the answer found last by its judged and trimmed copy."""
        self.kept.data, self.kept.start, self.kept.end = message.data, message.start, message.end

    def renew(self, generation: int, verdict: int) -> None:
        """Store the new verdict on the answer found last."""
        store.renew(self.memory, self.kept, generation, _kind(self.kept.kind & store.NEGATIVE, verdict))

    def keep(self, digest: tuple[int, int], message: Message, generation: int, verdict: int, now: float) -> None:
        """Keep a judged and trimmed answer, NOERROR or NXDOMAIN, if the rules allow."""
        negative = message.rcode == codes.NXDOMAIN or not message.answered
        ttl_s = message.ttl_s
        if negative:
            ttl_s = min(ttl_s, message.negative_ttl_s)
        if ttl_s <= 0 or message.truncated:
            # The upstream has replaced the answer kept before, so it must not be given as stale (RFC 8767 4).
            if store.peek(self.memory, *digest, int(now), self._replaced) != NOTHING:
                store.drop(self.memory, self._replaced)
            return
        kind = _kind(store.NEGATIVE if negative else store.POSITIVE, verdict)
        store.set_answer(self._written, message, ttl_s, generation, kind)
        store.keep(self.memory, *digest, int(now), self._written)

    def fail(self, digest: tuple[int, int], asked: bytes, rcode: int, errors: Any, now: float) -> None:
        """Keep a failure for the question `asked` (its octets in a message), with its extended errors."""
        body = b"\0\0\0\0\0\1\0\0\0\0\0\0" + asked
        store.set_failure(self._written, memoryview(body), rcode, errors or b"\0", len(errors))
        store.fail(self.memory, *digest, int(now), self._written)

    async def flush(self, name: bytes, *, subtree: bool, pause: Any) -> int:
        """Forget the answers kept for a name (wire format), with `subtree` also below it; return their number.

        `pause()` is awaited between parts of the memory, so that queries are answered meanwhile.
        """
        wanted = Name()
        if not unfold(name, 0, len(name), wanted):
            raise ValueError("not a name in wire format")
        search = flush.Search(wanted, subtree)
        while flush.forget(self.memory, search, STEPS_A_TURN):
            await pause()
        forgotten: int = search.forgotten
        return forgotten


def ede_option(code: int) -> bytes:
    """Return the EDNS option of one extended error without text (RFC 8914 2); nothing for EDE_NONE."""
    return b"" if code == codes.EDE_NONE else _EDE_OPTION + code.to_bytes(2, "big")


def _word(kind: int) -> str:
    if kind & store.FAILURE:
        return "failure"
    return "negative" if kind & store.NEGATIVE else "positive"


def _kind(negative: int, verdict: int) -> int:
    kind: int = negative | (store.BLOCKED if verdict == codes.BLOCK else 0)
    return kind
