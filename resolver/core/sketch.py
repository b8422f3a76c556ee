# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Knows about how many client prefixes have asked which names lately, so that a list can be judged before it comes.

Rules:
- It holds keyed digests of names and, of each, 64 small registers (HyperLogLog); of clients it holds nothing: a prefix
  raises at most one register, and the key that chooses it is replaced by `turn`. Memory only.
- It knows two windows, the running one and the one before. `turn` drops the older: what was asked is forgotten after
  two windows.
- A digest is the one that an image has, of the name and of its parents: PARENTS labels down to 2. Only names that pass
  are noted.
- It never counts too much because it is full: a new name takes the slot with the lowest score of its set, and starts
  at nothing. A flood of names can push others out, it cannot raise them.
- Above MOST_PREFIXES in a window, the next one notes only one prefix in 2, 4, 8..., chosen by the key.
- What one prefix asks again is noted once, as long as RECENT remembers it. Above BUDGET queries in a 16th of a second
  the others are left out: a name that many prefixes ask all the time is noted all the same, and the cost has a bound.
- A prefix is known by the digest that admit has made for its bucket, so that a query costs no digest more.
- An error notes nothing.
- One lock covers a note: a few steps, but for the few queries that BUDGET lets through. A note that would change
  nothing takes no lock: most do, at a rate at which threads would wait for each other. It may be of the window before.
