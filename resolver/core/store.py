# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Keeps answers in memory that the caller owns: key, age, stale, evict.

Rules:
- A key is a keyed 128-bit digest of the folded qname, qtype and qclass, in which the bits KEY_* of core.codes are
  turned: queries that differ in DO or CD never share an answer; those that differ in AD, EDNS or its payload do. So the
  keys of other forms cost no digest; they lie in other sets.
- The form of a question is its DO and CD. An answer to one form may serve another (`other_form`): while fresh, one with
  DO serves without it, once its signatures are cut out (plain_form). If no upstream answers, one with CD=0 serves CD=1
  too, and one without DO serves with DO if its AD is clear: with AD the name is signed, and a validator would find it
  bogus. What was asked with CD=1 never serves CD=0: nobody validated it.
- The memory is an index of sets of slots and two rings of records, so its size is the bound whatever the clients ask.
  The oldest record makes room; a record that was used since it was written moves to the front once (clock, second
  chance), until the records moved have SECOND_CHANCES times the octets of the new one.
- An eighth of the memory is a ring apart, for records above SMALL_OCTETS and for those that the caller wants apart:
  a client that asks for large answers, or for more than its share, takes no room from the others' small ones. Memory
  that is too small for that has one ring.
- A record carries the generation of its verdict; the caller judges a record of an older generation again.
- Past its TTL a record is stale for `stale_s` seconds (RFC 8767); a failure never is.
- A failure is kept for 2 s (counted in whole seconds: for more than 1 s), twice as long each time it repeats, at most
  30 s (RFC 9520 3.2). It never replaces an answer that may still be given stale: that answer is marked quiet for the
  same time.
- A slot counts only while its record is in its ring and has both halves of the digest.

Several threads may use a store:
- Who writes (`keep`, `fail`, `renew`, `drop`, and the first uses of a record) holds the one lock. A record's place in
  its ring is never written while the ring's tail is at or before it: the tail is moved on first, then a fence, then the
  octets. A slot points to a record only after that is written.
- Who reads holds no lock. What `find` says of a record, and its octets, may be overwritten meanwhile: a thread that is
  not alone copies the record with `copy_out`, which reads the tail after the octets. If the tail has not passed the
  record by then, nothing that was read of it had been overwritten; else there was no record.
- A new verdict is written before its generation, and read after it: a record that has the generation in force has its
  verdict too. What was judged by an older one is judged again.
- Index and records may be damaged: whatever they hold, nothing raises while the lock is held, or all would wait for it.
- A torn slot (the low half of one digest with the position of another record) finds a record with another digest.

A position says where a record is: its bits from APART_BIT up are its ring, those below only grow; it lies at the rest
of dividing them by the ring's size. Position 0 means an empty slot.

