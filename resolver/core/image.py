# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""The byte layout of a compiled list: `write` makes it, `find` reads it, nobody else knows it.

Layout, in little-endian 64-bit words:

    0       magic and format            7, 8    depths that occur: bit d of 128 = some name has d labels
    1       number of slots             9-12    list id, padded with zeros to 32 octets
    2       entries (not the self-test) 13-16   label of the synthetic name, padded to 32 octets
    3       serial                      17-21   zero
    4       issued, unix seconds        24-     slots of two words: the digest's low 64 bits; its next 48 bits
    5       expires, unix seconds or 0          shifted left by 16, with the 16 bits of core.codes below them
    6       generation                  22, 23  check: SipHash-2-4-128 of words 0 to 21 under a key of zeros

Rules:
- Open addressing with linear probing from `low % slots`; a load of at most 0.75; a slot without a scope bit is empty.
- A hit needs all 112 bits; the image holds no name, no address and no text of an answer.
- A word outside the image is an error that is raised, never "not found": `view` and every `find` hold the size
  against the header, and `find` never looks at more slots than there are.
- `view` holds the header against its check (a depth missing from the mask would let names pass) and the number of
  slots in use against the header. A digest that has changed in its slot is what only the seal of the file tells.
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

if not cython.compiled:
    from .siphash import siphash128

MAGIC = int.from_bytes(b"BLKLST\x00\x01", "little")
HEADER_WORDS = 24
CHECK_WORD = 22
SELFTEST_ZONE = b"\x08selftest\x07invalid\x00"
_SYNTHETIC_FLAGS = (BLOCK_SELF | BLOCK_BELOW | SELFTEST).to_bytes(2, "little")

_HEADER_WORDS = HEADER_WORDS
_SCOPE_BITS = SCOPE_BITS
_BLOCK_SELF = BLOCK_SELF
_BLOCK_BELOW = BLOCK_BELOW
_EXCEPT_SELF = EXCEPT_SELF
_EXCEPT_BELOW = EXCEPT_BELOW
_EXCEPTION_BELOW = EXCEPTION_BELOW
_NEW = NEW
_SET_ASIDE = SET_ASIDE
_SELFTEST = SELFTEST
_ONE = 1
_DIGEST_BITS = 0xFFFFFFFFFFFF0000


class ImageMalformed(Exception):
    """The bytes are not an image of this format."""


class Header:
    """What an image says of itself; times in unix seconds."""

    def __init__(self, words):
        octets = words.cast("B")
        self.slots = words[1]
        self.entries = words[2]
        self.serial = words[3]
        self.issued = words[4]
        self.expires = words[5]
        self.generation = words[6]
        self.depths = (words[7], words[8])
        self.list_id = bytes(octets[72:104]).rstrip(b"\0").decode("ascii")
        self.selftest = bytes(octets[104:136]).rstrip(b"\0")


def view(data):
    """Return the image in `data` as a memoryview of u64; raise ImageMalformed where size or format is off."""
    octets = memoryview(data).cast("B")
    if len(octets) % 8 or len(octets) < 8 * (HEADER_WORDS + 2):
        raise ImageMalformed("size")
    words = octets.cast("Q")
    if words[0] != MAGIC:
        raise ImageMalformed("format")
    if words[1] == 0 or words[1] != (len(words) - HEADER_WORDS) // 2 or len(words) % 2:
        raise ImageMalformed("slots")
    if _check(words) != (words[CHECK_WORD], words[CHECK_WORD + 1]):
        raise ImageMalformed("header")
    if occupied(words) != words[2] + 1:
        raise ImageMalformed("entries")
    return words


def _check(words):
    """Return what must stand in the header's last two words: it finds accidents, the seal finds forgers."""
    out = memoryview(bytearray(16)).cast("Q")
    siphash128(memoryview(bytes(16)).cast("Q"), words.cast("B"), 0, 8 * CHECK_WORD, out, 0)
    return out[0], out[1]


def header(words):
    """Return the Header of an image that `view` has accepted."""
    return Header(memoryview(words))


def find(words, low, high):
    """Return the 16 bits of the slot whose digest is (low, high: the next 48 bits), 0 where there is none."""
    slots = words[1]
    room = words.shape[0] - _HEADER_WORDS
    left = room >> 1 if room > 0 else 0
    # An image cut short would end some searches too early, and others not at all.
    if left == 0 or slots != left:
        raise IndexError("image: not as large as it says")
    at = low % slots
    while left > 0:
        tail = words[_HEADER_WORDS + 2 * at + 1]
        if tail & _SCOPE_BITS == 0:
            return 0
        if words[_HEADER_WORDS + 2 * at] == low and tail >> 16 == high:
            return tail & 0xFFFF
        at += 1
        if at == slots:
            at = 0
        left -= 1
    raise IndexError("image: no empty slot")


