"""Lists encrypted with age (age-encryption.org/v1) to this host: its identities, and what they open, in memory.

Rules:
- An identity file is written as age-keygen writes it: one `AGE-SECRET-KEY-1…` a line, `#` comments. Several may stand
  in it, so that an old key still opens what was encrypted before its successor was known.
- A file that others may read or change is of no use.
"""

import stat
from pathlib import Path
from typing import Final

import pyrage
from pyrage.x25519 import Identity

MAX_IDENTITY_BYTES: Final = 2**16
# What encryption adds to a list of the largest size: header, and 16 octets a piece of 64 KiB.
MAX_OVERHEAD_BYTES: Final = 2**16


class IdentityUnusable(Exception):
    """There is no identity to be had from the file."""


class NotOpened(Exception):
    """These bytes are not encrypted to any of the identities, or not whole."""


def identities_of(path: Path) -> list[Identity]:
    """The identities in a file; IdentityUnusable where there is none, or others may read or change it."""
    try:
        with open(path, "rb") as file:
            mode = path.stat().st_mode
            text = file.read(MAX_IDENTITY_BYTES).decode("ascii")
    except (OSError, UnicodeError):
        raise IdentityUnusable from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO) & ~stat.S_IRGRP:
        raise IdentityUnusable
    lines = [line.strip() for line in text.splitlines()]
    try:
        found = [Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except pyrage.IdentityError:
        raise IdentityUnusable from None
    if not found:
        raise IdentityUnusable
    return found


def opened(data: bytes, identities: list[Identity]) -> bytes:
    """The list in clear; NotOpened otherwise."""
    try:
        return pyrage.decrypt(data, identities)
    except pyrage.DecryptError:
        raise NotOpened from None
