# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""The byte layout of a compiled list: `empty`, `add` and `close` make it, `find` reads it, nobody else knows it.

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

from .codes import SCOPE_BITS
from .name import wire_of

if not cython.compiled:
    from .siphash import siphash128

MAGIC = int.from_bytes(b"BLKLST\x00\x01", "little")
HEADER_WORDS = 24
CHECK_WORD = 22
SELFTEST_NAME = "selftest.invalid"
SELFTEST_ZONE = wire_of(SELFTEST_NAME)

_HEADER_WORDS = HEADER_WORDS
_SCOPE_BITS = SCOPE_BITS
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
    at = _place(words, low, high)
    return at if words[_HEADER_WORDS + 2 * at + 1] & _SCOPE_BITS else -1


def bits_of(words, slot):
    """Return the 16 bits of a slot, 0 where it is empty."""
    return words[_HEADER_WORDS + 2 * slot + 1] & 0xFFFF


def entry(words, slot, out):
    """Return the 16 bits of a slot, 0 where it is empty, and put its digest into `out`: low and the next 48 bits."""
    tail = words[_HEADER_WORDS + 2 * slot + 1]
    out[0] = words[_HEADER_WORDS + 2 * slot]
    out[1] = tail >> 16
    return tail & 0xFFFF


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


def empty(entries, *, list_id, serial, issued, expires, generation, selftest):
    """Return an image with room for `entries`, as a bytearray; it holds none, and `close` has to be its end.

    selftest: the label of the synthetic name, which has to be among the entries.
    """
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


def add(words, low, high, bits):
    """Put the entry of a digest into the slot where it belongs; return the slot.

    Where the digest has one already, that stays as it is, and what is returned is below zero: -1 less the slot.
    """
    at = _place(words, low, high)
    if words[_HEADER_WORDS + 2 * at + 1] & _SCOPE_BITS:
        return -1 - at
    words[_HEADER_WORDS + 2 * at] = low
    words[_HEADER_WORDS + 2 * at + 1] = high << 16 | bits
    return at


def touch(words, digests, at, stop):
    """Look at the slots where the digests in digests[at:stop], of two words each, belong; return all that stands there.

    They are all over the memory: looked at together they are waited for once, by `add` one after the other.
    """
    seen = 0
    slots = words[1]
    while at < stop:
        seen = seen | words[_HEADER_WORDS + 2 * (digests[at] % slots) + 1]
        at += 2
    return seen


def set_bits(words, slot, bits):
    """Give a slot in use other bits. Returns 0."""
    words[_HEADER_WORDS + 2 * slot + 1] = (words[_HEADER_WORDS + 2 * slot + 1] & _DIGEST_BITS) | bits
    return 0


def deepen(words, low, high):
    """Note depths of names that occur: bit d of 128. Returns 0."""
    words[7] = words[7] | low
    words[8] = words[8] | high
    return 0


def close(words, used):
    """Complete the header of an image in which so many slots are in use, that of the synthetic name among them."""
    words[2] = used - 1
    words[CHECK_WORD], words[CHECK_WORD + 1] = _check(words)


def _place(words, low, high):
    """Return the slot that holds the digest, or the empty one where it belongs."""
    slots = words[1]
    at = low % slots
    left = slots
    while left > 0:
        tail = words[_HEADER_WORDS + 2 * at + 1]
        if tail & _SCOPE_BITS == 0 or (words[_HEADER_WORDS + 2 * at] == low and tail >> 16 == high):
            return at
        at += 1
        if at == slots:
            at = 0
        left -= 1
    raise IndexError("image: no empty slot")