"""

from array import array

import cython

from .locks import Locks

if not cython.compiled:
    from .locks import hold, release
    from .siphash import siphash128

WAYS = 8
REGISTER_WORDS = 4
SLOT_WORDS = 2 + REGISTER_WORDS
SET_OCTETS = 8 * SLOT_WORDS * WAYS
PARENTS = 6
MOST_PREFIXES = 8192
REGISTERS = 64
TOTALS = 2048
RECENT = 1 << 15
BUDGET = 256

_WAYS = WAYS
_REGISTER_WORDS = REGISTER_WORDS
_PARENTS = PARENTS
_REGISTERS = REGISTERS
_TOTALS = TOTALS
_WORD = 0xFFFFFFFFFFFFFFFF
_BUDGET = BUDGET
_TICKS = 16.0
_HIGH = 0xFFFFFFFFFFFF0000
_SCORE = 0xFFFF
_MOST_RANK = 15
_ONE = 1
# Bias of the estimate (Flajolet and others, "HyperLogLog", 2007) times the square of the number of registers.
_OF_REGISTERS = 0.709 * REGISTERS * REGISTERS
_OF_TOTALS = 0.7213 / (1 + 1.079 / TOTALS) * TOTALS * TOTALS


class Sketch:
    """Two windows in memory handed in: zeroed, a multiple of 2 * SET_OCTETS. key: 16 octets, replaced by `turn`.

    A slot is a digest's low word, its next 48 bits with the score (the sum of the registers) below them, and 64
    registers of 4 bits; all slots' first two words come before all registers.
    """

    def __init__(self, memory, key):
        words = memoryview(memory).cast("B").cast("Q")
        self.sets = len(words) // (2 * SLOT_WORDS * WAYS)
        if self.sets == 0:
            raise ValueError("memory: too small")
        half = self.sets * WAYS * SLOT_WORDS
        self.now = words[:half]
        self.before = words[half : 2 * half]
        self.totals_now = memoryview(bytearray(TOTALS))
        self.totals_before = memoryview(bytearray(TOTALS))
        self.skip_now = 0
        self.skip_before = 0
        self.tick = 0
        self.noted = 0
        self.recent = memoryview(bytearray(8 * RECENT)).cast("Q")
        self.linear = memoryview(array("d", _linear(REGISTERS)))
        self.linear_totals = memoryview(array("d", _linear(TOTALS)))
        self.key = memoryview(bytearray(key)).cast("Q")
        self.locks = Locks(1)


def _linear(registers):
    """Return, for each number of empty registers, how many prefixes leave so many empty on average."""
    found = [0.0]
    for filled in range(registers):
        found.append(found[-1] + registers / (registers - filled))
    return list(reversed(found))


def turn(sketch, key):
    """Begin a new window under a new key, and forget the older one. Returns 0."""
    fresh = memoryview(bytes(key)).cast("Q")
    low = fresh[0]
    high = fresh[1]
    seen = prefixes(sketch, 1)
    skip = 0
    while seen > MOST_PREFIXES * (skip + 1):
        skip = 2 * skip + 1
    _clear(sketch.before)
    hold(sketch.locks, 0)
    sketch.now, sketch.before = sketch.before, sketch.now
    sketch.skip_before = sketch.skip_now
    sketch.skip_now = skip
    _clear(sketch.recent)
    place = 0
    while place < _TOTALS:
        sketch.totals_before[place] = sketch.totals_now[place]
        sketch.totals_now[place] = 0
        place += 1
    sketch.key[0] = low
    sketch.key[1] = high
    release(sketch.locks, 0)
    return 0


def note(sketch, access, generation, name, now_s, scratch):
    """Note that the client last admitted with `scratch` asks a name that `generation` has judged, at `now_s` of a
    monotonic clock. Returns 0."""
    try:
        return _note(sketch, access, generation, name, now_s, scratch)
    except Exception:  # noqa: BLE001 - an error notes nothing
        return 0


def prefixes(sketch, running):
    """Return about how many prefixes were seen in the running window, or in the one before."""
    if running:
        return int(_seen(sketch, sketch.totals_now))
    return int(_seen(sketch, sketch.totals_before))


def popular(sketch, share, floor):
    """Return the digests (low, next 48 bits) that more than `floor` prefixes, and more than `share` of the prefixes
    seen, have asked in one of the windows."""
    found: set[tuple[int, int]] = set()
    _popular(sketch, sketch.now, sketch.skip_now, max(floor, share * prefixes(sketch, 1)), found)
    _popular(sketch, sketch.before, sketch.skip_before, max(floor, share * prefixes(sketch, 0)), found)
    return found


def _popular(sketch, window, skip, bound, found):
    """Add to `found` the digests of a window that more than `bound` prefixes have asked."""
    slot = 0
    slots = sketch.sets * _WAYS
    # An estimate above the bound needs registers that are not empty, and each adds at least 1 to the score.
    least = min(bound / (skip + 1) / 4, 24.0)
    while slot < slots:
        tail = window[2 * slot + 1]
        if tail & _SCORE and (tail & _SCORE) >= least and _estimate(sketch, window, slot) * (skip + 1) > bound:
            found.add((window[2 * slot], tail >> 16))
        slot += 1
    return 0


def _note(sketch, access, generation, name, now_s, scratch):
    if access.rate == 0 or access.sets == 0:
        siphash128(access.key, scratch.prefix, 0, 16, scratch.who, 0)
    if generation.key.shape[0] < 2 or name.labels > 127 or access.key.shape[0] < 2:
        raise IndexError("sketch: no key, or no name")
    if _changes_nothing(sketch, name, now_s, scratch):
        return 0
    hold(sketch.locks, 0)
    _note_locked(sketch, generation, name, now_s, scratch)
    release(sketch.locks, 0)
    return 0


def _changes_nothing(sketch, name, now_s, scratch):
    """Return whether a note would change nothing; without the lock, so it may leave one out at a turn."""
    who = (scratch.who[0] ^ sketch.key[0]) * (sketch.key[1] | 1) & _WORD
    if sketch.totals_now[who >> 53] < _rank(scratch.who[1] ^ sketch.key[1], 48):
        return 0
    if (who >> 20) & sketch.skip_now or name.labels < 2:
        return 1
    tick = int(now_s * _TICKS)
    return tick == sketch.tick and sketch.noted >= _BUDGET


def _note_locked(sketch, generation, name, now_s, scratch):
    """Do what `note` does for the client and the name; the lock is held."""
    # The digest that found the prefix's bucket, under this window's key.
    who = (scratch.who[0] ^ sketch.key[0]) * (sketch.key[1] | 1) & _WORD
    rank = _rank(scratch.who[1] ^ sketch.key[1], 48)
    place = who >> 53
    if sketch.totals_now[place] < rank:
        sketch.totals_now[place] = rank
    depth = name.labels
    if (who >> 20) & sketch.skip_now or depth < 2:
        return 0
    tick = int(now_s * _TICKS)
    if tick != sketch.tick:
        sketch.tick = tick
        sketch.noted = 0
    if sketch.noted >= _BUDGET:
        return 0
    sketch.noted = sketch.noted + 1
    _digest(generation, name, depth)
    seen = name.digests[2 * depth] ^ who
    place = seen >> 49
    if sketch.recent[place] == seen:
        return 0
    sketch.recent[place] = seen
    if rank > _MOST_RANK:
        rank = _MOST_RANK
    _raise(sketch, name.digests[2 * depth], name.digests[2 * depth + 1] & _HIGH, who, rank)
    depth = min(depth - 1, _PARENTS)
    while depth >= 2:
        _digest(generation, name, depth)
        _raise(sketch, name.digests[2 * depth], name.digests[2 * depth + 1] & _HIGH, who, rank)
        depth -= 1
    return 0


def _digest(generation, name, depth):
    """Digest the suffix of `depth` labels, unless judging the name has done so."""
    bit = generation.mask_low >> depth if depth < 64 else generation.mask_high >> (depth - 64)
    if bit & 1 == 0:
        siphash128(generation.key, name.octets, name.starts[name.labels - depth], name.length, name.digests, 2 * depth)
    return 0


def _rank(bits, most):
    """Return the place of the lowest bit that is set, counted from 1; at most `most`."""
    rank = 1
    while rank < most and bits & 1 == 0:
        bits = bits >> 1
        rank += 1
    return rank


def _raise(sketch, low, high, who, rank):
    """Raise a register of a digest (high: its next 48 bits, shifted left by 16) in the running window to `rank`."""
    first = ((high >> 32) * sketch.sets >> 32) * _WAYS
    # Of slots with equal scores another one gives way each time: a name has time to rise before its turn comes.
    start = (who >> 32) % _WAYS
    least = first + start
    way = 0
    slot = first
    while way < _WAYS:
        slot = first + (start + way) % _WAYS
        tail = sketch.now[2 * slot + 1]
        if sketch.now[2 * slot] == low and tail & _HIGH == high and tail & _SCORE:
            return _raise_slot(sketch, slot, who, rank)
        if tail & _SCORE < sketch.now[2 * least + 1] & _SCORE:
            least = slot
        way += 1
    sketch.now[2 * least] = low
    sketch.now[2 * least + 1] = high
    word = 2 * sketch.sets * _WAYS + least * _REGISTER_WORDS
    stop = word + _REGISTER_WORDS
    while word < stop:
        sketch.now[word] = 0
        word += 1
    return _raise_slot(sketch, least, who, rank)


def _raise_slot(sketch, slot, who, rank):
    register = who >> 58
    word = 2 * sketch.sets * _WAYS + slot * _REGISTER_WORDS + (register >> 4)
    shift = 4 * (register & 15)
    old = sketch.now[word] >> shift & 15
    if rank > old:
        added = rank - old
        sketch.now[word] = sketch.now[word] + (added << shift)
        sketch.now[2 * slot + 1] = sketch.now[2 * slot + 1] + added
    return 0


def _estimate(sketch, window, slot):
    """Return about how many prefixes have raised the registers of a slot."""
    word = 2 * sketch.sets * _WAYS + slot * _REGISTER_WORDS
    total = 0.0
    empty = 0
    i = 0
    while i < _REGISTERS:
        rank = window[word + (i >> 4)] >> (4 * (i & 15)) & 15
        total += 1.0 / (1 << rank)
        if rank == 0:
            empty += 1
        i += 1
    return _corrected(_OF_REGISTERS / total, empty, sketch.linear)


def _seen(sketch, totals):
    total = 0.0
    empty = 0
    i = 0
    while i < _TOTALS:
        rank = totals[i]
        total += 1.0 / (_ONE << rank)
        if rank == 0:
            empty += 1
        i += 1
    return _corrected(_OF_TOTALS / total, empty, sketch.linear_totals)


def _corrected(raw, empty, linear):
    """Return the estimate: by the empty registers if that is the better one."""
    if empty > 0 and raw <= 2.5 * (linear.shape[0] - 1):
        return linear[empty]
    return raw


def _clear(words):
    at = 0
    while at < words.shape[0]:
        words[at] = 0
        at += 1
    return 0
