"""Decrypts lists encrypted with age (age-encryption.org/v1) to this host, in memory.

Rules:
- An identity file has the form that age-keygen writes: one `AGE-SECRET-KEY-1…` a line, `#` comments. It may hold
  several, so that an old key still opens a list that was encrypted before its successor was known.
- A file that others may read or change is refused.
"""

import stat
from pathlib import Path
from typing import Final

import pyrage
from pyrage.x25519 import Identity

from resolver.feed.details import Code, Detail, Place, of_errno

MAX_IDENTITY_BYTES: Final = 2**16
# Encryption adds at most this to a list: the header, and 16 octets for each chunk of 64 KiB.
MAX_OVERHEAD_BYTES: Final = 2**16
_NONE: Final = Detail(code=Code.IDENTITY_NONE, at=Place.IDENTITY)


class IdentityUnusable(Exception):
    """The file holds no usable age identity; `detail` says why."""

    def __init__(self, detail: Detail) -> None:
        super().__init__(detail.code.value)
        self.detail = detail


class NotOpened(Exception):
    """The data is not encrypted to any of the identities, or is damaged."""


def identities_of(path: Path) -> list[Identity]:
    """Return the identities in a file; IdentityUnusable if it has none, or if others may read or change it."""
    try:
        with open(path, "rb") as file:
            mode = path.stat().st_mode
            text = file.read(MAX_IDENTITY_BYTES).decode("ascii")
    except OSError as error:
        raise IdentityUnusable(of_errno(error, Place.IDENTITY)) from None
    except UnicodeError:
        raise IdentityUnusable(_NONE) from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO) & ~stat.S_IRGRP:
        raise IdentityUnusable(Detail(code=Code.OPEN_TO_OTHERS, at=Place.IDENTITY))
    lines = [line.strip() for line in text.splitlines()]
    try:
        found = [Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except pyrage.IdentityError:
        raise IdentityUnusable(_NONE) from None
    if not found:
        raise IdentityUnusable(_NONE)
    return found


def opened(data: bytes, identities: list[Identity]) -> bytes:
    """Return the list in clear; NotOpened if it cannot be decrypted."""
    try:
        return pyrage.decrypt(data, identities)
    except pyrage.DecryptError:
        raise NotOpened from None