def slot_of(words, low, high):
    """Return the index of the slot whose digest is (low, high), counted from 0; -1 where there is none."""
    if words.shape[0] < _HEADER_WORDS or words[1] == 0 or words[1] != (words.shape[0] - _HEADER_WORDS) >> 1:
        raise IndexError("image: not as large as it says")
    word = _place(words, low, high)
    return (word - _HEADER_WORDS) >> 1 if words[word + 1] & _SCOPE_BITS else -1


def occupied(words):
    """Return the number of slots in use: entries and the self-test."""
    used = 0
    at = _HEADER_WORDS + 1
    while at < words.shape[0]:
        if words[at] & _SCOPE_BITS:
            used += 1
        at += 2
    return used


def digests(words, limit):
    """Return up to `limit` tuples (low, high, bits) of slots in use, evenly spread over the image."""
    slots = words[1]
    step = max(1, slots // max(1, limit))
    found: list[tuple[int, int, int]] = []
    for at in range(0, slots, step):
        tail = words[HEADER_WORDS + 2 * at + 1]
        if tail & SCOPE_BITS and len(found) < limit:
            found.append((words[HEADER_WORDS + 2 * at], tail >> 16, tail & 0xFFFF))
    return found


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
    lines=None,
    line_of=None,
):
    """Return the image of a list as a bytearray.

    names: lower-cased wire-format names, one after the other. flags: a little-endian u16 for each, in order.
    key: 16 octets. selftest: the label of the synthetic name, which is added here. previous: the view of the
    image in force, or None; names it lacks are marked new, and with `keep_new` those it has as new stay new.
    lines: an array of u32, the line of each name, in order; `line_of`, a bytearray, then takes a u32 for each slot: the
    first line of its name, 0 where there is none.
    """
    if len(flags) % 2:
        raise ValueError("flags: an odd number of octets")
    synthetic = bytes([len(selftest)]) + selftest + SELFTEST_ZONE
    blob = memoryview(bytes(names) + synthetic)
    bits = memoryview(bytes(flags) + _SYNTHETIC_FLAGS)
    image = _empty(len(bits) // 2, list_id, serial, issued, expires, generation, selftest)
    words = memoryview(image).cast("Q")
    digest_key = memoryview(bytes(key)).cast("Q")
    out = memoryview(bytearray(16)).cast("Q")
    words[2] = _fill(words, blob, bits, digest_key, out) - 1
    _mark_exceptions(words, blob, bits, digest_key, out)
    if previous is not None:
        _mark_new(words, previous, keep_new)
    if lines is not None:
        line_of[:] = bytes(4 * words[1])
        _note_lines(words, blob[: len(names)], memoryview(lines), memoryview(line_of).cast("I"), digest_key, out)
    words[CHECK_WORD], words[CHECK_WORD + 1] = _check(words)
    return image


def join(views, *, list_id, serial, issued, expires, generation, selftest, key):
    """Return one image, a bytearray, of all that several images of one digest key hold; `view` has accepted each.

    Of a slot in two of them the bits are one name's that comes twice. Their synthetic names are left out, one with
    the label `selftest` is added. Digests do not tell which entry is above an exception: where any is, all are taken
    to be.
    """
    room = sum(words[2] for words in views) + 1
    image = _empty(room, list_id, serial, issued, expires, generation, selftest)
    words = memoryview(image).cast("Q")
    out = memoryview(bytearray(16)).cast("Q")
    synthetic = memoryview(bytes([len(selftest)]) + selftest + SELFTEST_ZONE)
    used = _fill(words, synthetic, memoryview(_SYNTHETIC_FLAGS), memoryview(bytes(key)).cast("Q"), out)
    for one in views:
        used += _add(words, one)
        words[7] |= one[7]
        words[8] |= one[8]
    if len(views) > 1:
        _mark_all_above(words)
    words[2] = used - 1
    words[CHECK_WORD], words[CHECK_WORD + 1] = _check(words)
    return image


def _empty(entries, list_id, serial, issued, expires, generation, selftest):
    """Return an image with room for `entries`, as a bytearray; what is counted or checked is not yet there."""
    if len(list_id) > 32 or not 0 < len(selftest) <= 32:
        raise ValueError("list_id, selftest: too long")
    slots = entries * 4 // 3 + 2
    image = bytearray(8 * (HEADER_WORDS + 2 * slots))
    words = memoryview(image).cast("Q")
    words[0] = MAGIC
    words[1] = slots
    words[3] = serial
    words[4] = issued
    words[5] = expires
    words[6] = generation
    image[72:104] = list_id.encode("ascii").ljust(32, b"\0")[:32]
    image[104:136] = selftest.ljust(32, b"\0")[:32]
    return image


def _fill(words, names, flags, key, out):
    """Put every name into its slot, OR-ing the bits of one that comes twice; return the slots in use."""
    used = 0
    at = 0
    number = 0
    while at < names.shape[0]:
        depth = 0
        end = _end_of(names, at)
        if end - at > 255 or 2 * number >= flags.shape[0]:
            raise ValueError("names: too long, or more than there are flags")
        step = at
        while names[step] != 0:
            depth += 1
            step += names[step] + 1
        siphash128(key, names, at, end, out, 0)
        bits = flags[2 * number]
        bits = bits | flags[2 * number + 1] << 8
        if bits & _SCOPE_BITS == 0:
            raise ValueError("flags: an entry without a scope")
        slot = _place(words, out[0], out[1] >> 16)
        if words[slot + 1] & _SCOPE_BITS == 0:
            used += 1
        words[slot] = out[0]
        words[slot + 1] = (out[1] & _DIGEST_BITS) | _together(bits, words[slot + 1] & 0xFFFF)
        if depth < 64:
            words[7] = words[7] | (_ONE << depth)
        else:
            words[8] = words[8] | (_ONE << (depth - 64))
        at = end
        number += 1
    if 2 * number != flags.shape[0]:
        raise ValueError("flags: more than there are names")
    return used


def _together(one, other):
    """Return the bits of a name that comes twice, whichever line came first.

    An exception ends the block of the same scope. What one line sets aside no other line puts in force; where no
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


def _add(words, other):
    """Put every entry of another image into its slot; return the slots that came into use."""
    used = 0
    at = _HEADER_WORDS
    while at < other.shape[0]:
        tail = other[at + 1]
        if tail & _SCOPE_BITS and tail & _SELFTEST == 0:
            slot = _place(words, other[at], tail >> 16)
            if words[slot + 1] & _SCOPE_BITS == 0:
                used += 1
            words[slot] = other[at]
            words[slot + 1] = (tail & _DIGEST_BITS) | _together(tail & 0xFFFF, words[slot + 1] & 0xFFFF)
        at += 2
    return used


def _mark_all_above(words):
    """Mark every block as above an exception, where there is an exception at all."""
    found = 0
    at = _HEADER_WORDS + 1
    while at < words.shape[0]:
        found = found | (words[at] & (_EXCEPT_SELF | _EXCEPT_BELOW))
        at += 2
    at = _HEADER_WORDS + 1
    while found and at < words.shape[0]:
        if words[at] & (_BLOCK_SELF | _BLOCK_BELOW) and words[at] & _SELFTEST == 0:
            words[at] = words[at] | _EXCEPTION_BELOW
        at += 2
    return 0


def _end_of(names, at):
    """Return the offset after the name at `at`."""
    while names[at] != 0:
        at += names[at] + 1
    return at + 1


def _place(words, low, high):
    """Return the word of the slot that holds the digest, or of the empty one where it belongs."""
    slots = words[1]
    at = low % slots
    left = slots
    while left > 0:
        tail = words[_HEADER_WORDS + 2 * at + 1]
        if tail & _SCOPE_BITS == 0 or (words[_HEADER_WORDS + 2 * at] == low and tail >> 16 == high):
            return _HEADER_WORDS + 2 * at
        at += 1
        if at == slots:
            at = 0
        left -= 1
    raise IndexError("image: no empty slot")


def _mark_exceptions(words, names, flags, key, out):
    """Mark each entry that has an exception somewhere below it: it may not be answered NXDOMAIN (RFC 8020)."""
    at = 0
    number = 0
    while at < names.shape[0]:
        end = _end_of(names, at)
        if flags[2 * number] & (_EXCEPT_SELF | _EXCEPT_BELOW):
            parent = at + names[at] + 1
            while names[at] != 0 and names[parent] != 0:
                siphash128(key, names, parent, end, out, 0)
                slot = _place(words, out[0], out[1] >> 16)
                if words[slot + 1] & _SCOPE_BITS:
                    words[slot + 1] = words[slot + 1] | _EXCEPTION_BELOW
                parent += names[parent] + 1
        at = end
        number += 1
    return 0


def _mark_new(words, previous, keep_new):
    """Mark each entry that the previous image lacks (or, with keep_new, has as new)."""
    at = _HEADER_WORDS
    while at < words.shape[0]:
        tail = words[at + 1]
        if tail & _SCOPE_BITS and tail & _SELFTEST == 0:
            bits = find(previous, words[at], tail >> 16)
            if bits == 0 or (keep_new and bits & _NEW):
                words[at + 1] = tail | _NEW
        at += 2
    return 0


def _note_lines(words, names, lines, line_of, key, out):
    """Note for each slot the smallest line number of its name."""
    at = 0
    number = 0
    while at < names.shape[0]:
        end = _end_of(names, at)
        siphash128(key, names, at, end, out, 0)
        slot = (_place(words, out[0], out[1] >> 16) - _HEADER_WORDS) >> 1
        if line_of[slot] == 0 or lines[number] < line_of[slot]:
            line_of[slot] = lines[number]
        at = end
        number += 1
    if number != lines.shape[0]:
        raise ValueError("lines: more than there are names")
    return 0
