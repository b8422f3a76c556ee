# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Owns the byte layout of a compiled list: `empty`, `add` and `close` make it, `search` and `find` read it.

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
- A word outside the image is an error, never "not found": `view` and every `search` compare the size with the header,
  and `search` never looks at more slots than the image has. It says DAMAGED and raises nothing: to raise takes the GIL,
  and a thread that judges without it would wait for it at every query, as long as another holds it.
- `view` verifies the header's check (a depth missing from the mask would let names pass) and compares the number of
  slots in use with the header. Only the seal of the file shows that a digest has changed in its slot.
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
_M = 0xFFFFFFFFFFFFFFFF
DAMAGED = -2
"""What `search` says of an image whose size differs from its header, or that has no empty slot."""

_DAMAGED = DAMAGED


class ImageMalformed(Exception):
    """The bytes are no image of this format."""


class Header:
    """The header of an image; times in unix seconds."""

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
    """Return the image in `data` as a memoryview of u64; raise ImageMalformed if size, header or slots are wrong."""
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
    """Return the check, the header's last two words: it detects accidents; the seal detects forgeries."""
    out = memoryview(bytearray(16)).cast("Q")
    siphash128(memoryview(bytes(16)).cast("Q"), words.cast("B"), 0, 8 * CHECK_WORD, out, 0)
    return out[0], out[1]


def header(words):
    """Return the Header of an image that `view` has accepted."""
    return Header(memoryview(words))


if not cython.compiled:

    def remainder(number, slots, inverse):
        """Return number % slots. In C a multiplication by the inverse finds it: a division takes ten times as long."""
        return number % slots

    def prefetch(words, inverse, low):
        """Ask the processor for the memory that `search` will read first, and do not wait for it. Returns 0."""
        return 0


def inverse_of(words):
    """Return (2^64 - 1) / slots, by which `search` divides; 0 for an image without slots."""
    room = words.shape[0] - _HEADER_WORDS
    return _M // (room >> 1) if room > 1 else 0


def search(words, inverse, low, high):
    """Return the 16 bits of the slot whose digest is (low, high: the next 48 bits), 0 for no such slot, or DAMAGED.

    inverse: what `inverse_of` says of this image.
    """
    room = words.shape[0] - _HEADER_WORDS
    left = room >> 1 if room > 0 else 0
    # In a truncated image some searches would end too early, and others never.
    if left == 0 or words[1] != left:
        return _DAMAGED
    slots = left
    at = remainder(low, slots, inverse)
    if at >= slots:
        return _DAMAGED
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
    return _DAMAGED


def find(words, low, high):
    """Return what `search` does; raise IndexError if the image is damaged."""
    bits = search(words, inverse_of(words), low, high)
    if bits == _DAMAGED:
        raise IndexError("image: size differs from the header, or no empty slot")
    return bits


def slot_of(words, low, high):
    """Return the index of the slot whose digest is (low, high), counted from 0; -1 for no such slot."""
    if words.shape[0] < _HEADER_WORDS or words[1] == 0 or words[1] != (words.shape[0] - _HEADER_WORDS) >> 1:
        raise IndexError("image: size differs from the header")
    at = _place(words, low, high)
    return at if words[_HEADER_WORDS + 2 * at + 1] & _SCOPE_BITS else -1


def bits_of(words, slot):
    """Return the 16 bits of a slot, 0 for an empty slot."""
    return words[_HEADER_WORDS + 2 * slot + 1] & 0xFFFF


def entry(words, slot, out):
    """Return the 16 bits of a slot, 0 for an empty slot; put its digest into `out`: low and the next 48 bits."""
    tail = words[_HEADER_WORDS + 2 * slot + 1]
    out[0] = words[_HEADER_WORDS + 2 * slot]
    out[1] = tail >> 16
    return tail & 0xFFFF


def occupied(words):
    """Return the number of slots in use: the entries and the synthetic name."""
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


def with_bit(words, bit):
    """Return the digests (low, next 48 bits) of all slots with this bit."""
    found: list[tuple[int, int]] = []
    at = _HEADER_WORDS
    while at + 1 < words.shape[0]:
        if words[at + 1] & bit:
            found.append((words[at], words[at + 1] >> 16))
        at += 2
    return found


def empty(entries, *, list_id, serial, issued, expires, generation, selftest):
    """Return an image without entries, with room for so many, as a bytearray; `close` has to complete it.

    selftest: the label of the synthetic name, which the caller has to add too.
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
    """Put the entry of a digest into its slot; return the slot.

    If the digest already has a slot, leave it unchanged and return -1 - slot.
    """
    at = _place(words, low, high)
    if words[_HEADER_WORDS + 2 * at + 1] & _SCOPE_BITS:
        return -1 - at
    words[_HEADER_WORDS + 2 * at] = low
    words[_HEADER_WORDS + 2 * at + 1] = high << 16 | bits
    return at


def touch(words, digests, at, stop):
    """Read the slots of the digests in digests[at:stop], two words each; return their words joined by OR.

    The slots are spread over the memory. Read together, they are waited for once; `add` would wait for each.
    """
    seen = 0
    slots = words[1]
    while at < stop:
        seen = seen | words[_HEADER_WORDS + 2 * (digests[at] % slots) + 1]
        at += 2
    return seen


def set_bits(words, slot, bits):
    """Set the 16 bits of a slot in use. Returns 0."""
    words[_HEADER_WORDS + 2 * slot + 1] = (words[_HEADER_WORDS + 2 * slot + 1] & _DIGEST_BITS) | bits
    return 0


def deepen(words, low, high):
    """Add depths of names to the mask: bit d of 128. Returns 0."""
    words[7] = words[7] | low
    words[8] = words[8] | high
    return 0


def close(words, used):
    """Complete the header of an image with `used` slots in use, the synthetic name's included."""
    words[2] = used - 1
    words[CHECK_WORD], words[CHECK_WORD + 1] = _check(words)


def _place(words, low, high):
    """Return the slot that holds the digest, or the empty slot for it."""
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
