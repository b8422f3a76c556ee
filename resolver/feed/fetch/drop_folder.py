"""Finds the files of a drop folder that may be a list: mail, rsync and people put others beside it.

Rules:
- A file counts as OpenPGP by its first octets. Others are passed over and counted: the rest of a certified e-mail, a
  checksum, a detached signature, a key; so are hidden files and unfinished ones (UNFINISHED), which are not counted.
- The order is that of arrival, the latest first: the time at which the file was last changed on this host (ctime),
  which no copy can set. The date that came with a file (mtime) does not matter.
- So many files, and so many octets in all, are handed on; the rest is counted.
- A symbolic link is not followed.
"""

import os
import stat
from pathlib import Path
from typing import Final, NamedTuple

from resolver.feed import dropped

UNFINISHED: Final = (".part", ".tmp")
MAX_FILES: Final = 32
MAX_LOOKED: Final = 1000
_HEAD_OCTETS: Final = 4096
_ARMOR: Final = (b"-----BEGIN PGP MESSAGE-----", b"-----BEGIN PGP SIGNED MESSAGE-----")
# RFC 9580 section 5: session keys, one-pass signature, compressed, encrypted, marker, literal. A message begins so.
_TAGS: Final = frozenset((1, 3, 4, 8, 9, 10, 11, 18, 20))


class Looked(NamedTuple):
    """What lies in a folder: OpenPGP messages, the latest first; how many other files, and how many too many or too
    large to be read."""

    files: tuple[Path, ...]
    others: int
    left: int


def look(folder: Path, most: int) -> Looked:
    """Return what lies in a folder; OSError if it cannot be read. most: octets of one file; twice as many of all."""
    found, others, left, octets = list[Path](), 0, 0, 0
    for at, (_, name, size) in enumerate(_arrivals(folder)):
        path = folder / name
        if at >= MAX_LOOKED:
            left += 1
        elif not _is_message(path):
            others += 1
        elif len(found) == MAX_FILES or size > most or octets + size > 2 * most:
            left += 1
        else:
            found.append(path)
            octets += size
    return Looked(tuple(found), others, left)


def _arrivals(folder: Path) -> list[tuple[int, str, int]]:
    """Return time, name and size of each finished regular file; the latest first, of one time the last by name."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name.endswith(UNFINISHED):
                continue
            try:
                said = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISREG(said.st_mode):
                found.append((said.st_ctime_ns, entry.name, said.st_size))
    return sorted(found, reverse=True)


def _is_message(path: Path) -> bool:
    try:
        with dropped.opened(path) as file:
            head = file.read(_HEAD_OCTETS)
    except OSError:
        return False
    if not head or not head[0] & 0x80:
        return any(armor in head for armor in _ARMOR)
    return (head[0] & 0x3F if head[0] & 0x40 else (head[0] & 0x3C) >> 2) in _TAGS
