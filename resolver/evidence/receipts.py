"""Reads the receipts that a host has signed from its state folder, and verifies the signature of each.

Rules:
- A statement of another kind (releases are reported the same way) is skipped. What is no regular file, and a file that
  the key in it has not signed, is skipped and counted.
- Of a receipt the bundle holds numbers and digests, and the text of what was tested.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec import Struct

from resolver.evidence.bundle import Receipt
from resolver.evidence.month import Month
from resolver.feed import dropped, receipt
from resolver.signed import statement


class _Said(Struct, frozen=True, kw_only=True):
    """The fields of a receipt that are used here."""

    kind: str
    list: str
    serial: int
    digest: str
    issued: int
    at: int
    enforced: bool
    tested: str
    entries: int
    refused: dict[str, int]
    set_aside: dict[str, int] = {}
    approved: bool = False


def read(folder: Path) -> tuple[tuple[Receipt, ...], int]:
    """Return all receipts in a folder, oldest first, and the number of files without a valid signature; OSError."""
    found, broken = [], 0
    for path in sorted(folder.glob("*.json")):
        try:
            data = dropped.read(path, statement.MAX_STATEMENT_BYTES)
            said, key = statement.claimed(data)
            if said.get("kind") != receipt.KIND:
                continue
            found.append(_receipt(msgspec.convert(said, _Said), data, key))
        except (OSError, statement.StatementBroken, msgspec.ValidationError):
            broken += 1
    return tuple(sorted(found, key=lambda one: (one.at, one.list, one.serial, one.file))), broken


def within(found: Iterable[Receipt], month: Month) -> tuple[Receipt, ...]:
    """Return the receipts that were signed within a month."""
    return tuple(one for one in found if month.begin <= one.at < month.end)


def issued(found: Iterable[Receipt]) -> dict[tuple[str, int, str], int]:
    """Return when each list with a receipt was issued, by list, serial and digest."""
    return {(one.list, one.serial, one.digest): one.issued for one in found if one.issued}


def proved(found: Iterable[Receipt], list_id: str) -> int:
    """Return how many self-tests of a list passed on the sockets: each has a receipt."""
    return sum(one.list == list_id and one.enforced for one in found)


def _receipt(said: _Said, data: bytes, key: bytes) -> Receipt:
    return Receipt(
        list=said.list,
        serial=said.serial,
        digest=said.digest,
        issued=said.issued,
        at=said.at,
        enforced=said.enforced,
        tested=said.tested,
        entries=said.entries,
        refused=sum(said.refused.values()),
        set_aside=sum(said.set_aside.values()),
        approved=said.approved,
        file=hashlib.sha256(data).hexdigest(),
        key=hashlib.sha256(key).hexdigest(),
    )
