# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Counts a block in one call: a blocked query, an attempt, a prefix that a new entry blocks, an entry of its budget.

Definition v2, implemented here and printed by count.definition:
- A blocked query is any query answered as blocked; the self-test's are never counted.
- An attempt is the first blocked query of type A, AAAA, HTTPS or SVCB for the same entry of a list from the same client
  (IPv4 address, IPv6 /64) in a window of 60 s, which starts with the counted query and is not prolonged.
- At most 20 attempts count for each client and hour, and in IPv6 at most 60 for its /56 and 240 for its /48: a
  network with many addresses counts for no more than a few households. The others are counted as capped, and use up
  no other cap.
- The tables hold only keyed digests. `turn` clears them every hour and replaces the key; `turn_day` does so for the
  table of the day.
- A set without room is counted as saturated; its query is a blocked query but no attempt.
- A prefix (/32, /56) that an entry new in its serial blocks counts once for each minute and list. Attempts for such
  entries are counted by themselves too.
- Bounded attempts (definition b1): the first 3 windows that a prefix opens on a day count for each list, also if they
  are beyond the caps of an hour: no other client's attempts decide whether one counts. The first window for an entry
  that is not new counts the prefix. If the day's set has no room, neither counts; that is counted as
  bounded_saturated, the attempt as before.
- Several threads count in the same tables, each in counters of its own: who reads adds them up.

The budget of different entries, `[limits] distinct_blocked`:
- A prefix that so many different entries have blocked since the last `turn` is beyond it with any further entry. Of the
  entries before, it goes on to hear what the list answers. A client in `[limits] exempt` has no budget.
- Being beyond it changes no count. Where the table has no room, nobody is beyond it.
"""

import cython

from .codes import (
    ATTEMPTS,
    ATTEMPTS_BOUNDED,
    ATTEMPTS_BOUNDED_SATURATED,
    ATTEMPTS_CAPPED,
    ATTEMPTS_NEW_ENTRIES,
    ATTEMPTS_SATURATED,
    BEYOND_BUDGET,
    BLOCKED_PREFIXES,
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
from .locks import Locks

if not cython.compiled:
    from .admit import is_mapped, is_unlimited
    from .locks import fence_before_writes, hold, release
    from .octets import copy, put
    from .siphash import siphash128

WINDOW_S = 60
CAP_AN_HOUR = 20
CAP_OF_56 = 60
CAP_OF_48 = 240
CAP_A_DAY = 3
WAYS = 8
TABLES = 5
SHARDS = 256

_WINDOW_S = WINDOW_S
_CAP_AN_HOUR = CAP_AN_HOUR
_CAP_OF_56 = CAP_OF_56
_CAP_OF_48 = CAP_OF_48
_CAP_A_DAY = CAP_A_DAY
_USE_OF_DAY = 8
_COUNT_OF_DAY = 0xFF
_PREFIX_COUNTED = 0x100
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
_ATTEMPTS_BOUNDED = ATTEMPTS_BOUNDED
_BLOCKED_PREFIXES = BLOCKED_PREFIXES
_ATTEMPTS_NEW_ENTRIES = ATTEMPTS_NEW_ENTRIES
_ATTEMPTS_BOUNDED_SATURATED = ATTEMPTS_BOUNDED_SATURATED
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
    """The tables of attempts, clients, prefixes, budgets and the day in memory handed in: zeroed, n times 320 octets.

    A slot is one word, so that a set is one line of a processor's cache: the tag's first 40 bits, the first always set,
    then 24 bits of seconds, of attempts of a client or of entries of a prefix; a free slot is 0. key: 16 octets,
    replaced by `turn`, and for the table of the day by `turn_day`.
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
        self.days = words[4 * size : 5 * size]
        self.sets = size // WAYS
        self.even_key = memoryview(bytearray(16)).cast("Q")
        self.odd_key = memoryview(bytearray(16)).cast("Q")
        self.turns = 0
        self.even_day_key = memoryview(bytearray(16)).cast("Q")
        self.odd_day_key = memoryview(bytearray(16)).cast("Q")
        self.day_turns = 0
        self.locks = Locks(SHARDS)
        turn(self, key)
        turn_day(self, key)


def turn(tally, key):
    """Clear the tables and take a new 16-octet key; called every hour. Returns 0."""
    fresh = memoryview(bytes(key)).cast("Q")
    if tally.turns & 1:
        _set_key(tally.even_key, fresh)
    else:
        _set_key(tally.odd_key, fresh)
    # A thread takes one key or the other, never half of each. What it tags with the old one may be counted after the
    # tables are cleared: a slot that nobody finds again.
    fence_before_writes()
    tally.turns = tally.turns + 1
    shard = 0
    while shard <= tally.locks.mask:
        hold(tally.locks, shard)
        _clear(tally, shard)
        release(tally.locks, shard)
        shard += 1
    return 0


