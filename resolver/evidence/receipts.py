"""The receipts that a host has signed: read from its state folder, each held against its own signature.

Rules:
- What is not a receipt (releases are reported the same way), or not signed by the key named in it, is passed over and
  counted.
- Of a receipt the bundle holds numbers and digests, and the words of what was tested.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec import Struct

from resolver.evidence.bundle import Receipt
from resolver.evidence.month import Month
from resolver.feed import receipt
from resolver.signed import statement


class _Said(Struct, frozen=True, kw_only=True):
    """What counts here of a receipt."""

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
    """All receipts in a folder, oldest first, and how many files are none that a key has signed; OSError."""
    found, broken = [], 0
    for path in sorted(folder.glob("*.json")):
        data = path.read_bytes()
        try:
            said, key = statement.claimed(data)
            if said.get("kind") != receipt.KIND:
                continue
            found.append(_receipt(msgspec.convert(said, _Said), data, key))
        except (statement.StatementBroken, msgspec.ValidationError):
            broken += 1
    return tuple(sorted(found, key=lambda one: (one.at, one.list, one.serial, one.file))), broken


def within(found: Iterable[Receipt], month: Month) -> tuple[Receipt, ...]:
    """Those that were signed within a month."""
    return tuple(one for one in found if month.begin <= one.at < month.end)


def issued(found: Iterable[Receipt]) -> dict[tuple[str, int, str], int]:
    """When each list was issued that a receipt speaks of, by list, serial and digest."""
    return {(one.list, one.serial, one.digest): one.issued for one in found if one.issued}


def proved(found: Iterable[Receipt], list_id: str) -> int:
    """How many self-tests of a list passed on the sockets: each has a receipt."""
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
