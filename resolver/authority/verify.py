"""Verifies that a list was in force: a list's file and hosts' receipts against what this repository has signed.

Rules:
- A receipt counts by its signature; only a pinned host key shows whose it is.
- The file must be exact: its SHA-256 stands in the receipt and in targets metadata that is kept here.
- That metadata must carry enough signatures by the targets keys of a root of this repository, and the roots must form
  a chain from the first to the last, each signed as the one before it demands.
- The result states only what follows from this: signed statements of both sides, not what a visitor saw.
"""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Targets

from resolver.authority.repository import Refused, Repository
from resolver.config.values import many
from resolver.signed import statement
from resolver.signed.metadata import CustomMalformed, custom_of

KIND: Final = "receipt"


class _Receipt(Struct, frozen=True, kw_only=True):
    """The fields of a receipt that are verified here."""

    kind: str
    list: str
    serial: int
    digest: str
    host: str
    issued: int
    at: int
    withdrawn: bool = False
    enforced: bool = True
    suspended: bool = False
    set_aside: dict[str, int] = {}
    approved: bool = False


class _Signed(NamedTuple):
    """Targets metadata that names a list: its version, the root versions it verifies under, and the number of keys."""

    version: int
    roots: tuple[int, ...]
    keys: int


def verified(folder: Path, data: bytes, receipts: Mapping[str, bytes], pinned: Iterable[bytes] = ()) -> list[str]:
    """Return a sentence for each receipt, and one on what no receipt proves; Refused with the fault found.

    receipts: name in messages to content. pinned: raw public keys of hosts; if empty, any key may have signed.
    """
    roots = roots_of(Repository(folder))
    keys, digest = frozenset(pinned), hashlib.sha256(data).hexdigest()
    said = [_one(name, receipt, digest, keys, roots, folder) for name, receipt in receipts.items()]
    owners = "" if keys else "which hosts own the keys of the receipts (give --host-key), "
    return [*said, f"Not proved: {owners}that the hosts' clocks were right, and that no visitor reached a listed name."]


def _one(name: str, data: bytes, digest: str, pinned: frozenset[bytes], roots: list[Root], folder: Path) -> str:
    try:
        found, key = statement.claimed(data)
        receipt = msgspec.convert(found, _Receipt)
    except statement.StatementBroken as error:
        raise Refused(f"{name}: not a receipt signed by the key in it: {error}") from None
    except msgspec.ValidationError:
        raise Refused(f"{name}: not a receipt") from None
    if receipt.kind != KIND:
        raise Refused(f"{name}: not a receipt")
    if pinned and key not in pinned:
        raise Refused(f"{name}: not signed by a key of --host-key")
    if receipt.withdrawn:
        raise Refused(f"{name}: states that the list is withdrawn, which proves no enforcement of it")
    if not receipt.enforced:
        raise Refused(f"{name}: states that the list was not enforced on that host")
    if receipt.digest != digest:
        raise Refused(f"{name}: is for another file than --list (SHA-256 {receipt.digest})")
    if receipt.at < receipt.issued:
        raise Refused(f"{name}: dated before the list was issued")
    signed = _signed(folder, receipt, roots)
    if signed is None:
        raise Refused(
            f"{name}: no targets metadata here that verifies under a root here names {receipt.list} serial "
            f"{receipt.serial} of {_day(receipt.issued)} with that SHA-256"
        )
    host = hashlib.sha256(key).hexdigest()[:16]
    return (
        f"{receipt.host}: list {receipt.list}, serial {receipt.serial}, SHA-256 {digest}, was in force at "
        f"{_day(receipt.at)}{_without(receipt)}: signed by the host (key {host}) and, as issued "
        f"{_day(receipt.issued)}, by {many(signed.keys, 'targets key')} of the authority "
        f"(targets version {signed.version}, "
        f"{_under(signed.roots, roots)})"
    )


def _without(receipt: _Receipt) -> str:
    """Return which part of the list was not enforced, as the receipt states; "" if none."""
    parts = []
    if receipt.suspended:
        parts.append("its new entries")
    aside = sum(receipt.set_aside.values())
    if aside and not receipt.approved:
        parts.append(f"{many(aside, 'line')} set aside")
    return f" without {' and '.join(parts)}" if parts else ""


def _under(versions: tuple[int, ...], roots: list[Root]) -> str:
    said = f"root version {versions[0]}" + (f" to {versions[-1]}" if len(versions) > 1 else "")
    return said if versions[-1] == roots[-1].version else f"{said}, whose targets keys were replaced since"


def roots_of(repository: Repository) -> list[Root]:
    """Return all roots of the repository in order; Refused if one does not follow from the one before."""
    newest = repository.root().signed.version
    found: list[Root] = []
    for version in range(1, newest + 1):
        path = repository.metadata / f"{version}.root.json"
        root = _load(path)
        before = found[-1] if found else None
        try:
            if root is None or not isinstance(root.signed, Root) or root.signed.version != version:
                raise Refused(f"{path}: missing or damaged")
            verified = root.signed.get_root_verification_result(before, root.signed_bytes, root.signatures)
        except (RepositoryError, ValueError):
            raise Refused(f"{path}: missing or damaged") from None
        if not verified:
            raise Refused(f"{path}: not signed by enough of its own keys, or of those of the root version before it")
        found.append(root.signed)
    return found


def _signed(folder: Path, receipt: _Receipt, roots: list[Root]) -> _Signed | None:
    """Return the newest targets metadata that names the receipt's list and verifies, or None."""
    for path in Repository(folder).all_targets():
        targets = _load(path)
        if targets is None or not isinstance(targets.signed, Targets) or not _names(targets.signed, receipt):
            continue
        under = {}
        for root in roots:
            result = root.get_verification_result("targets", targets.signed_bytes, targets.signatures)
            if result:
                under[root.version] = len(result.signed)
        if under:
            return _Signed(targets.signed.version, tuple(under), next(iter(under.values())))
    return None


def _names(targets: Targets, receipt: _Receipt) -> bool:
    for target in targets.targets.values():
        try:
            custom = custom_of(target.custom)
        except CustomMalformed:
            continue
        said = (custom.list, custom.serial, custom.issued, custom.plain or target.hashes.get("sha256"))
        if said == (receipt.list, receipt.serial, receipt.issued, receipt.digest) and not custom.withdrawn:
            return True
    return False


def _load(path: Path) -> Metadata[Any] | None:
    try:
        return Metadata[Any].from_bytes(path.read_bytes())
    except (OSError, RepositoryError):
        return None


def _day(at: int) -> str:
    """Return a time as text; a number if it is out of the calendar's range."""
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return str(at)