A record, in octets: 0 all its octets (4; zero: the ring is unused from here to its end), 4 octets of the reply (4),
8 digest (16), 24 kept at (8, s), 32 ttl (4, s), 36 rcode (2), 38 kind (1), 39 hits (1), 40 quiet until (8, s),
48 generation (8), 56 octets of extended errors (2), 58 failures in a row (1), 59 zero, 64 the errors, then the reply.
"""

from array import array

import cython

from .codes import KEY_DO
from .locks import Locks
from .message import Body

if not cython.compiled:
    from .locks import fence_after_reads, fence_before_writes, hold, release, try_to_hold
    from .octets import copy, get, put
    from .siphash import siphash128

# Bits of a record's kind. A BLOCKED record holds the upstream's reply; it is judged at every hit, never sent unjudged.
POSITIVE = 0
NEGATIVE = 1
BLOCKED = 2
FAILURE = 4
# Results of `find`.
NOTHING = 0
FRESH = 1
STALE = 2

RECORD_HEADER = 64
WAYS = 4
SLOT_OCTETS = 16
SMALLEST_OCTETS = 4096
LARGEST_RECORD = 66048
SMALL_OCTETS = 2048
SECOND_CHANCES = 8
APART_BIT = 61
END = 1 << 62
MAX_FAILURE_S = 30
# A name is hot, and prefetched in the last tenth of its TTL, if it was used so often since it was kept.
HOT_HITS = 3
HOT_TTL_S = 10

_NEGATIVE = NEGATIVE
_FAILURE = FAILURE
_NOTHING = NOTHING
_FRESH = FRESH
_STALE = STALE
_RECORD_HEADER = RECORD_HEADER
_WAYS = WAYS
_SECOND_CHANCES = SECOND_CHANCES
_APART_BIT = APART_BIT
_APART = 1 << APART_BIT
_END = END
_FORM_LOW = 32
_FORM_HIGH = 56
_MAX_FAILURE_S = MAX_FAILURE_S
_HOT_HITS = HOT_HITS
_HOT_TTL_S = HOT_TTL_S
_DO = KEY_DO
_AD = 0x20
# For the two bits of each form of a question: the forms whose answers may serve it, the best first.
_LENDERS = memoryview(bytes((1, 4, 4, 0, 4, 4, 3, 0, 1, 1, 0, 4)))
_NO_FORM = 4
_ASKED_FOR = 1 << 62
_BLANK = memoryview(bytes(RECORD_HEADER))


class Store:
    """Kept answers in `memory`: zeroed, at least SMALLEST_OCTETS, a multiple of 8. key: 16 octets. stale_s: seconds."""

    def __init__(self, memory, key, stale_s=0):
        octets = memoryview(memory).cast("B")
        if len(octets) < SMALLEST_OCTETS or len(octets) % 8:
            raise ValueError("memory: too small or not a multiple of 8")
        # One index slot for every 128 octets of records: few answers are smaller, so the ring gets full first.
        self.sets = max(1, len(octets) // (WAYS * (128 + SLOT_OCTETS)))
        index = self.sets * WAYS * SLOT_OCTETS
        self.index = octets[:index].cast("Q")
        self.ring = octets[index:]
        size = len(self.ring)
        apart = size // 64 * 8
        if apart // 4 < SMALL_OCTETS:
            apart = 0
        size -= apart
        # Of both rings, the second the one apart: where it starts, its size, its largest record, where it is written.
        largest = min(size // 8, SMALL_OCTETS if apart else LARGEST_RECORD), min(apart // 4, LARGEST_RECORD)
        self.starts = memoryview(array("Q", (0, size)))
        self.sizes = memoryview(array("Q", (size, apart)))
        self.largest = memoryview(array("Q", largest))
        self.heads = memoryview(array("Q", (size, apart)))
        self.tails = memoryview(array("Q", (size, apart)))
        self.stale_s = stale_s
        self.key = memoryview(bytes(key)).cast("Q")
        self.locks = Locks(1)


class Kept(Body):
    """A record that was found or is to be written. Times in seconds.

    quiet: do not ask an upstream for it now. hot: used so often that it is worth a prefetch. record, position: the
    offset in store.ring and the position of the record found last. apart: write it to the ring apart, however small.
    """

    def __init__(self):
        super().__init__()
        self.position = 0
        self.ttl_s = 0
        self.generation = 0
        self.kind = 0
        self.quiet = 0
        self.hot = 0
        self.record = 0
        self.apart = 0


def set_key(store, question, bits, scratch):
    """Digest the key of a question into scratch.key, for the next `find` or `keep`. Returns 0."""
    length = question.name.length
    copy(scratch.text, 0, question.name.octets, 0, length)
    put(scratch.text, length, question.qtype, 2)
    put(scratch.text, length + 2, question.qclass, 2)
    siphash128(store.key, scratch.text, 0, length + 4, scratch.key, 0)
    form = bits
    scratch.key[0] = scratch.key[0] ^ form << _FORM_LOW
    scratch.key[1] = scratch.key[1] ^ form << _FORM_HIGH
    return 0


def find(store, low, high, now_s, kept):
    """Fill `kept` from the record of this digest; return FRESH, STALE, or NOTHING if no record may be given."""
    found = peek(store, low, high, now_s, kept)
    if found == _FRESH and store.ring[kept.record + 39] <= _HOT_HITS:
        _use(store, kept)
    return found


def _use(store, kept):
    """Count a use of a record, unless another thread is writing just now or has replaced it. Returns 0.

    More uses than make a name hot are not counted: all would write to a name that all ask for.
    """
    if not try_to_hold(store.locks, 0):
        return 0
    if _is_in_ring(store, kept.position):
        store.ring[kept.record + 39] = store.ring[kept.record + 39] + 1
    release(store.locks, 0)
    return 0


def copy_out(store, kept, out):
    """Copy the record that `kept` describes to `out`, and let `kept` describe the copy.

    Return 1, or 0 if it was overwritten meanwhile or is larger than `out`: `kept` is then not to be used.
    """
    size = kept.end - kept.errors_start
    if size < 0 or size > out.shape[0] or kept.errors_start < 0 or kept.end > store.ring.shape[0]:
        return 0
    copy(out, 0, store.ring, kept.errors_start, size)
    fence_after_reads()
    if not _is_in_ring(store, kept.position):
        return 0
    kept.data = out
    kept.errors = out
    kept.start = kept.start - kept.errors_start
    kept.errors_start = 0
    kept.end = size
    return 1


def other_form(store, low, high, bits, now_s, kept):
    """Fill `kept` from the first answer to another form that serves this one, whose key is low and high.

    Return FRESH if it serves at once, STALE if it does when no upstream answers, both plus 4 if its signatures have to
    be cut out; or NOTHING.
    """
    serves = _NOTHING
    at = 3 * bits
    while at < 3 * bits + 3 and serves == _NOTHING and _LENDERS[at] != _NO_FORM:
        form = _LENDERS[at]
        at += 1
        turned = form ^ bits
        found = peek(store, low ^ turned << _FORM_LOW, high ^ turned << _FORM_HIGH, now_s, kept)
        if found == _NOTHING or kept.kind & _FAILURE:
            continue
        if form == bits + _DO:
            serves = found + 4
        elif form & _DO and not bits & _DO:
            serves = _STALE + 4
        elif form & _DO or not bits & _DO or not store.ring[kept.start + 3] & _AD:
            serves = _STALE
        if serves & _STALE and store.stale_s == 0:
            serves = _NOTHING
    return serves


def peek(store, low, high, now_s, kept):
    """Do the same as `find`, but leave no trace in the record."""
    position = _position_of(store, low, high)
    if position == 0:
        return _NOTHING
    _read(store, position, now_s, kept)
    fence_after_reads()
    if not _is_in_ring(store, position):
        return _NOTHING
    if kept.age_s < kept.ttl_s:
        last_tenth = 10 * (kept.ttl_s - kept.age_s) <= kept.ttl_s
        used = store.ring[kept.record + 39] >= _HOT_HITS
        kept.hot = last_tenth and used and kept.ttl_s >= _HOT_TTL_S and not kept.quiet
        return _FRESH
    if kept.kind & _FAILURE or kept.age_s - kept.ttl_s >= store.stale_s:
        return _NOTHING
    return _STALE


def set_answer(kept, message, ttl_s, generation, kind):
    """Let `kept` describe the record of a reply that was read, judged and trimmed. Returns 0."""
    kept.data = message.data
    kept.start = message.start
    kept.end = message.end
    kept.rcode = message.rcode
    kept.errors = message.errors
    kept.errors_start = message.errors_start
    kept.errors_size = message.errors_size
    kept.ttl_s = ttl_s
    kept.generation = generation
    kept.kind = kind
    return 0


def set_failure(kept, data, rcode, errors, errors_size):
    """Let `kept` describe the record of a failure: data is a header and the question. Returns 0."""
    kept.data = data
    kept.start = 0
    kept.end = data.shape[0]
    kept.rcode = rcode
    kept.errors = errors
    kept.errors_start = 0
    kept.errors_size = errors_size
    kept.generation = 0
    kept.kind = _FAILURE
    return 0


def keep(store, low, high, now_s, kept):
    """Write the record that `kept` describes; return 1, or 0 if it is too large for its ring."""
    _check(kept)
    hold(store.locks, 0)
    written = _write(store, low, high, now_s, kept)
    release(store.locks, 0)
    return written


def _check(kept):
    """Raise an IndexError unless all that `kept` describes is there: with the lock held nothing may raise."""
    if kept.start < 0 or kept.end < kept.start or kept.end > len(kept.data):
        raise IndexError("store: a reply outside its buffer")
    if kept.errors_start < 0 or kept.errors_size < 0 or kept.errors_start + kept.errors_size > len(kept.errors):
        raise IndexError("store: errors outside their buffer")
    return 0


def _write(store, low, high, now_s, kept):
    """Do what `keep` does; the lock is held."""
    size = kept.end - kept.start
    total = (_RECORD_HEADER + kept.errors_size + size + 7) // 8 * 8
    which = 0
    if store.sizes[1] > 0 and (kept.apart or total > store.largest[0]):
        which = 1
    if total > store.largest[which]:
        return 0
    _make_room(store, which, total, now_s)
    at = _place(store, which, total)
    position = (which << _APART_BIT) + store.heads[which] - total
    copy(store.ring, at, _BLANK, 0, _RECORD_HEADER)
    put(store.ring, at, total, 4)
    put(store.ring, at + 4, size, 4)
    put(store.ring, at + 8, low, 8)
    put(store.ring, at + 16, high, 8)
    put(store.ring, at + 24, now_s, 8)
    put(store.ring, at + 32, kept.ttl_s, 4)
    put(store.ring, at + 36, kept.rcode, 2)
    store.ring[at + 38] = kept.kind
    put(store.ring, at + 48, kept.generation, 8)
    put(store.ring, at + 56, kept.errors_size, 2)
    at += _RECORD_HEADER
    copy(store.ring, at, kept.errors, kept.errors_start, kept.errors_size)
    at += kept.errors_size
    copy(store.ring, at, kept.data, kept.start, size)
    fence_before_writes()
    _enter(store, low, high, position)
    return 1


def fail(store, low, high, now_s, kept):
    """Write the failure that `kept` describes, or mark an answer quiet that may still be given stale. Returns 1.

    Sets kept.ttl_s.
    """
    _check(kept)
    hold(store.locks, 0)
    _fail(store, low, high, now_s, kept)
    release(store.locks, 0)
    return 1


def _fail(store, low, high, now_s, kept):
    """Do what `fail` does; the lock is held."""
    failures = 0
    position = _position_of(store, low, high)
    if position > 0:
        at = _at(store, position)
        kept_at = get(store.ring, at + 24, 8)
        ttl_s = get(store.ring, at + 32, 4)
        failures = store.ring[at + 58]
        if not store.ring[at + 38] & _FAILURE and now_s < kept_at + ttl_s + store.stale_s:
            put(store.ring, at + 40, now_s + _failure_s(failures), 8)
            store.ring[at + 58] = min(failures + 1, 8)
            return 1
        if now_s >= kept_at + ttl_s + _MAX_FAILURE_S:
            failures = 0
    kept.ttl_s = _failure_s(failures)
    _write(store, low, high, now_s, kept)
    position = _position_of(store, low, high)
    if position > 0:
        store.ring[_at(store, position) + 58] = min(failures + 1, 8)
    return 1


def _failure_s(failures):
    """Return for how many seconds a failure is kept after so many failures in a row."""
    return _MAX_FAILURE_S if failures > 3 else 2 << failures


def renew(store, kept, generation, kind):
    """Note in a found record that it was judged again under `generation`, and its new kind. Returns 0."""
    hold(store.locks, 0)
    if _is_in_ring(store, kept.position):
        store.ring[kept.record + 38] = kind
        fence_before_writes()
        put(store.ring, kept.record + 48, generation, 8)
    release(store.locks, 0)
    return 0


def look(store, position, kept):
    """Fill `kept` from the record at `position`; return the position of the next record, END after the last of all.

    kept.end is 0 for a record that was replaced or dropped, and for a position without a record, such as 0, from which
    the first record of all is next.
    """
    kept.end = 0
    which = position >> _APART_BIT
    place = position & (_APART - 1)
    if place < store.tails[which]:
        return position - place + store.tails[which]
    if place >= store.heads[which]:
        return _END if which else _APART
    at = store.starts[which] + place % store.sizes[which]
    total = get(store.ring, at, 4) if at + _RECORD_HEADER <= store.ring.shape[0] else 0
    if total == 0:
        return position + store.sizes[which] - place % store.sizes[which]
    if _is_pointed_to(store, at, position):
        _read(store, position, 0, kept)
    fence_after_reads()
    if not _is_in_ring(store, position):
        kept.end = 0
        return position - place + store.tails[which]
    return position + total


def rounds(store):
    """Return how often as many octets as the larger ring has were written since the start, to both rings."""
    return (store.heads[0] + store.heads[1] - store.sizes[0] - store.sizes[1]) // store.sizes[0]


def drop(store, kept):
    """Remove a record that was looked at. Returns 0."""
    hold(store.locks, 0)
    if _is_in_ring(store, kept.position):
        put(store.ring, kept.record + 8, 0, 8)
        put(store.ring, kept.record + 16, 0, 8)
    release(store.locks, 0)
    return 0


def _read(store, position, now_s, kept):
    """Fill `kept` from the record at `position`: its places are those in store.ring. Returns 0."""
    # Not with the ring as its data: all threads would count their references to it in one word.
    at = _at(store, position)
    kept.position = position
    kept_at = get(store.ring, at + 24, 8)
    kept.record = at
    kept.age_s = now_s - kept_at if now_s > kept_at else 0
    kept.ttl_s = get(store.ring, at + 32, 4)
    kept.rcode = get(store.ring, at + 36, 2)
    kept.quiet = now_s < get(store.ring, at + 40, 8)
    kept.hot = 0
    kept.generation = get(store.ring, at + 48, 8)
    fence_after_reads()
    kept.kind = store.ring[at + 38]
    kept.errors_size = get(store.ring, at + 56, 2)
    kept.errors_start = at + _RECORD_HEADER
    kept.start = kept.errors_start + kept.errors_size
    kept.end = kept.start + get(store.ring, at + 4, 4)
    return 0


def _at(store, position):
    """Return the offset in store.ring of the record at `position` in its ring; 0 where only damage can lead."""
    which = position >> _APART_BIT
    at = store.starts[which] + (position & (_APART - 1)) % store.sizes[which]
    return at if at + _RECORD_HEADER <= store.ring.shape[0] else 0


def _is_in_ring(store, position):
    """Return whether the record at `position` has not been overwritten."""
    which = position >> _APART_BIT
    place = position & (_APART - 1)
    return which < 2 and store.tails[which] <= place and place < store.heads[which]


def _position_of(store, low, high):
    """Return the position of the live record of this digest, 0 for none; each slot is read once."""
    slot = _set_of(store, high)
    end = slot + 2 * _WAYS
    while slot < end:
        if store.index[slot] == low:
            position = store.index[slot + 1]
            if _is_in_ring(store, position):
                at = _at(store, position)
                if get(store.ring, at + 8, 8) == low and get(store.ring, at + 16, 8) == high:
                    return position
        slot += 2
    return 0


if not cython.compiled:

    def prefetch_index(store, scratch):
        """Ask the memory for the index's set of scratch.key, for a `find` that comes a little later. Returns 0."""
        return 0

    def prefetch_record(store, scratch):
        """Ask the memory for the record of scratch.key, once its set of the index is near. Returns 0."""
        return 0

    def _set_of(store, high):
        """Return the index's first word of a digest's set: its share of the sets is that of its first 32 bits."""
        return ((high >> 32) * store.sets >> 32) * WAYS * 2


