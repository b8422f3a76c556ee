"""The step that looks for a kept answer, and keeps one; the rules and the memory are core.store's.

Rules:
- Queries that differ in DO, CD, AD or in having EDNS never share an answer.
- Kept are NOERROR and NXDOMAIN, whole (TC=0); a negative answer only with its SOA, as long as that says (RFC 2308 5).
- A reply that any list blocks is kept with that verdict and judged again at each hit, as is one of an older generation.
- Every other rcode, and no answer at all, is a failure: kept for seconds (RFC 9520), never longer than 30.
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
    """Return the bits KEY_* of core.codes for a question: what besides name, type and class tells answers apart."""
    bits = codes.KEY_CD if question.flags & 0x10 else 0
    bits |= codes.KEY_AD if question.flags & 0x20 else 0
    bits |= codes.KEY_EDNS if question.has_opt else 0
    return bits | (codes.KEY_DO if question.dnssec_ok else 0)


class Cache:
    """Kept answers in core.store's memory. `kept` tells of the last one found."""

    def __init__(self, memory: Store, counters: Any) -> None:
        self.memory = memory
        self.kept = Kept()
        self._replaced = Kept()
        self._written = Kept()
        self._counters = counters
        self._miss = codes.counter("cache_answers_total", "miss")
        self._stale = codes.counter("cache_answers_total", "stale")
        # By the bits of a record's kind; a look-up in a table costs every cached answer less than words do.
        self._given = tuple(codes.counter("cache_answers_total", _word(kind)) for kind in range(8))

    def used_bytes(self) -> int:
        """Return how much of the ring holds records, in octets."""
        used: int = self.memory.head - self.memory.tail
        return used

    def digest(self) -> tuple[int, int]:
        """Return the key of the query looked for last."""
        return self.memory.digest[0], self.memory.digest[1]

    def find(self, query: Query, now: float) -> int:
        """Look for an answer to the query at `now` (seconds): FRESH, STALE or NOTHING."""
        memory = self.memory
        store.set_key(memory, query.question, key_bits(query.question))
        return self._look(memory.digest[0], memory.digest[1], int(now))

    def _look(self, low: int, high: int, now_s: int) -> int:
        found: int = store.find(self.memory, low, high, now_s, self.kept)
        return found

    def count(self, found: int) -> None:
        """Count what a look-up came to: the answer found last was given, or there was none to give."""
        if found == FRESH:
            self._counters[self._given[self.kept.kind]] += 1
        else:
            self._counters[self._stale if found == STALE else self._miss] += 1

    def is_judged(self, generation: int) -> bool:
        """Tell whether the answer found last may be given as it is under this generation of the lists."""
        if self.kept.kind & store.FAILURE:
            return True  # It holds no record, and the name itself has just been judged.
        return not self.kept.kind & store.BLOCKED and self.kept.generation == generation

    def is_failure(self) -> bool:
        """Tell whether what was found last is that there was no answer."""
        return bool(self.kept.kind & store.FAILURE)

    def body(self) -> bytearray:
        """Return a copy of the reply found last, so that it can be judged and trimmed."""
        return bytearray(self.memory.ring[self.kept.start : self.kept.end])

    def trimmed(self, message: Message) -> None:
        """Let the reply found last be the copy of it that was judged and trimmed."""
        self.kept.data, self.kept.start, self.kept.end = message.data, message.start, message.end

    def renew(self, generation: int, verdict: int) -> None:
        """Note the new verdict of the answer found last."""
        store.renew(self.memory, self.kept, generation, _kind(self.kept.kind & store.NEGATIVE, verdict))

    def keep(self, digest: tuple[int, int], message: Message, generation: int, verdict: int, now: float) -> None:
        """Keep a judged and trimmed reply, with NOERROR or NXDOMAIN, if the rules allow."""
        negative = message.rcode == codes.NXDOMAIN or not message.answered
        ttl_s = message.ttl_s
        if negative:
            ttl_s = min(ttl_s, message.negative_ttl_s)
        if ttl_s <= 0 or message.truncated:
            # What was kept before is no longer what upstream says, and not to be given stale (RFC 8767 4).
            if store.peek(self.memory, *digest, int(now), self._replaced) != NOTHING:
                store.drop(self.memory, self._replaced)
            return
        kind = _kind(store.NEGATIVE if negative else store.POSITIVE, verdict)
        store.set_answer(self._written, message, ttl_s, generation, kind)
        store.keep(self.memory, *digest, int(now), self._written)

    def fail(self, digest: tuple[int, int], asked: bytes, rcode: int, errors: Any, now: float) -> None:
        """Keep that there was no answer to the question `asked` (its octets in a message), with extended errors."""
        body = b"\0\0\0\0\0\1\0\0\0\0\0\0" + asked
        store.set_failure(self._written, memoryview(body), rcode, errors or b"\0", len(errors))
        store.fail(self.memory, *digest, int(now), self._written)

    async def flush(self, name: bytes, *, subtree: bool, pause: Any) -> int:
        """Forget what is kept for a name (wire format), and below it; return how many answers that were.

        `pause()` is awaited between stretches of the memory, so that queries are answered meanwhile.
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