def turn_day(tally, key):
    """Clear the table of the day and take a new 16-octet key for it; called when a day's figures are closed. Returns 0.
    """
    fresh = memoryview(bytes(key)).cast("Q")
    if tally.day_turns & 1:
        _set_key(tally.even_day_key, fresh)
    else:
        _set_key(tally.odd_day_key, fresh)
    fence_before_writes()
    tally.day_turns = tally.day_turns + 1
    shard = 0
    while shard <= tally.locks.mask:
        hold(tally.locks, shard)
        _clear_day(tally, shard)
        release(tally.locks, shard)
        shard += 1
    return 0


def _clear_day(tally, shard):
    """Clear the day's sets of a shard, whose lock is held. Returns 0."""
    own_set = shard
    while own_set < tally.sets:
        at = own_set * _WAYS
        while at < (own_set + 1) * _WAYS:
            tally.days[at] = 0
            at += 1
        own_set += tally.locks.mask + 1
    return 0


def _set_key(key, fresh):
    key[0] = fresh[0]
    key[1] = fresh[1]
    return 0


def _clear(tally, shard):
    """Clear the sets of a shard, whose lock is held. Returns 0."""
    own_set = shard
    while own_set < tally.sets:
        at = own_set * _WAYS
        while at < (own_set + 1) * _WAYS:
            tally.attempts[at] = 0
            tally.clients[at] = 0
            tally.prefixes[at] = 0
            tally.budgets[at] = 0
            at += 1
        own_set += tally.locks.mask + 1
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
        if _opens(tally, tally.prefixes, new_tag, now_s - now_s % _WINDOW_S, now_s) == 1:
            counters[base + _NEW_PREFIXES] = counters[base + _NEW_PREFIXES] + 1
    if tag:
        _count_attempt(tally, counters, verdict, tag, client, now_s, scratch)
    if access.budget == 0 or is_unlimited(access, client):
        return _COUNTED
    if not _is_beyond(tally, access.budget, verdict, client, scratch):
        return _COUNTED
    counters[base + _REFUSED_BEYOND_BUDGET] = counters[base + _REFUSED_BEYOND_BUDGET] + 1
    return _BEYOND_BUDGET


def _count_attempt(tally, counters, verdict, tag, client, now_s, scratch):
    """Count the attempt if this query is one. Returns 0."""
    base = _START + verdict.slot * _STRIDE
    opened = _opens(tally, tally.attempts, tag, now_s, now_s)
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
    if number == _ATTEMPTS and verdict.bits & _NEW:
        counters[base + _ATTEMPTS_NEW_ENTRIES] = counters[base + _ATTEMPTS_NEW_ENTRIES] + 1
    if opened == 1:
        _count_day(tally, counters, verdict, client, scratch)
    return 0


def _count_day(tally, counters, verdict, client, scratch):
    """Count a window that a client has opened for a list, among the first of its prefix on this day. Returns 0."""
    base = _START + verdict.slot * _STRIDE
    tag = _tag(tally, client, 16 if is_mapped(client) else 7, verdict.slot, 0, 0, _USE_OF_DAY, scratch)
    own_set = _set_of(tally.sets, tag)
    hold(tally.locks, own_set)
    at = _place(tally.days, own_set, tag, 0, 0)
    bounded = 0
    first = 0
    if at != _NONE:
        word = tally.days[at] | tag
        if not verdict.bits & _NEW and not word & _PREFIX_COUNTED:
            word |= _PREFIX_COUNTED
            first = 1
        if word & _COUNT_OF_DAY < _CAP_A_DAY:
            word += 1
            bounded = 1
        tally.days[at] = word
    release(tally.locks, own_set)
    if at == _NONE:
        counters[base + _ATTEMPTS_BOUNDED_SATURATED] = counters[base + _ATTEMPTS_BOUNDED_SATURATED] + 1
    counters[base + _BLOCKED_PREFIXES] = counters[base + _BLOCKED_PREFIXES] + first
    counters[base + _ATTEMPTS_BOUNDED] = counters[base + _ATTEMPTS_BOUNDED] + bounded
    return 0


def _within_caps(tally, client, kept, levels, scratch):
    """Count an attempt for a client; return the number of the counter that it belongs to.

    kept: the octets of its address that are one client; levels: how many prefixes have a cap, each an octet shorter.
    """
    level = 0
    while level < levels:
        scratch.tags[level] = _tag(tally, client, kept - level, 0, 0, 0, 3 + level, scratch)
        level += 1
    _hold_all(tally, scratch, levels)
    number = _count_within(tally, scratch, levels)
    _release_all(tally, scratch, levels)
    return number


