# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Counts a block in one call: a blocked query, an attempt, a prefix that a new entry blocks, an entry of its budget.

Definition v2, implemented here and printed by count.definition:
- A blocked query is any query answered as blocked; the self-test's are never counted.
- An attempt is the first blocked query of type A, AAAA, HTTPS or SVCB for the same entry of a list from the same client
  (IPv4 address, IPv6 /64) in a window of 60 s, which starts with the counted query and is not prolonged.
- At most 20 attempts count for each client and hour, and in IPv6 at most 60 for its /56 and 240 for its /48: a
  network with many addresses counts for no more than a few households. The others are counted as capped, and use up
  no other cap.
- The tables hold only keyed digests. `turn` clears them every hour and replaces the key.
- A set without room is counted as saturated; its query is a blocked query but no attempt.
- A prefix (/32, /56) that an entry new in its serial blocks counts once for each minute and list.

The budget of different entries, `[limits] distinct_blocked`:
- A prefix that so many different entries have blocked since the last `turn` is beyond it with any further entry. Of the
  entries before, it goes on to hear what the list answers. A client in `[limits] exempt` has no budget.
- Being beyond it changes no count. Where the table has no room, nobody is beyond it.
"""

import cython

from .codes import (
    ATTEMPTS,
    ATTEMPTS_CAPPED,
    ATTEMPTS_SATURATED,
    BEYOND_BUDGET,
    BLOCKED_QUERIES,
    COUNTED,
    LIST_COUNTERS_START,
    LIST_COUNTERS_STRIDE,
    NEW,
    NEW_PREFIXES,
    NOT_COUNTED,
    REFUSED_BEYOND_BUDGET,
    SELFTEST,
    TYPE_A,
    TYPE_AAAA,
    TYPE_HTTPS,
    TYPE_SVCB,
)

if not cython.compiled:
    from .admit import is_mapped, is_unlimited
    from .octets import copy, put
    from .siphash import siphash128

WINDOW_S = 60
CAP_AN_HOUR = 20
CAP_OF_56 = 60
CAP_OF_48 = 240
WAYS = 8
TABLES = 4

_WINDOW_S = WINDOW_S
_CAP_AN_HOUR = CAP_AN_HOUR
_CAP_OF_56 = CAP_OF_56
_CAP_OF_48 = CAP_OF_48
_WAYS = WAYS
_NONE = 0xFFFFFFFFFFFFFFFF
_HELD = 0x8000000000000000
_TAG = 0xFFFFFFFFFF000000
_REST = 0xFFFFFF
_BACK = 0x800000
_SET = 0xFFFFFFFF
_BLOCKED_QUERIES = BLOCKED_QUERIES
_ATTEMPTS = ATTEMPTS
_ATTEMPTS_CAPPED = ATTEMPTS_CAPPED
_ATTEMPTS_SATURATED = ATTEMPTS_SATURATED
_NEW_PREFIXES = NEW_PREFIXES
_REFUSED_BEYOND_BUDGET = REFUSED_BEYOND_BUDGET
_NOT_COUNTED = NOT_COUNTED
_COUNTED = COUNTED
_BEYOND_BUDGET = BEYOND_BUDGET
_START = LIST_COUNTERS_START
_STRIDE = LIST_COUNTERS_STRIDE
_SELFTEST = SELFTEST
_NEW = NEW
_A = TYPE_A
_AAAA = TYPE_AAAA
_HTTPS = TYPE_HTTPS
_SVCB = TYPE_SVCB


class Tally:
    """The tables of attempts, clients, prefixes and budgets in memory handed in: zeroed, a multiple of 256 octets.

    A slot is one word, so that a set is one line of a processor's cache: the tag's first 40 bits, the first always set,
    then 24 bits of seconds, of attempts of a client or of entries of a prefix; a free slot is 0. key: 16 octets,
    replaced by `turn`.
    """

    def __init__(self, memory, key):
        words = memoryview(memory).cast("B").cast("Q")
        size = len(words) // (TABLES * WAYS) * WAYS
        if size == 0:
            raise ValueError("memory: too small")
        self.attempts = words[:size]
        self.clients = words[size : 2 * size]
        self.prefixes = words[2 * size : 3 * size]
        self.budgets = words[3 * size : 4 * size]
        self.sets = size // WAYS
        self.key = memoryview(bytearray(16)).cast("Q")
        turn(self, key)


def turn(tally, key):
    """Clear the tables and take a new 16-octet key; called every hour. Returns 0."""
    fresh = memoryview(bytes(key)).cast("Q")
    tally.key[0] = fresh[0]
    tally.key[1] = fresh[1]
    _clear(tally.attempts)
    _clear(tally.clients)
    _clear(tally.prefixes)
    _clear(tally.budgets)
    return 0


def count(tally, access, counters, verdict, qtype, client, now_s, scratch):
    """Count one blocked query in the table `counters` (core.codes); return COUNTED, BEYOND_BUDGET or NOT_COUNTED.

    verdict: which list and entry blocked it; client: 16 octets; now_s: seconds of a monotonic clock.
    """
    try:
        tag = attempt(tally, verdict, qtype, client, scratch)
        return count_ready(tally, access, counters, verdict, tag, client, now_s, scratch)
    except Exception:  # noqa: BLE001 - an error counts nothing and stops no answer
        return _NOT_COUNTED


def attempt(tally, verdict, qtype, client, scratch):
    """Return the tag of the attempt that a blocked query may be, for `prefetch` and `count_ready`; 0 if it is none."""
    if verdict.bits & _SELFTEST or (qtype != _A and qtype != _AAAA and qtype != _HTTPS and qtype != _SVCB):
        return 0
    return _tag(tally, client, 16 if is_mapped(client) else 8, verdict.slot, verdict.low, verdict.high, 2, scratch)


if not cython.compiled:

    def prefetch(tally, tag):
        """Ask the memory for the set of an attempt's tag, for a `count_ready` that comes a little later. Returns 0."""
        return 0


