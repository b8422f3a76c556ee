"""Seals and opens the copy of a zone that differences are applied to; sealed, it shows no name to the disk.

    octets  0 24   head that identifies the source (feed.copies)
           24 12   nonce
           36 ..   AES-256-GCM of lines: first the key of the marks in hex, a space, and the unix time of the last whole
                   transfer; then one entry a line (zone_difference); then empty lines up to a multiple of 65,536 octets

Rules:
- Its key is derived from the host's seal key, for this purpose and this list only (`seal.Keys.copy_key`).
- The copy is bound to list, source, zone, serial and digest: with any other it does not open.
- Only the fetch process opens and seals it. A copy that does not open counts as missing.
- Its size reveals the total size of the entries in steps of 64 KiB; their number is in the state anyway.
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
    """The copy does not open: damaged, or of another key, zone, serial or source."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A zone: the key of its marks, when it was last transferred whole (unix seconds), its entries, sorted."""

    marks: bytes
    whole_at: int
    entries: list[bytes]


def binding(*, list_id: str, zone: bytes, serial: int, digest: str) -> bytes:
    """Return the data that a copy is bound to, beside its source; zone: the name in wire format."""
    return b"\0".join((list_id.encode(), str(serial).encode(), digest.encode(), zone))


def seal(copy: Copy, key: bytes, url: str, bound: bytes) -> tuple[bytes, bytes]:
    """Return the content of a copy's file, in two parts, sealed with a key of 32 octets."""
    head, nonce = head_of(url), os.urandom(NONCE_OCTETS)
    first = b"%s %d" % (copy.marks.hex().encode(), copy.whole_at)
    size = len(first) + sum(map(len, copy.entries)) + len(copy.entries) + 2
    said = b"\n".join((first, *copy.entries, b"", b"\n" * (-size % PAD_OCTETS)))
    return head + nonce, AESGCM(key).encrypt(nonce, said, head + bound)


def unseal(data: bytes, key: bytes, url: str, bound: bytes) -> Copy:
    """Return the copy in a file's content; CopyUnusable unless it opens with this key, source and binding."""
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