def _count_within(tally, scratch, levels):
    """Count an attempt under the tags of its client, unless one has its cap; their sets' locks are held."""
    level = 0
    while level < levels:
        tag = scratch.tags[level]
        at = _place(tally.clients, _set_of(tally.sets, tag), tag, 0, 0)
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


def _hold_all(tally, scratch, count):
    """Take the locks of the sets of scratch.tags: in ascending order, each once. Returns 0."""
    shard = _next_shard(tally, scratch, count, 0)
    while shard != _NONE:
        hold(tally.locks, shard)
        shard = _next_shard(tally, scratch, count, shard + 1)
    return 0


def _release_all(tally, scratch, count):
    shard = _next_shard(tally, scratch, count, 0)
    while shard != _NONE:
        release(tally.locks, shard)
        shard = _next_shard(tally, scratch, count, shard + 1)
    return 0


def _next_shard(tally, scratch, count, least):
    """Return the lowest shard of the sets of scratch.tags that is not below `least`; _NONE if there is none."""
    found = _NONE
    i = 0
    while i < count:
        shard = _set_of(tally.sets, scratch.tags[i]) & tally.locks.mask
        if least <= shard and shard < found:
            found = shard
        i += 1
    return found


def _is_beyond(tally, budget, verdict, client, scratch):
    """Note an entry that blocks the client's prefix; return whether it is one more than the budget has."""
    kept = 16 if is_mapped(client) else 7
    scratch.tags[0] = _tag(tally, client, kept, verdict.slot, verdict.low, verdict.high, 6, scratch)
    if _is_noted(tally, scratch.tags[0]):
        return 0
    scratch.tags[1] = _tag(tally, client, kept, 0, 0, 0, 7, scratch)
    _hold_all(tally, scratch, 2)
    beyond = _spend(tally, budget, scratch)
    _release_all(tally, scratch, 2)
    return beyond


def _is_noted(tally, tag):
    """Return whether an entry has blocked the prefix before."""
    own_set = _set_of(tally.sets, tag)
    hold(tally.locks, own_set)
    entry = _place(tally.budgets, own_set, tag, 0, 0)
    noted = entry != _NONE and tally.budgets[entry] & _TAG == tag
    release(tally.locks, own_set)
    return noted


def _spend(tally, budget, scratch):
    """Note the entry of the first tag among those of the prefix of the second; return whether it is one too many.

    The locks of both sets are held.
    """
    tag = scratch.tags[0]
    spent_tag = scratch.tags[1]
    spent = _place(tally.budgets, _set_of(tally.sets, spent_tag), spent_tag, 0, 0)
    if spent == _NONE:
        return 0
    if tally.budgets[spent] == 0:
        tally.budgets[spent] = spent_tag
    # Look after that: what is spent may have taken the free slot, and another thread may have noted the entry.
    entry = _place(tally.budgets, _set_of(tally.sets, tag), tag, 0, 0)
    if entry != _NONE and tally.budgets[entry] & _TAG == tag:
        return 0
    if tally.budgets[spent] & _REST >= budget:
        return 1
    if entry != _NONE:
        tally.budgets[entry] = tag
        tally.budgets[spent] = tally.budgets[spent] + 1
    return 0


def _opens(tally, table, tag, start_s, now_s):
    """Open the tag's window at start_s; return 1, 0 if it is open already, 2 if its set has no room."""
    own_set = _set_of(tally.sets, tag)
    opened = 1
    hold(tally.locks, own_set)
    at = _place(table, own_set, tag, now_s, _WINDOW_S)
    if at == _NONE:
        opened = 2
    elif table[at] & _TAG == tag and not _is_past(table[at], now_s, _WINDOW_S):
        opened = 0
    else:
        table[at] = tag | start_s & _REST
    release(tally.locks, own_set)
    return opened


def _place(table, own_set, tag, now_s, window_s):
    """Return the tag's slot, else a free one of its set, else _NONE.

    With a window, a slot is free too once its window has passed.
    """
    first = own_set * _WAYS
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
    """Return the number of a tag's set."""
    return (tag >> 24 & _SET) * sets >> 32


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
    if use == _USE_OF_DAY:
        if tally.day_turns & 1:
            siphash128(tally.odd_day_key, scratch.text, 0, size + 15, scratch.out, 0)
        else:
            siphash128(tally.even_day_key, scratch.text, 0, size + 15, scratch.out, 0)
    elif tally.turns & 1:
        siphash128(tally.odd_key, scratch.text, 0, size + 15, scratch.out, 0)
    else:
        siphash128(tally.even_key, scratch.text, 0, size + 15, scratch.out, 0)
    return (scratch.out[0] | _HELD) & _TAG

