# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""The answers kept: key, keep, age, evict, over memory handed in.

Rules:
- A key is a keyed 128-bit digest of the folded qname, qtype, qclass and the bits KEY_* of core.codes: queries that
  differ in DO, CD, AD or EDNS never share an answer.
- The memory is an index of sets of slots and a ring of records; the oldest records go first, so the bytes handed in
  are the bound whatever the clients ask.
- A record carries the generation of its verdict; whoever finds it with an older one judges it again.
- What is read is read whole: a slot counts only while the ring has not come round over its record, and while both
  halves of the digest stand in the record itself.

A record, in octets: 0 digest (16), 16 size, 24 kept at (s), 32 ttl (s), 40 generation, 48 rcode, 50 kind,
52 octets of extended errors, 54 zero, 56 the errors, then the trimmed reply.
"""

import cython

if not cython.compiled:
    from .siphash import siphash128

# Bits of a record's kind. A blocked one holds what upstream said; it is judged at every hit and never sent unjudged.
POSITIVE = 0
NEGATIVE = 1
BLOCKED = 2
RECORD_HEADER = 56
WAYS = 4
SLOT_OCTETS = 16
SMALLEST_OCTETS = 4096

_RECORD_HEADER = RECORD_HEADER
_WAYS = WAYS


class Store:
    """Kept answers in `memory` (zeroed, at least SMALLEST_OCTETS, a multiple of 8); key: 16 octets."""

    def __init__(self, memory, key):
        octets = memoryview(memory).cast("B")
        if len(octets) < SMALLEST_OCTETS or len(octets) % 8:
            raise ValueError("memory: too small or not a multiple of 8")
        # One index slot to every 256 octets of records, which is about the size of an answer.
        self.sets = max(1, len(octets) // (WAYS * (256 + SLOT_OCTETS)))
        index = self.sets * WAYS * SLOT_OCTETS
        self.index = octets[:index].cast("Q")
        self.ring = octets[index:]
        self.size = len(self.ring)
        # Positions only grow; a record lies at position % size. Position 0 means an empty slot.
        self.head = self.size
        self.key = memoryview(bytes(key)).cast("Q")
        self.text = memoryview(bytearray(264))
        self.digest = memoryview(bytearray(16)).cast("Q")


class Kept:
    """A kept answer: where its reply lies in store.ring, and what is known of it. Times in seconds."""

    def __init__(self):
        self.start = 0
        self.end = 0
        self.errors_start = 0
        self.errors_size = 0
        self.age_s = 0
        self.ttl_s = 0
        self.generation = 0
        self.rcode = 0
        self.kind = 0
        self.record = 0


def set_key(store, question, bits):
    """Digest the key of a question into store.digest: the argument of the `find` or `keep` that follows. Returns 0."""
    length = question.name.length
    store.text[:length] = question.name.octets[:length]
    store.text[length] = question.qtype >> 8
    store.text[length + 1] = question.qtype & 255
    store.text[length + 2] = question.qclass >> 8
    store.text[length + 3] = question.qclass & 255
    store.text[length + 4] = bits
    siphash128(store.key, store.text, 0, length + 5, store.digest, 0)
    return 0


def find(store, low, high, now_s, kept):
    """Fill `kept` from the live record of this digest; return 1, or 0 where there is none."""
    slot = high % store.sets * _WAYS * 2
    way = 0
    while way < _WAYS:
        position = store.index[slot + 2 * way + 1]
        if store.index[slot + 2 * way] == low and _is_alive(store, position):
            at = position % store.size
            if _get(store.ring, at, 8) == low and _get(store.ring, at + 8, 8) == high:
                return _read(store, at, now_s, kept)
        way += 1
    return 0


def keep(store, low, high, now_s, ttl_s, generation, rcode, kind, body, end, errors, errors_size):
    """Keep the trimmed reply body[:end] for ttl_s; return 1, or 0 where it is too large for the ring."""
    total = (_RECORD_HEADER + errors_size + end + 7) // 8 * 8
    if total > store.size // 4:
        return 0
    at = store.head % store.size
    if at + total > store.size:
        store.head = store.head + store.size - at
        at = 0
    position = store.head
    store.head = store.head + total
    _put(store.ring, at, low, 8)
    _put(store.ring, at + 8, high, 8)
    _put(store.ring, at + 16, end, 8)
    _put(store.ring, at + 24, now_s, 8)
    _put(store.ring, at + 32, ttl_s, 8)
    _put(store.ring, at + 40, generation, 8)
    _put(store.ring, at + 48, rcode, 2)
    _put(store.ring, at + 50, kind, 2)
    _put(store.ring, at + 52, errors_size, 4)
    at += _RECORD_HEADER
    store.ring[at : at + errors_size] = errors[:errors_size]
    at += errors_size
    store.ring[at : at + end] = body[:end]
    _enter(store, low, high, position)
    return 1


def renew(store, kept, generation, kind):
    """Note in a found record that it was judged again, under `generation`, and its kind since. Returns 0."""
    _put(store.ring, kept.record + 40, generation, 8)
    _put(store.ring, kept.record + 50, kind, 2)
    return 0


def _read(store, at, now_s, kept):
    kept_at = _get(store.ring, at + 24, 8)
    ttl_s = _get(store.ring, at + 32, 8)
    if now_s < kept_at or now_s - kept_at >= ttl_s:
        return 0
    kept.record = at
    kept.age_s = now_s - kept_at
    kept.ttl_s = ttl_s
    kept.generation = _get(store.ring, at + 40, 8)
    kept.rcode = _get(store.ring, at + 48, 2)
    kept.kind = _get(store.ring, at + 50, 2)
    kept.errors_size = _get(store.ring, at + 52, 4)
    kept.errors_start = at + _RECORD_HEADER
    kept.start = kept.errors_start + kept.errors_size
    kept.end = kept.start + _get(store.ring, at + 16, 8)
    return 1


def _enter(store, low, high, position):
    """Point a slot of the digest's set at the record: its own, else a dead one, else the oldest."""
    slot = high % store.sets * _WAYS * 2
    chosen = slot
    way = 0
    while way < _WAYS:
        at = slot + 2 * way
        if store.index[at] == low:
            chosen = at
            break
        if store.index[at + 1] < store.index[chosen + 1]:
            chosen = at
        way += 1
    store.index[chosen] = low
    store.index[chosen + 1] = position
    return 0


def _is_alive(store, position):
    """Tell whether the ring has not come round over the record at this position."""
    return position >= store.size and position + store.size >= store.head and position < store.head


def _get(octets, at, size):
    value = 0
    while size > 0:
        size -= 1
        value = value << 8 | octets[at + size]
    return value


def _put(octets, at, value, size):
    i = 0
    while i < size:
        octets[at + i] = value & 255
        value = value >> 8
        i += 1
    return 0