def _is_pointed_to(store, at, position):
    """Return whether the index points to the record at `position`."""
    return _position_of(store, get(store.ring, at + 8, 8), get(store.ring, at + 16, 8)) == position


def _enter(store, low, high, position):
    """Point a slot of the digest's set to the record: its own slot, else the slot that is worth least.

    A record apart gets no slot of a record that was used.
    """
    slot = _set_of(store, high)
    chosen = slot
    least = _worth(store, store.index[slot + 1])
    own = 0
    way = 0
    while way < _WAYS:
        at = slot + 2 * way
        if store.index[at] == low:
            chosen = at
            own = 1
            break
        worth = _worth(store, store.index[at + 1])
        if worth < least:
            chosen = at
            least = worth
        way += 1
    if position >= _APART and least >= _ASKED_FOR and not own:
        return 0
    store.index[chosen] = low
    store.index[chosen + 1] = position
    return 0


def _worth(store, position):
    """Return the worth of a slot that points there: 0 if the record is gone, most if it was used, little if apart."""
    if not _is_in_ring(store, position):
        return 0
    worth = 1 if position >= _APART else position
    if store.ring[_at(store, position) + 39]:
        return worth + _ASKED_FOR
    return worth


def _make_room(store, which, total, now_s):
    """Remove a ring's oldest records until `total` octets fit, and two of its largest records more. Returns 0."""
    chances = _SECOND_CHANCES * total
    room = store.sizes[which] - 2 * store.largest[which]
    while store.heads[which] + _taken(store, which, total) > store.tails[which] + room:
        place = store.tails[which] % store.sizes[which]
        at = store.starts[which] + place
        size = get(store.ring, at, 4)
        if size == 0:
            store.tails[which] = min(store.tails[which] + store.sizes[which] - place, store.heads[which])
            fence_before_writes()
            continue
        if size < _RECORD_HEADER or size > store.largest[which] or size & 7 or place + size > store.sizes[which]:
            # Damage: where the next record begins is not known, so all are forgotten.
            size = store.heads[which] - store.tails[which]
            chances = 0
        if chances > 0 and _deserves_another(store, which, at, now_s):
            chances -= min(chances, size)
            _move(store, which, at, size)
        store.tails[which] = store.tails[which] + size
        fence_before_writes()
    return 0


