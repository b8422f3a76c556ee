"""Finds and keeps answers; the memory, and the rules about TTLs and eviction, are core.store's.

Rules:
- The form of a question is its DO and CD. An answer to one form may serve another, and is then kept for that one too,
  with its age. While fresh, an answer with DO serves without, once its signatures are cut out (core.plain_form). Stale,
  an answer with CD=0 serves CD=1 too; and one without DO serves with DO if upstream did not set AD. With AD the name is
  signed, and a validator would find it bogus. What was asked with CD=1 never serves CD=0: nobody validated it.
- Queries that differ in DO or CD never share an answer. All others for one name, type and class do: they are asked
  upstream in one shape (forward.build_query), and core.reply shapes each reply.
- NOERROR and NXDOMAIN are kept if complete (TC=0); a negative answer only with its SOA, whose time it has (RFC 2308 5).
  An alias whose target the upstream left out, without a SOA, is no negative answer: it is kept for its own time.
- An answer that any list blocks is kept with that verdict and judged again at each hit, as is one of an older
  generation.
- A client prefix that wrote more than an eighth of the memory, while all wrote as much as it holds, writes to the ring
  apart (core.store, core.shares). Exempt clients are many, and have no share.
- Any other rcode, and no answer at all, is a failure: kept for seconds (RFC 9520), never longer than 30.
"""

from typing import Any

from resolver.core import codes, flush, store
from resolver.core.message import Message
from resolver.core.name import Name, unfold
from resolver.core.plain_form import plain_form
from resolver.core.shares import NONE, SET_OCTETS, Shares, take
from resolver.core.store import FRESH, NOTHING, STALE, Kept, Store
from resolver.query.query import Query

__all__ = ["FRESH", "NOTHING", "STALE", "Cache", "key_bits"]

STEPS_A_TURN = 4096
SHARES_OCTETS = 1024 * SET_OCTETS
"""Memory for what each client prefix has written lately."""

SHARE = 8
"""A client prefix may write one part in so many of the memory."""

_EDE_OPTION = b"\0\x0f\0\x02"
_PLAIN, _DO, _CD = 0, codes.KEY_DO, codes.KEY_CD
# By the bits of a question: those whose answers serve it while they are fresh, and when nothing else is left.
_FRESH_FROM = ((_DO,), (), (_DO | _CD,), ())
_STALE_FROM = ((_DO,), (_PLAIN,), (_DO | _CD, _PLAIN, _DO), (_DO, _PLAIN))
_AD = 0x20


def key_bits(question: Any) -> int:
    """Return the KEY_* bits of core.codes for a question: with name, type and class they identify an answer."""
    bits = codes.KEY_CD if question.flags & 0x10 else 0
    return bits | (codes.KEY_DO if question.dnssec_ok else 0)


