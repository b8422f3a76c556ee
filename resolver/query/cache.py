"""The step that looks for a kept answer, and keeps one; the rules and the memory are core.store's.

Rules:
- Queries that differ in DO, CD, AD or in having EDNS never share an answer.
- Kept are NOERROR and NXDOMAIN, whole (TC=0); a negative answer only with its SOA, as long as that says (RFC 2308 5).
- A reply that any list blocks is kept with that verdict and judged again at each hit, as is one of an older generation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resolver.core import codes, store
from resolver.core.message import Message
from resolver.core.store import Kept, Store

if TYPE_CHECKING:
    from resolver.query.answer import Query

JUDGE_ALWAYS = -1


def key_bits(question: Any) -> int:
    """Return the bits KEY_* of core.codes for a question: what besides name, type and class tells answers apart."""
    bits = codes.KEY_CD if question.flags & 0x10 else 0
    bits |= codes.KEY_AD if question.flags & 0x20 else 0
    bits |= codes.KEY_EDNS if question.has_opt else 0
    return bits | (codes.KEY_DO if question.dnssec_ok else 0)


class Cache:
    """Kept answers in core.store's memory. `kept` and `judged_under` tell of the last one found."""

    def __init__(self, memory: Store, counters: Any) -> None:
        self.memory = memory
        self.kept = Kept()
        self.judged_under = JUDGE_ALWAYS
        self._counters = counters
        self._hit = codes.counter("cache_answers_total", "positive")
        self._negative = codes.counter("cache_answers_total", "negative")
        self._miss = codes.counter("cache_answers_total", "miss")

    def used_bytes(self) -> int:
        """Return how much of the ring has been written so far, in octets."""
        return min(self.memory.head - self.memory.size, self.memory.size)

    def digest(self, query: Query) -> tuple[int, int]:
        """Return the key of the query looked for last."""
        return self.memory.digest[0], self.memory.digest[1]

    def find(self, query: Query, now: float) -> bool:
        """Look for a live answer to the query at `now` (seconds); tell whether there is one."""
        memory = self.memory
        store.set_key(memory, query.question, key_bits(query.question))
        if not store.find(memory, memory.digest[0], memory.digest[1], int(now), self.kept):
            self._counters[self._miss] += 1
            return False
        self._counters[self._negative if self.kept.kind & store.NEGATIVE else self._hit] += 1
        self.judged_under = JUDGE_ALWAYS if self.kept.kind & store.BLOCKED else self.kept.generation
        return True

    def body(self) -> bytearray:
        """Return a copy of the reply found last, so that it can be judged and trimmed."""
        return bytearray(self.memory.ring[self.kept.start : self.kept.end])

    def renew(self, generation: int, verdict: int) -> None:
        """Note the new verdict of the answer found last."""
        store.renew(self.memory, self.kept, generation, _kind(self.kept.kind & store.NEGATIVE, verdict))

    def keep(
        self, digest: tuple[int, int], reply: bytearray, message: Message, generation: int, verdict: int, now: float
    ) -> None:
        """Keep a judged and trimmed reply if the rules allow."""
        negative = message.rcode == codes.NXDOMAIN or not message.answered
        ttl_s = message.ttl_s
        if negative:
            ttl_s = min(ttl_s, message.negative_ttl_s)
        if ttl_s <= 0 or message.truncated or message.rcode not in (codes.NOERROR, codes.NXDOMAIN):
            return
        kind = _kind(store.NEGATIVE if negative else store.POSITIVE, verdict)
        store.keep(
            self.memory,
            *digest,
            int(now),
            ttl_s,
            generation,
            message.rcode,
            kind,
            reply,
            message.end,
            message.errors,
            message.errors_size,
        )


def _kind(negative: int, verdict: int) -> int:
    return negative | (store.BLOCKED if verdict == codes.BLOCK else 0)