def count_ready(tally, access, counters, verdict, tag, client, now_s, scratch):
    """Do the same as `count` with the tag that `attempt` gave; an error is raised."""
    if verdict.bits & _SELFTEST:
        return _COUNTED
    base = _START + verdict.slot * _STRIDE
    counters[base + _BLOCKED_QUERIES] = counters[base + _BLOCKED_QUERIES] + 1
    if verdict.bits & _NEW:
        new_tag = _tag(tally, client, 16 if is_mapped(client) else 7, verdict.slot, 0, 0, 1, scratch)
        # The slot holds the start of its minute, and is free again when that minute is over.
        if _opens(tally.prefixes, tally.sets, new_tag, now_s - now_s % _WINDOW_S, now_s) == 1:
            counters[base + _NEW_PREFIXES] = counters[base + _NEW_PREFIXES] + 1
    if tag:
        _count_attempt(tally, counters, base, tag, client, now_s, scratch)
    if access.budget == 0 or is_unlimited(access, client):
        return _COUNTED
    if not _is_beyond(tally, access.budget, verdict, client, scratch):
        return _COUNTED
    counters[base + _REFUSED_BEYOND_BUDGET] = counters[base + _REFUSED_BEYOND_BUDGET] + 1
    return _BEYOND_BUDGET


def _count_attempt(tally, counters, base, tag, client, now_s, scratch):
    """Count the attempt if this query is one. Returns 0."""
    opened = _opens(tally.attempts, tally.sets, tag, now_s, now_s)
    number = _ATTEMPTS
    if opened == 0:
        return 0
    if opened == 2:
        number = _ATTEMPTS_SATURATED
    elif is_mapped(client):
        number = _within_caps(tally, client, 16, 1, scratch)
    else:
        number = _within_caps(tally, client, 8, 3, scratch)
    counters[base + number] = counters[base + number] + 1
    return 0


