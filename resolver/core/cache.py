# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Finds and keeps answers for the steps; the memory, and the rules about TTLs and eviction, are core.store's.

Rules:
- An answer to one form of a question (its DO and CD) that serves another, as core.store says, is then kept for that one
  too, with its age.
- Queries that differ in DO or CD never share an answer. All others for one name, type and class do: they are asked
  upstream in one shape (query.forward), and core.reply shapes each reply.
- NOERROR and NXDOMAIN are kept if complete (TC=0); a negative answer only with its SOA, whose time it has (RFC 2308 5).
  An alias whose target the upstream left out, without a SOA, is no negative answer: it is kept for its own time.
- An answer that any list blocks is kept with that verdict and judged again at each hit, as is one of an older
  generation.
- A client prefix that wrote more than an eighth of the memory, while all wrote as much as it holds, writes to the ring
  apart (core.store, core.shares). Exempt clients are many, and have no share.
- Any other rcode, and no answer at all, is a failure: kept for seconds (RFC 9520), never longer than 30. If no upstream
  answered, the forms that ask for more have failed too: with DO, and with CD=0. Those that ask for less have not: an
  answer may be lost for its signatures, or late for its validation.
- For an operator who looks on (lane.looking) no hit is marked, nothing is kept, and what was blocked is not found.
"""

import cython

from .codes import BLOCK, EDE_NONE, EDE_OTHER, KEY_CD, KEY_DO, NOERROR, NXDOMAIN, SERVFAIL, counter
from .shares import NONE, SET_OCTETS
from .store import BLOCKED, FAILURE, FRESH, NEGATIVE, NOTHING, POSITIVE, RECORD_HEADER, STALE

if not cython.compiled:
    from .plain_form import plain_form
    from .question import parse
    from .shares import _take
    from .store import (
        copy_out,
        drop,
        fail,
        keep,
        other_form,
        peek,
        renew,
        rounds,
        set_answer,
        set_failure,
        set_key,
    )
    from .store import find as find_kept

SHARES_OCTETS = 1024 * SET_OCTETS
"""Memory for what each client prefix has written lately."""

SHARE = 8
"""A client prefix may write one part in so many of the memory."""

_SHARE = SHARE
_NONE = NONE
_NOTHING = NOTHING
_FRESH = FRESH
_STALE = STALE
_POSITIVE = POSITIVE
_NEGATIVE = NEGATIVE
_BLOCKED = BLOCKED
_FAILURE = FAILURE
_RECORD_HEADER = RECORD_HEADER
# What core.store.other_form returns: what was found, and whether its signatures have to be cut out.
_FOUND = 3
_SIGNED = 4
_BLOCK = BLOCK
_NOERROR = NOERROR
_NXDOMAIN = NXDOMAIN
_SERVFAIL = SERVFAIL
_DO = KEY_DO
_CD = KEY_CD
_FORMS = 4
_HEADER = 12
_EDE_NONE = EDE_NONE
_EDE_OTHER = EDE_OTHER
_EDE_OPTION = 15
_OPTION_OCTETS = 6
_COUNT_POSITIVE = counter("cache_answers_total", "positive")
_COUNT_NEGATIVE = counter("cache_answers_total", "negative")
_COUNT_FAILURE = counter("cache_answers_total", "failure")
_COUNT_STALE = counter("cache_answers_total", "stale")
_COUNT_MISS = counter("cache_answers_total", "miss")


def key_bits(question):
    """Return the KEY_* bits of core.codes for a question: with name, type and class they identify an answer."""
    bits = _CD if question.flags & 0x10 else 0
    return bits | _DO if question.dnssec_ok else bits


def key(tables, lane, seat):
    """Set the key of the query's answer: seat.low and seat.high. Returns 0."""
    set_key(tables.store, seat.question, key_bits(seat.question), lane.scratch)
    seat.low = lane.scratch.key[0]
    seat.high = lane.scratch.key[1]
    return 0


