"""Sets aside the entries of a new list that were in wide use before it came: an over-block is found before it blocks.

Rules:
- What counts is how many client prefixes asked for a name before its list arrived (core.sketch). Nothing that clients
  ask once an entry is enforced takes it out: only entries that this host does not enforce yet are judged, and never in
  a renewal of the list in force.
- In wide use is what more than `popular_share` of the prefixes seen, and more than FLOOR, have asked: one household, or
  a handful of lines, sets nothing aside.
- Such an entry waits alone; the rest of its list comes into force. It waits in later lists too, until two persons
  approve the lines set aside or the authority removes it. Once approved it is as any entry.
- A sealed image is changed only after its seal has been verified: nothing that others wrote gets our seal.
"""

import logging
import mmap
from array import array
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Final

from resolver.config.values import many, noun
from resolver.core import codes, image
from resolver.feed.reasons import SetAside
from resolver.feed.seal import SEAL_BYTES, seal_of, unseal

FLOOR: Final = 50
MAX_LINES: Final = 100
_BLOCKS: Final = codes.BLOCK_SELF | codes.BLOCK_BELOW
_LINE_OCTETS: Final = 4

_log: Final = logging.getLogger("resolver.feed")

Digest = tuple[int, int]
"""A name's digest: the low 64 bits and the next 48."""


def mark(
    file: int, key: bytes, found: Iterable[Digest], kept: Iterable[Digest], before: memoryview | None, *, approved: bool
) -> list[int]:
    """Set entries of the sealed image in an open file aside, and seal it again; return their slots.

    key: of the seal. found: names in wide use, judged against `before`, the image in force (None: all entries are new).
    kept: entries that stay set aside. approved: the lines set aside in `before` are enforced. SealBroken if the image
    is not ours.
    """
    with _opened(file) as (octets, body, words):
        slots = {slot for one in kept if (slot := _slot(words, one)) >= 0}
        for one in found:
            slot = _slot(words, one)
            if slot >= 0 and image.bits_of(words, slot) & _BLOCKS & ~_enforced(before, one, approved=approved):
                slots.add(slot)
        if slots:
            unseal(bytes(octets), key)
            for slot in slots:
                image.set_bits(words, slot, image.bits_of(words, slot) | codes.SET_ASIDE | codes.IN_USE)
            octets[-SEAL_BYTES:] = seal_of(body, key)
    return sorted(slots)


def unmark(file: int, key: bytes) -> None:
    """Leave the entries that another host has found in wide use set aside in an open file, as for any other reason.

    SealBroken if the image is not ours.
    """
    with _opened(file) as (octets, body, words):
        unseal(bytes(octets), key)
        for one in marked(words):
            slot = image.slot_of(words, *one)
            image.set_bits(words, slot, image.bits_of(words, slot) & ~codes.IN_USE)
        octets[-SEAL_BYTES:] = seal_of(body, key)


@contextmanager
def _opened(file: int) -> Iterator[tuple[memoryview, memoryview, memoryview]]:
    """Map a sealed image: all octets, those before the seal, and these as words.

    No view of it may outlast the block, so what may raise gets a copy.
    """
    with (
        closing(mmap.mmap(file, 0)) as memory,
        memoryview(memory) as octets,
        octets[:-SEAL_BYTES] as body,
        body.cast("Q") as words,
    ):
        yield octets, body, words


def marked(words: memoryview) -> list[Digest]:
    """Return the entries of an image that wait because they were in wide use here."""
    found: list[Digest] = image.with_bit(words, codes.IN_USE)
    return found


def lines_of(slots: Iterable[int], lines: bytes) -> tuple[int, ...]:
    """Return the numbers of the first lines whose entries have these slots; lines: a u32 for each slot."""
    numbers = array("I", lines)
    return tuple(sorted(numbers[slot] for slot in slots)[:MAX_LINES])


def added(counts: Mapping[str, int], more: int) -> dict[str, int]:
    """Return the counts of lines set aside with `more` entries in wide use."""
    return {**counts, SetAside.IN_USE: counts.get(SetAside.IN_USE, 0) + more} if more else dict(counts)


def tell(list_id: str, serial: int, count: int) -> None:
    """Log that so many entries of a list are set aside."""
    what, were, are = many(count, "entry", "entries"), noun(count, "was", "were"), noun(count, "is", "are")
    said = "list %s: %s of serial %d %s in wide use before it came and %s set aside; see: list held %s"
    _log.warning(said, list_id, what, serial, were, are, list_id)


def _slot(words: memoryview, one: Digest) -> int:
    """Return the slot of an entry that blocks and is not set aside; -1 if there is none."""
    slot: int = image.slot_of(words, *one)
    if slot >= 0:
        bits = image.bits_of(words, slot)
        if not bits & _BLOCKS or bits & (codes.SET_ASIDE | codes.SELFTEST):
            return -1
    return slot


def _enforced(before: memoryview | None, one: Digest, *, approved: bool) -> int:
    """Return which blocks of an entry the image in force enforces."""
    bits: int = 0 if before is None else image.find(before, *one)
    return 0 if bits & codes.SET_ASIDE and not approved else bits & _BLOCKS