class Cache:
    """Kept answers in core.store's memory; `kept` describes the answer found last.

    kept.rotate: whether the addresses of a kept answer are rotated as it is given.
    """

    def __init__(self, memory: Store, counters: Any, *, rotate: bool = True) -> None:
        self.memory = memory
        self.kept = Kept()
        self.kept.rotate = rotate
        self._other = Kept()
        self._plain = memoryview(bytearray(65536))
        self._share = memory.sizes[0] // SHARE
        self._shares = Shares(bytearray(SHARES_OCTETS), memory.key)
        self._replaced = Kept()
        self._written = Kept()
        self._counters = counters
        self._miss = codes.counter("cache_answers_total", "miss")
        self._stale = codes.counter("cache_answers_total", "stale")
        # Indexed by the bits of a record's kind: faster for every cached answer than a look-up by word.
        self._given = tuple(codes.counter("cache_answers_total", _word(kind)) for kind in range(8))

    def used_bytes(self) -> int:
        """Return how many octets of the rings hold records."""
        used: int = sum(self.memory.heads) - sum(self.memory.tails)
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

    def other(self, query: Query, now: float) -> int:
        """Return whether an answer to another form serves: FRESH at once, STALE if no upstream answers, or NOTHING."""
        serves, form = self._other_form(query, STALE, int(now))
        if serves == NOTHING or form in _FRESH_FROM[key_bits(query.question)]:
            return serves
        return STALE

    def lend(self, query: Query, least: int, now: float) -> int:
        """Find an answer to another form that serves, FRESH or at least STALE, and keep it for this form too.

        After a stale one no upstream is asked for some seconds: none answered just now.
        """
        memory, now_s = self.memory, int(now)
        lent, bits = self._other_form(query, least, now_s)
        other = self._other
        if lent == NOTHING:
            return NOTHING
        if bits & _DO and not query.question.dnssec_ok:
            kept = memory.ring[other.start : other.end]
            size = plain_form(kept, len(kept), self._plain)
            if not size:
                return NOTHING
            other.data, other.start, other.end = self._plain, 0, size
        return self._take_over(self.digest(), lent, now_s)

    def _other_form(self, query: Query, least: int, now_s: int) -> tuple[int, int]:
        """Let `_other` describe the first answer that serves; return what it is, and the bits of its question."""
        memory, other = self.memory, self._other
        bits = key_bits(query.question)
        serves = (NOTHING, bits)
        for form in (_STALE_FROM if least == STALE else _FRESH_FROM)[bits]:
            store.set_key(memory, query.question, form)
            is_found = store.peek(memory, memory.digest[0], memory.digest[1], now_s, other)
            if is_found == NOTHING or (is_found == STALE and least == FRESH) or other.kind & store.FAILURE:
                continue
            if bits & _DO and not form & _DO and memory.ring[other.start + 3] & _AD:
                continue
            serves = (is_found, form)
            break
        store.set_key(memory, query.question, bits)
        return serves

    def _take_over(self, digest: tuple[int, int], lent: int, now_s: int) -> int:
        """Keep what `_other` describes under this key too, as old as it is; return what `find` then finds."""
        other = self._other
        other.apart = 0
        if not store.keep(self.memory, *digest, now_s - other.age_s, other):
            return NOTHING
        if lent == STALE:
            store.fail(self.memory, *digest, now_s, self._written)
        return self._look(*digest, now_s)

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

    def keep(
        self,
        digest: tuple[int, int],
        message: Message,
        judged: tuple[int, int],
        now: float,
        client: bytes | None = None,
    ) -> None:
        """Keep a judged and trimmed answer, NOERROR or NXDOMAIN, if the rules allow.

        judged: the generation's number, and its verdict. client: whose share it is, None for nobody's.
        """
        generation, verdict = judged
        alias = message.rcode == codes.NOERROR and message.aliased and message.negative_ttl_s < 0
        negative = message.rcode == codes.NXDOMAIN or not (message.answered or alias)
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
        self._written.apart = self._is_above_share(message.end, client)
        store.keep(self.memory, *digest, int(now), self._written)

    def fail(
        self,
        digest: tuple[int, int],
        asked: bytes,
        failed: tuple[int, Any],
        now: float,
        client: bytes | None = None,
    ) -> None:
        """Keep a failure for the question `asked` (its octets in a message): its rcode, and its extended errors."""
        rcode, errors = failed
        body = b"\0\0\0\0\0\1\0\0\0\0\0\0" + asked
        store.set_failure(self._written, memoryview(body), rcode, errors or b"\0", len(errors))
        self._written.apart = self._is_above_share(len(body), client)
        store.fail(self.memory, *digest, int(now), self._written)

    def _is_above_share(self, octets: int, client: bytes | None) -> bool:
        """Add what a client writes to its prefix's share; return whether that is above what one may have."""
        if client is None:
            return False
        octets += store.RECORD_HEADER
        return bool(take(self._shares, client, octets, self._share, store.rounds(self.memory)) == NONE)

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