def find(tables, lane, seat, now_s):
    """Look for an answer to the query; return FRESH, STALE or NOTHING, and let lane.kept describe it."""
    lane.lent = 0
    lane.kept.rotate = tables.rotate
    if lane.looking:
        found = peek(tables.store, seat.low, seat.high, now_s, lane.kept)
    else:
        found = find_kept(tables.store, seat.low, seat.high, now_s, lane.kept)
    # Another thread may write over it from now on: what is judged and sent is a copy.
    if found == _NOTHING or not copy_out(tables.store, lane.kept, lane.record):
        return _NOTHING
    if lane.looking and lane.kept.kind & _BLOCKED:
        return _NOTHING
    return found


def other(tables, lane, seat, now_s):
    """Return whether an answer to another form serves: FRESH at once, STALE if no upstream answers, or NOTHING."""
    return _other_form(tables, lane, seat, now_s) & _FOUND


def lend(tables, lane, seat, least, now_s):
    """Find an answer to another form that serves, FRESH or at least STALE, and keep it for this form too.

    What serves only because no upstream answers is stale for this form from now on, and for some seconds no upstream is
    asked. Return FRESH, STALE or NOTHING, and let lane.kept describe the answer.
    """
    serves = _other_form(tables, lane, seat, now_s)
    found = serves & _FOUND
    if found == _NOTHING or (found == _STALE and least == _FRESH):
        return _NOTHING
    if serves & _SIGNED:
        size = lane.other.end - lane.other.start
        size = plain_form(lane.other.data[lane.other.start : lane.other.end], size, lane.plain)
        if size == 0:
            return _NOTHING
        lane.other.data = lane.plain
        lane.other.start = 0
        lane.other.end = size
    if found == _STALE and lane.other.ttl_s > lane.other.age_s:
        lane.other.ttl_s = lane.other.age_s
    lane.lent = 1
    if lane.looking:
        _describe(lane.kept, lane.other)
        return found
    if not keep(tables.store, seat.low, seat.high, now_s - lane.other.age_s, lane.other):
        return _NOTHING
    if found == _STALE:
        fail(tables.store, seat.low, seat.high, now_s, lane.written)
    found = find(tables, lane, seat, now_s)
    lane.lent = 1
    return found


def _other_form(tables, lane, seat, now_s):
    """Return what core.store.other_form does, and let lane.other describe the answer."""
    serves = other_form(tables.store, seat.low, seat.high, key_bits(seat.question), now_s, lane.other)
    if serves == _NOTHING or not copy_out(tables.store, lane.other, lane.other_record):
        return _NOTHING
    if lane.looking and lane.other.kind & _BLOCKED:
        return _NOTHING
    return serves


def _describe(kept, other):
    """Let `kept` describe what `other` does. Returns 0."""
    kept.data = other.data
    kept.start = other.start
    kept.end = other.end
    kept.rcode = other.rcode
    kept.errors = other.errors
    kept.errors_start = other.errors_start
    kept.errors_size = other.errors_size
    kept.age_s = other.age_s
    kept.ttl_s = other.ttl_s
    kept.generation = other.generation
    kept.kind = other.kind
    return 0


def count(lane, found):
    """Count the result of a look-up: what lane.kept describes was given, or nothing was kept. Returns 0."""
    if found == _NOTHING:
        number = _COUNT_MISS
    elif found == _STALE:
        number = _COUNT_STALE
    elif lane.kept.kind & _FAILURE:
        number = _COUNT_FAILURE
    elif lane.kept.kind & _NEGATIVE:
        number = _COUNT_NEGATIVE
    else:
        number = _COUNT_POSITIVE
    lane.counters[number] = lane.counters[number] + 1
    return 0


def is_judged(lane, generation):
    """Return whether what lane.kept describes may be given unjudged under the generation with this number."""
    if lane.kept.kind & _FAILURE:
        return 1  # A failure holds no records, and the name itself has just been judged.
    return not lane.kept.kind & _BLOCKED and lane.kept.generation == generation


def judged_again(tables, lane, verdict):
    """Note the new verdict, by all lists, on the answer that lane.kept describes. Returns 0."""
    if lane.looking:
        return 0
    return renew(tables.store, lane.kept, tables.generation.number, _kind(lane.kept.kind & _NEGATIVE, verdict))


