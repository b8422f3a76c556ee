"""Seal and open the copy of a zone that differences are applied to, so that the disk has no name of it.

    octets  0 24   which source it is of (feed.copies)
           24 12   nonce
           36 ..   AES-256-GCM of lines: the key of the marks, in hex, a space, and when the whole zone last came, in
                   unix seconds; an entry each (fetch.zone_difference); empty ones up to a multiple of 65,536 octets

Rules:
- Its key is made from the host's seal key for this purpose and this list alone (`seal.Keys.copy_key`).
- Bound to it are the list, the source, the zone, the serial and the digest: a copy of anything else does not open.
- Only the fetch process opens and seals it. A copy that does not open counts as missing.
- Its size shows the size of the entries in steps of 64 KiB; the state shows their number, too.
"""

import os
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from resolver.core import transfer
from resolver.feed.copies import HEAD_OCTETS, head_of, is_of

NONCE_OCTETS: Final = 12
PAD_OCTETS: Final = 65_536
MARKS_OCTETS: Final = transfer.KEY_OCTETS


class CopyUnusable(Exception):
    """It does not open: damaged, of another key, or of another zone, serial or source."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A zone: the key of its entries' marks, when it last came whole (unix seconds), its entries, sorted."""

    marks: bytes
    whole_at: int
    entries: list[bytes]


def binding(*, list_id: str, zone: bytes, serial: int, digest: str) -> bytes:
    """Return what a copy is bound to apart from its source; zone: the name in wire format."""
    return b"\0".join((list_id.encode(), str(serial).encode(), digest.encode(), zone))


def seal(copy: Copy, key: bytes, url: str, bound: bytes) -> tuple[bytes, bytes]:
    """Return the file of a copy under a key of 32 octets, in two parts."""
    head, nonce = head_of(url), os.urandom(NONCE_OCTETS)
    first = b"%s %d" % (copy.marks.hex().encode(), copy.whole_at)
    size = len(first) + sum(map(len, copy.entries)) + len(copy.entries) + 2
    said = b"\n".join((first, *copy.entries, b"", b"\n" * (-size % PAD_OCTETS)))
    return head + nonce, AESGCM(key).encrypt(nonce, said, head + bound)


def unseal(data: bytes, key: bytes, url: str, bound: bytes) -> Copy:
    """Return the copy in a file's octets; CopyUnusable if it is not the one that is bound so."""
    if not is_of(data, url):
        raise CopyUnusable
    nonce = data[HEAD_OCTETS : HEAD_OCTETS + NONCE_OCTETS]
    try:
        said = AESGCM(key).decrypt(nonce, memoryview(data)[HEAD_OCTETS + NONCE_OCTETS :], data[:HEAD_OCTETS] + bound)
    except (InvalidTag, ValueError):
        raise CopyUnusable from None
    lines = said.split(b"\n")
    marks, _, whole_at = lines[0].partition(b" ")
    return Copy(bytes.fromhex(marks.decode()), int(whole_at), lines[1 : lines.index(b"", 1)])
