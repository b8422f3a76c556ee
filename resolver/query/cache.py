"""Finds and keeps answers; the memory, and the rules about TTLs and eviction, are core.store's.

Rules:
- An answer to one form of a question (its DO and CD) that serves another, as core.store says, is then kept for that one
  too, with its age.
- Queries that differ in DO or CD never share an answer. All others for one name, type and class do: they are asked
  upstream in one shape (forward.build_query), and core.reply shapes each reply.
- NOERROR and NXDOMAIN are kept if complete (TC=0); a negative answer only with its SOA, whose time it has (RFC 2308 5).
  An alias whose target the upstream left out, without a SOA, is no negative answer: it is kept for its own time.
- An answer that any list blocks is kept with that verdict and judged again at each hit, as is one of an older
  generation.
- A client prefix that wrote more than an eighth of the memory, while all wrote as much as it holds, writes to the ring
  apart (core.store, core.shares). Exempt clients are many, and have no share.
- Any other rcode, and no answer at all, is a failure: kept for seconds (RFC 9520), never longer than 30. If no upstream
  answered, the forms that ask for more have failed too: with DO, and with CD=0. Those that ask for less have not: an
  answer may be lost for its signatures, or late for its validation.
"""

from typing import Any

from resolver.core import codes, flush, store
from resolver.core.message import Message
from resolver.core.name import Name, unfold
from resolver.core.plain_form import plain_form
from resolver.core.question import Question, parse
from resolver.core.scratch import Scratch
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
# What core.store.other_form returns: what was found, and whether its signatures have to be cut out.
_FOUND = 3
_SIGNED = 4
_DO, _CD = codes.KEY_DO, codes.KEY_CD
_ASK_MORE = {0: (_DO,), _DO: (), _CD: (0, _DO, _DO | _CD), _DO | _CD: (_DO,)}
"""For each form of a question those that ask for more of it: signatures, or validation."""



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
        self._question = Question()
        self.scratch = Scratch()
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
        return self.scratch.key[0], self.scratch.key[1]

    def find(self, query: Query, now: float) -> int:
        """Look for an answer to the query at `now` (seconds); return FRESH, STALE or NOTHING."""
        return self._look(query, int(now))

    def _look(self, query: Query, now_s: int) -> int:
        form = key_bits(query.question)
        found: int = store.find_form(self.memory, query.question, form, now_s, self.kept, self.scratch)
        return found

    def other(self, query: Query, now: float) -> int:
        """Return whether an answer to another form serves: FRESH at once, STALE if no upstream answers, or NOTHING."""
        return self._other_form(query, int(now)) & _FOUND

    def lend(self, query: Query, least: int, now: float) -> int:
        """Find an answer to another form that serves, FRESH or at least STALE, and keep it for this form too.

        What serves only because no upstream answers is stale for this form from now on, and for some seconds no
        upstream is asked.
        """
        memory, other, now_s = self.memory, self._other, int(now)
        serves = self._other_form(query, now_s)
        if serves == NOTHING or (serves & _FOUND == STALE and least == FRESH):
            return NOTHING
        if serves & _SIGNED:
            kept = memory.ring[other.start : other.end]
            size = plain_form(kept, len(kept), self._plain)
            if not size:
                return NOTHING
            other.data, other.start, other.end = self._plain, 0, size
        if serves & _FOUND == STALE:
            other.ttl_s = min(other.ttl_s, other.age_s)
        return self._take_over(query, serves & _FOUND, now_s)

    def _other_form(self, query: Query, now_s: int) -> int:
        """Return what core.store.other_form does, and let `_other` describe the answer."""
        form = key_bits(query.question)
        serves: int = store.other_form(self.memory, query.question, form, now_s, self._other, self.scratch)
        return serves

    def _take_over(self, query: Query, found: int, now_s: int) -> int:
        """Keep what `_other` describes for this form too, as old as it is; return what `find` then finds."""
        memory, other = self.memory, self._other
        low, high = self.digest()
        if not store.keep(memory, low, high, now_s - other.age_s, other):
            return NOTHING
        if found == STALE:
            store.fail(memory, low, high, now_s, self._written)
        return self._look(query, now_s)

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

    def asking_more(self, digest: tuple[int, int], asked: bytes) -> list[tuple[int, int]]:
        """Return the keys of the forms of a question that ask upstream for more than the form with the key `digest`."""
        packet = b"\0\0\1\0\0\1\0\0\0\0\0\0" + asked
        parse(packet, len(packet), self._question)
        keys = {}
        for form in _ASK_MORE:
            store.set_key(self.memory, self._question, form, self.scratch)
            keys[self.digest()] = form
        more = _ASK_MORE.get(keys.get(digest, -1), ())
        return [key for key, form in keys.items() if form in more]

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