def keep_answer(tables, lane, message, verdict, low, high, client, pays, now_s):
    """Keep a judged and trimmed answer, NOERROR or NXDOMAIN, if the rules allow. Returns 0.

    verdict: by all lists. client: whose share it is, if `pays`.
    """
    alias = message.rcode == _NOERROR and message.aliased and message.negative_ttl_s < 0
    negative = message.rcode == _NXDOMAIN or not (message.answered or alias)
    ttl_s = message.ttl_s
    if negative and message.negative_ttl_s < ttl_s:
        ttl_s = message.negative_ttl_s
    if ttl_s <= 0 or message.truncated:
        # The upstream has replaced the answer kept before, so it must not be given as stale (RFC 8767 4).
        if peek(tables.store, low, high, now_s, lane.replaced) != _NOTHING:
            drop(tables.store, lane.replaced)
        return 0
    kind = _kind(_NEGATIVE if negative else _POSITIVE, verdict)
    set_answer(lane.written, message, ttl_s, tables.generation.number, kind)
    lane.written.apart = pays and _is_above_share(tables, message.end, client)
    keep(tables.store, low, high, now_s, lane.written)
    return 0


def keep_failure(tables, lane, asked, rcode, errors, errors_size, low, high, client, pays, now_s):
    """Keep a failure for the question `asked` (its octets in a message): rcode and extended errors. Returns 0."""
    size = _HEADER + len(asked)
    lane.failed[_HEADER:size] = asked
    lane.failed[5] = 1
    set_failure(lane.written, lane.failed[:size], rcode, errors, errors_size)
    lane.written.apart = pays and _is_above_share(tables, size, client)
    fail(tables.store, low, high, now_s, lane.written)
    return 0


def keep_silence(tables, lane, asked, ede, low, high, client, pays, now_s):
    """Keep that no upstream answered `asked`, for the forms that ask for more too. Returns 0."""
    size = ede_option(lane.option, ede)
    keep_failure(tables, lane, asked, _SERVFAIL, lane.option, size, low, high, client, pays, now_s)
    if ede == _EDE_OTHER:
        return 0  # The exchange had to end early, which says nothing of the upstream.
    own = _form_of(tables, lane, asked, low, high)
    form = 0
    while form < _FORMS:
        if _asks_more(form, own):
            set_key(tables.store, lane.question, form, lane.scratch)
            _keep_silence(tables, lane, asked, size, client, pays, now_s)
        form += 1
    return 0


def _keep_silence(tables, lane, asked, size, client, pays, now_s):
    """Keep the failure whose error is in lane.option for the form digested last. Returns 0."""
    low = lane.scratch.key[0]
    high = lane.scratch.key[1]
    return keep_failure(tables, lane, asked, _SERVFAIL, lane.option, size, low, high, client, pays, now_s)


def _form_of(tables, lane, asked, low, high):
    """Return which form of the question `asked` has this key, and read it into lane.question; -1 for none."""
    size = _HEADER + len(asked)
    lane.failed[_HEADER:size] = asked
    lane.failed[5] = 1
    parse(lane.failed, size, lane.question)
    form = 0
    while form < _FORMS:
        set_key(tables.store, lane.question, form, lane.scratch)
        if lane.scratch.key[0] == low and lane.scratch.key[1] == high:
            return form
        form += 1
    return -1


def _asks_more(form, than):
    """Return whether a form asks upstream for more than another does: signatures, or validation."""
    if than < 0 or form == than or (form & _CD and not than & _CD):
        return 0
    return form & _DO or not than & _DO


def ede_option(out, ede):
    """Write the EDNS option of one extended error without text (RFC 8914 2); return its octets, 0 for EDE_NONE."""
    if ede == _EDE_NONE:
        return 0
    out[0] = 0
    out[1] = _EDE_OPTION
    out[2] = 0
    out[3] = 2
    out[4] = ede >> 8
    out[5] = ede & 255
    return _OPTION_OCTETS


def _is_above_share(tables, octets, client):
    """Add what a client writes to its prefix's share; return whether that is above what one may have."""
    return (
        _take(tables.shares, client, octets + _RECORD_HEADER, tables.store.sizes[0] // _SHARE, rounds(tables.store))
        == _NONE
    )


def _kind(negative, verdict):
    return negative | _BLOCKED if verdict == _BLOCK else negative
