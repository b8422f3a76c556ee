"""Put a list in force: read its image once, hold it against what is written of it, test it, then swap.

Rules:
- The image is read into anonymous memory, once and straight: a file that changes later changes nothing in force. The
  memory is kept out of core dumps.
- The self-test asks the judgement itself, with the image as it will be: the synthetic name is blocked in
  every type, digests of the list are found, and names that cannot be listed pass.
- A failure says which check, never which name.
"""

import mmap
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from resolver.core import codes, image
from resolver.feed import synthetic
from resolver.feed.receipt import Proof, Tested
from resolver.feed.seal import Keys, SealBroken, unseal
from resolver.feed.state import Record

Judge = Callable[[memoryview], Callable[[bytes, int], int]]
"""Makes from an image the function that gives (name in wire format, qtype) a verdict of core.codes."""


class PutInForce(Protocol):
    """Enforces an image (a view of u64) of a list as its record says, without its new entries where suspended."""

    def __call__(self, list_id: str, view: memoryview, record: Record, *, suspended: bool) -> None: ...


SAMPLES: Final = 1000
# At the load of 0.75 that an image has, so many slots hold the wanted number of entries.
SAMPLED_SLOTS: Final = 1400
_TYPE_TXT: Final = 16
_TYPES: Final = (codes.TYPE_A, codes.TYPE_AAAA, codes.TYPE_HTTPS, _TYPE_TXT)
_UNLISTED_ZONE: Final = b"\x07invalid\x00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What the service does with a list: judge by an image (a view of u64), enforce it, let the list have no say any
    more, or be without one; and ask its own sockets whether they answer by it, once they are open.

    `judge` may run in another thread, the rest runs in the feed's.
    """

    judge: Judge
    put_in_force: PutInForce
    lift: Callable[[str], None]
    take_out: Callable[[str], None]
    prove: Callable[[str, memoryview], Awaitable[Proof]]


class ImageUnusable(Exception):
    """The saved image is not the one the state speaks of, or not readable here; says what is off."""


class SelfTestFailed(Exception):
    """The image does not judge as it must; says which check failed."""


def load(folder: Path, record: Record, keys: Keys, *, list_id: str, demonstration: bool) -> memoryview:
    """The view (u64) of the image of `record`; ImageUnusable where it cannot be the one to put in force."""
    if record.digest_key != keys.digest_id:
        raise ImageUnusable("made with another digest key")
    if record.demonstration is not demonstration:
        raise ImageUnusable("made under other rules for reserved names")
    try:
        view: memoryview = image.view(unseal(read(folder / record.image), keys.seal))
    except OSError as error:
        raise ImageUnusable(error.strerror or "not readable") from None
    except (SealBroken, image.ImageMalformed) as error:
        raise ImageUnusable(str(error)) from None
    header = image.header(view)
    said = (header.list_id, header.serial, header.issued, header.expires, header.generation, header.entries)
    if said != (
        list_id,
        record.serial,
        record.issued,
        record.expires or 0,
        record.generation,
        record.entries,
    ):
        raise ImageUnusable("header")
    return view


def read(path: Path) -> memoryview:
    """The octets of a file in memory of their own, which no dump holds; OSError where they cannot be read."""
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        memory = mmap.mmap(-1, max(1, size))
        memory.madvise(mmap.MADV_DONTDUMP)
        view, at = memoryview(memory)[:size], 0
        while at < size and (read := file.readinto(view[at:])):
            at += read
    return view[:at].toreadonly()


def self_test(view: memoryview, judge: Judge, random: Callable[[int], bytes]) -> Tested:
    """What was tested and passed; SelfTestFailed otherwise."""
    verdict = judge(view)
    label = image.header(view).selftest
    blocked = bytes([len(label)]) + label + image.SELFTEST_ZONE
    if any(verdict(blocked, qtype) != codes.BLOCK for qtype in _TYPES):
        raise SelfTestFailed("synthetic name")
    found = image.digests(view, SAMPLED_SLOTS)
    if not found or any(image.find(view, low, high) != bits for low, high, bits in found):
        raise SelfTestFailed("digests")
    # Nothing of a list can cover a random name right below a reserved top-level name, which no list may hold.
    for number in range(SAMPLES):
        unlisted = synthetic.label(random)
        name = bytes([len(unlisted)]) + unlisted + _UNLISTED_ZONE
        if verdict(name, _TYPES[number % len(_TYPES)]) != codes.PASS:
            raise SelfTestFailed("unlisted names")
    return Tested(digests=len(found), unlisted=SAMPLES)
