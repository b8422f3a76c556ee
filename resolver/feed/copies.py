"""The sealed copies of zones on this host's disk: which source each is of, and when it goes.

    octets  0  8   "BLRZONE1"
            8 16   the source, by a digest of its url
           24 ..   sealed: fetch/zone_copy has the rest, and only a fetch process opens it

Rules:
- A copy goes with its list, with its source, and with the setting `source.incremental`.
"""

import hashlib
from collections.abc import Set
from pathlib import Path
from typing import Final

MAGIC: Final = b"BLRZONE1"
SOURCE_OCTETS: Final = 16
HEAD_OCTETS: Final = len(MAGIC) + SOURCE_OCTETS

_PERSON: Final = b"zone source"


def head_of(url: str) -> bytes:
    """Return the octets that a copy of the source at `url` begins with."""
    return MAGIC + hashlib.blake2b(url.encode(), digest_size=SOURCE_OCTETS, person=_PERSON).digest()


def is_of(data: bytes, url: str) -> bool:
    """Return whether a copy that begins with `data` is of the source at `url`."""
    return data[:HEAD_OCTETS] == head_of(url)


def forget_lists(lists: Path, configured: Set[str]) -> None:
    """Remove the copies of lists that are no longer configured; lists: the folder of their folders."""
    for path in lists.glob("*/*.copy"):
        if path.parent.name not in configured:
            path.unlink(missing_ok=True)


def forget_sources(folder: Path, url: str) -> None:
    """Remove the copies in a list's folder that are of another source than the one at `url`, or cannot be read."""
    for path in folder.glob("*.copy"):
        if not is_of(_head(path), url):
            path.unlink(missing_ok=True)


def _head(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(HEAD_OCTETS)
    except OSError:
        return b""
