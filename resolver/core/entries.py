# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Writes the entries of a list into an image.

Rules:
- Each name has one slot: the bits of a name that occurs twice are joined, whatever the order of the lines.
- The synthetic name is added here. It is no entry: it is neither counted nor new.
- An entry above an exception is marked: it may not be answered NXDOMAIN (RFC 8020).
- An entry is new if it is enforced for the first time: the image in force lacks it, or has it set aside and unapproved,
  and this image does not.
"""

import cython

from .codes import (
    BLOCK_BELOW,
    BLOCK_SELF,
    EXCEPT_BELOW,
    EXCEPT_SELF,
    EXCEPTION_BELOW,
    NEW,
    SCOPE_BITS,
    SELFTEST,
    SET_ASIDE,
)
from .image import SELFTEST_ZONE, close, empty, header

if not cython.compiled:
    from .image import add, bits_of, deepen, entry, find, set_bits, slot_of, touch
    from .siphash import digest_names, siphash128

_SYNTHETIC_FLAGS = (BLOCK_SELF | BLOCK_BELOW | SELFTEST).to_bytes(2, "little")
# So many digests at a time stay in the processor's cache.
_ROOM = 4 + 2 * 1024

_SCOPE_BITS = SCOPE_BITS
_BLOCK_SELF = BLOCK_SELF
_BLOCK_BELOW = BLOCK_BELOW
_EXCEPT_SELF = EXCEPT_SELF
_EXCEPT_BELOW = EXCEPT_BELOW
_EXCEPTION_BELOW = EXCEPTION_BELOW
_NEW = NEW
_SET_ASIDE = SET_ASIDE
_SELFTEST = SELFTEST


def write(
    names,
    flags,
    key,
    *,
    list_id,
    serial,
    issued,
    expires,
    generation,
    selftest,
    previous=None,
    keep_new=False,
    approved=False,
    lines=None,
    line_of=None,
):
    """Return the image of a list as a bytearray.

    names: lower-cased wire-format names, one after the other. flags: a little-endian u16 for each, in order.
    key: 16 octets. selftest: the label of the synthetic name, which is added here. previous: the view of the
    image in force, or None; entries that it does not enforce are marked new. keep_new: entries that are new there stay
    new. approved: its lines set aside are enforced.
    lines: an array of u32, the line of each name, in order. line_of: a bytearray that gets a u32 for each slot, the
    first line of its name, 0 for none.
    """
    if len(flags) % 2:
        raise ValueError("flags: an odd number of octets")
    image = empty(
        len(flags) // 2 + 1,
        list_id=list_id,
        serial=serial,
        issued=issued,
        expires=expires,
        generation=generation,
        selftest=selftest,
    )
    words = memoryview(image).cast("Q")
    digest_key = memoryview(bytes(key)).cast("Q")
    out = memoryview(bytearray(8 * _ROOM)).cast("Q")
    numbers = memoryview(bytearray() if lines is None else lines).cast("B").cast("I")
    if lines is not None:
        if len(numbers) != len(flags) // 2:
            raise ValueError("lines: not as many as there are flags")
        line_of[:] = bytes(4 * header(words).slots)
    first = memoryview(bytearray() if lines is None else line_of).cast("I")
    blob = memoryview(names)
    bits = memoryview(flags)
    used = _fill(words, blob, bits, digest_key, numbers, first, out)
    used += _add_synthetic(words, selftest, digest_key, out)
    _mark_exceptions(words, blob, bits, digest_key, out)
    if previous is not None:
        _mark_new(words, header(words).slots, previous, keep_new, approved, out)
    close(words, used)
    return image


def count_depths(names, out):
    """Add to out[d] the number of names of d labels. Returns 0.

    names: in wire format, one after the other. out: 128 words.
    """
    at = 0
    while at < names.shape[0]:
        depth = 0
        while names[at] != 0:
            at += names[at] + 1
            depth += 1
        at += 1
        out[depth] = out[depth] + 1
    return 0


def _add_synthetic(words, selftest, key, out):
    """Put the synthetic name into its slot; return 1."""
    name = memoryview(bytes([len(selftest)]) + selftest + SELFTEST_ZONE)
    nothing = memoryview(b"").cast("I")
    return _fill(words, name, memoryview(_SYNTHETIC_FLAGS), key, nothing, memoryview(bytearray()).cast("I"), out)


def _fill(words, names, flags, key, lines, line_of, out):
    """Put every name into its slot, with its first line if `lines` has any; return the number of slots in use."""
    used = 0
    at = 0
    number = 0
    while at < names.shape[0]:
        at = digest_names(key, names, at, out)
        deepen(words, out[1], out[2])
        # The digests of a turn determine the slots of all its names.
        touch(words, out, 4, 4 + 2 * out[0])
        stop = number + out[0]
        if 2 * stop > flags.shape[0]:
            raise ValueError("names: more than there are flags")
        turn = 4
        while number < stop:
            bits = flags[2 * number]
            bits = bits | flags[2 * number + 1] << 8
            if bits & _SCOPE_BITS == 0:
                raise ValueError("flags: an entry without a scope")
            slot = add(words, out[turn], out[turn + 1] >> 16, _together(bits, 0))
            if slot >= 0:
                used += 1
                if line_of.shape[0]:
                    line_of[slot] = lines[number]
            else:
                slot = -1 - slot
                set_bits(words, slot, _together(bits, bits_of(words, slot)))
                if line_of.shape[0] and lines[number] < line_of[slot]:
                    line_of[slot] = lines[number]
            turn += 2
            number += 1
    if 2 * number != flags.shape[0]:
        raise ValueError("flags: more than there are names")
    return used


def _together(one, other):
    """Return the joined bits of a name that occurs twice, whatever the order of the lines.

    An exception overrides a block of the same scope. A name that one line sets aside is not enforced by another. If no
    block is left, nothing is set aside.
    """
    bits = one | other
    if bits & _EXCEPT_SELF:
        bits = bits & ~_BLOCK_SELF
    if bits & _EXCEPT_BELOW:
        bits = bits & ~_BLOCK_BELOW
    if bits & (_BLOCK_SELF | _BLOCK_BELOW) == 0:
        bits = bits & ~_SET_ASIDE
    return bits


def _mark_exceptions(words, names, flags, key, out):
    """Mark each entry that has an exception somewhere below it."""
    at = 0
    number = 0
    last = flags.shape[0] - 2
    while last >= 0 and flags[last] & (_EXCEPT_SELF | _EXCEPT_BELOW) == 0:
        last -= 2
    while 2 * number <= last:
        end = at
        while names[end] != 0:
            end += names[end] + 1
        end += 1
        if flags[2 * number] & (_EXCEPT_SELF | _EXCEPT_BELOW):
            parent = at + names[at] + 1
            while names[at] != 0 and names[parent] != 0:
                siphash128(key, names, parent, end, out, 0)
                slot = slot_of(words, out[0], out[1] >> 16)
                if slot >= 0:
                    set_bits(words, slot, bits_of(words, slot) | _EXCEPTION_BELOW)
                parent += names[parent] + 1
        at = end
        number += 1
    return 0


def _mark_new(words, slots, previous, keep_new, approved, out):
    """Mark each entry that the previous image does not enforce (or, with keep_new, has as new)."""
    at = 0
    while at < slots:
        stop = at
        turn = 4
        while stop < slots and turn + 2 <= out.shape[0]:
            if entry(words, stop, out):
                out[turn] = out[0]
                turn += 2
            stop += 1
        touch(previous, out, 4, turn)
        while at < stop:
            bits = entry(words, at, out)
            if bits & _SCOPE_BITS and bits & _SELFTEST == 0:
                before = find(previous, out[0], out[1])
                aside = before & _SET_ASIDE and bits & _SET_ASIDE == 0 and not approved
                if before == 0 or aside or (keep_new and before & _NEW):
                    set_bits(words, at, bits | _NEW)
            at += 1
    return 0