def _within_caps(tally, client, kept, levels, scratch):
    """Count an attempt for a client; return the number of the counter that it belongs to.

    kept: the octets of its address that are one client; levels: how many prefixes have a cap, each an octet shorter.
    """
    level = 0
    while level < levels:
        tag = _tag(tally, client, kept - level, 0, 0, 0, 3 + level, scratch)
        at = _place(tally.clients, tally.sets, tag, 0, 0)
        if at == _NONE:
            return _ATTEMPTS_SATURATED
        if tally.clients[at] == 0:
            tally.clients[at] = tag
        cap = _CAP_AN_HOUR if level == 0 else _CAP_OF_56 if level == 1 else _CAP_OF_48
        if tally.clients[at] & _REST >= cap:
            return _ATTEMPTS_CAPPED
        scratch.capped[level] = at
        level += 1
    level = 0
    while level < levels:
        at = scratch.capped[level]
        tally.clients[at] = tally.clients[at] + 1
        level += 1
    return _ATTEMPTS


def _is_beyond(tally, budget, verdict, client, scratch):
    """Note an entry that blocks the client's prefix; return whether it is one more than the budget has."""
    kept = 16 if is_mapped(client) else 7
    tag = _tag(tally, client, kept, verdict.slot, verdict.low, verdict.high, 6, scratch)
    entry = _place(tally.budgets, tally.sets, tag, 0, 0)
    if entry != _NONE and tally.budgets[entry] & _TAG == tag:
        return 0
    spent_tag = _tag(tally, client, kept, 0, 0, 0, 7, scratch)
    spent = _place(tally.budgets, tally.sets, spent_tag, 0, 0)
    if spent == _NONE:
        return 0
    if tally.budgets[spent] == 0:
        tally.budgets[spent] = spent_tag
    if tally.budgets[spent] & _REST >= budget:
        return 1
    # Look again: what is spent may have taken the free slot.
    entry = _place(tally.budgets, tally.sets, tag, 0, 0)
    if entry != _NONE:
        tally.budgets[entry] = tag
        tally.budgets[spent] = tally.budgets[spent] + 1
    return 0


def _opens(table, sets, tag, start_s, now_s):
    """Open the tag's window at start_s; return 1, 0 if it is open already, 2 if its set has no room."""
    at = _place(table, sets, tag, now_s, _WINDOW_S)
    if at == _NONE:
        return 2
    if table[at] & _TAG == tag and not _is_past(table[at], now_s, _WINDOW_S):
        return 0
    table[at] = tag | start_s & _REST
    return 1


def _place(table, sets, tag, now_s, window_s):
    """Return the tag's slot, else a free one of its set, else _NONE.

    With a window, a slot is free too once its window has passed.
    """
    first = _set_of(sets, tag)
    free = _NONE
    way = 0
    while way < _WAYS:
        word = table[first + way]
        if word & _TAG == tag:
            return first + way
        if free == _NONE and (word == 0 or (window_s and _is_past(word, now_s, window_s))):
            free = first + way
        way += 1
    return free


def _set_of(sets, tag):
    """Return the first word of a tag's set."""
    return ((tag >> 24 & _SET) * sets >> 32) * _WAYS


def _is_past(word, now_s, window_s):
    """Return whether a window that opened at the slot's seconds has passed; not if the clock went back."""
    age = now_s - (word & _REST) & _REST
    return window_s <= age < _BACK


def _tag(tally, client, kept, slot, low, high, use, scratch):
    """Return the keyed digest of (`kept` octets of the client, list, entry, use), as a slot holds it.

    The text is short, for every eight octets are two more rounds: of a mapped address the last four. By its length an
    IPv4 client is never a part of an IPv6 one.
    """
    first = 12 if kept == 16 else 0
    size = kept - first
    copy(scratch.text, 0, client, first, size)
    put(scratch.text, size, low, 8)
    put(scratch.text, size + 8, high, 6)
    scratch.text[size + 14] = slot << 4 | use
    siphash128(tally.key, scratch.text, 0, size + 15, scratch.out, 0)
    return (scratch.out[0] | _HELD) & _TAG


def _clear(table):
    i = 0
    while i < table.shape[0]:
        table[i] = 0
        i += 1
    return 0