def _deserves_another(store, which, at, now_s):
    """Return whether a ring's oldest record was used since it was written, may still be given, and can be moved."""
    if store.ring[at + 39] == 0 or store.ring[at + 38] & _FAILURE:
        return 0
    if now_s >= get(store.ring, at + 24, 8) + get(store.ring, at + 32, 4) + store.stale_s:
        return 0
    if not _is_pointed_to(store, at, (which << _APART_BIT) + store.tails[which]):
        return 0
    return store.heads[which] + _taken(store, which, get(store.ring, at, 4)) <= store.tails[which] + store.sizes[which]


def _move(store, which, at, size):
    """Move a ring's oldest record, to which the index points, to its front. Returns 0.

    It gets no further chance unless it is used again.
    """
    slot = _set_of(store, get(store.ring, at + 16, 8))
    while store.index[slot + 1] != (which << _APART_BIT) + store.tails[which]:
        slot += 2
    to = _place(store, which, size)
    copy(store.ring, to, store.ring, at, size)
    store.ring[to + 39] = 0
    store.index[slot + 1] = (which << _APART_BIT) + store.heads[which] - size
    return 0


def _taken(store, which, total):
    """Return the octets that a record of `total` takes: more if it does not fit before the ring's end."""
    place = store.heads[which] % store.sizes[which]
    if place + total > store.sizes[which]:
        return store.sizes[which] - place + total
    return total


def _place(store, which, total):
    """Reserve `total` octets at a ring's front; return their offset in store.ring."""
    place = store.heads[which] % store.sizes[which]
    if place + total > store.sizes[which]:
        put(store.ring, store.starts[which] + place, 0, 4)
        store.heads[which] = store.heads[which] + store.sizes[which] - place
        place = 0
    store.heads[which] = store.heads[which] + total
    return store.starts[which] + place
