"""Writes rules as a constant database (D. J. Bernstein's CDB) for dnsdist's key-value store.

    key     a name in wire format, with the root's octet (dnsdist: wireFormat)
    value   two letters, `B` blocked or `P` passed: for the name itself, and for the names below it without a key

dnsdist looks up the name first (KeyValueLookupKeyQName) and takes the first letter. If there is no such key, it looks
up the longest suffix (KeyValueLookupKeySuffix) and takes the second.

Rules:
- The file is replaced whole: a reader sees the old one or the new one.
- dnsdist reads a file again if its date is later, in whole seconds: each file is dated later than the one before.
- It is readable for the group of its folder: dnsdist runs under another account.
- One process writes a file: what a crash of it left in part, which holds names, goes before the next is written.
"""

import os
import sys
import tempfile
from array import array
from collections.abc import Iterable, Mapping
from contextlib import suppress
from glob import escape
from pathlib import Path
from struct import pack
from typing import Final

from resolver import atomic_file
from resolver.feed.names.export_rules import PASS, Rule

MODE: Final = 0o640
_TABLES: Final = 256
_POINTER_OCTETS: Final = 8
_LETTERS: Final = {True: b"B", False: b"P"}


def pairs_of(found: Mapping[bytes, Rule]) -> Iterable[tuple[bytes, bytes]]:
    """Yield key and value of each name."""
    for name, rule in found.items():
        yield name + b"\0", _LETTERS[rule.own != PASS] + _LETTERS[rule.below != PASS]


def hashed(key: bytes) -> int:
    """Return the hash of a key."""
    value = 5381
    for octet in key:
        value = (value * 33 & 0xFFFFFFFF) ^ octet
    return value


def write(path: Path, pairs: Iterable[tuple[bytes, bytes]]) -> int:
    """Write a database in place of the one at `path`; return the number of its keys. OSError if that fails."""
    for left in path.parent.glob(f".{escape(path.name)}.*{atomic_file.PART}"):
        left.unlink(missing_ok=True)
    handle, part = tempfile.mkstemp(prefix=f".{path.name}.", suffix=atomic_file.PART, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, MODE)
            # Hash and place of each record, by its table.
            slots = [array("Q") for _ in range(_TABLES)]
            at = _TABLES * _POINTER_OCTETS
            file.write(bytes(at))
            for key, value in pairs:
                number = hashed(key)
                slots[number % _TABLES].append(number << 32 | at)
                file.write(pack("<II", len(key), len(value)) + key + value)
                at += 8 + len(key) + len(value)
            heads = bytearray()
            for one in slots:
                size = 2 * len(one)
                heads += pack("<II", at, size)
                file.write(_table(one, size))
                at += size * _POINTER_OCTETS
            if at >= 2**32:
                raise OSError(27, os.strerror(27))
            file.seek(0)
            file.write(heads)
            file.flush()
            _date_later(handle, path)
            os.fsync(handle)
        Path(part).replace(path)
    except BaseException:
        with suppress(OSError):
            os.unlink(part)
        raise
    return sum(map(len, slots))


def _date_later(handle: int, path: Path) -> None:
    """Date an open file at least a whole second later than the file that it replaces, if there is one."""
    with suppress(FileNotFoundError):
        before = int(path.stat().st_mtime)
        if int(os.fstat(handle).st_mtime) <= before:
            os.utime(handle, (before + 1, before + 1))


def _table(slots: "array[int]", size: int) -> bytes:
    """Return one hash table: (hash, place) at the first free slot from the hash's own on."""
    table = array("I", bytes(4 * 2 * size))
    for one in slots:
        number, place = one >> 32, one & 0xFFFFFFFF
        at = (number >> 8) % size
        while table[2 * at + 1]:
            at = (at + 1) % size
        table[2 * at], table[2 * at + 1] = number, place
    if sys.byteorder == "big":
        table.byteswap()
    return table.tobytes()
