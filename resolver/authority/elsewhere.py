"""Compares a repository with what is known elsewhere: with what is served, and with receipts of hosts.

A repository that was restored from a backup, or one of two signing machines, knows less than the resolvers do.

Rules:
- What is served counts only if the keys of this repository have signed it.
- A receipt counts by the signature in it: who may write into the folder of receipts can stop a publish, not more.
- Nothing here changes anything: it refuses, and says how the repository catches up.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from resolver.authority.repository import AuthorityError, Refused, Repository
from resolver.authority.verify import roots_of
from resolver.config.values import utc_text
from resolver.feed.transport import Access, NotFetched, Transport
from resolver.signed import metadata, statement
from resolver.signed.metadata import CustomMalformed, custom_of

SECONDS: Final = 30.0
MAX_RECEIPTS: Final = 100_000
_KIND: Final = "receipt"
_KINDS: Final = {Timestamp.type: Timestamp, Snapshot.type: Snapshot, Targets.type: Targets}


class Receipt(NamedTuple):
    """What a host states that it had in force. at: unix seconds by its clock."""

    path: Path
    host: str
    serial: int
    digest: str
    at: int


class Place(NamedTuple):
    """Where a repository is served: a folder, or a file:// or https:// URL with `metadata/` below it; and its CA."""

    url: str
    ca: str = ""


def check_served(repository: Repository, place: Place, now: float) -> None:
    """Refuse to publish if what is served at `place` is newer than the repository."""
    base = place.url.rstrip("/") if "://" in place.url else Path(place.url).resolve().as_uri()
    transport = Transport(Access(ca=place.ca), SECONDS)
    roots = roots_of(repository)
    try:
        _check_root(transport, base, place, roots[-1], repository)
        timestamp = _served(transport, base, place, "timestamp.json", Timestamp.type, roots)
        version = timestamp.snapshot_meta.version
        snapshot = _served(transport, base, place, f"{version}.snapshot.json", Snapshot.type, roots)
        version = snapshot.meta["targets.json"].version
        targets = _served(transport, base, place, f"{version}.targets.json", Targets.type, roots)
    finally:
        transport.close()
    ours = repository.current_targets().signed
    if targets.version > ours.version or (targets.version == ours.version and targets != ours):
        raise Refused(
            f"{place.url} serves {_lists(targets)} (targets version {targets.version}), {repository.folder} has"
            f" {_lists(ours)} ({ours.version}): {_CATCH_UP.format(at=place.url, here=repository.folder)}"
        )
    ahead = max(timestamp.version, snapshot.version) - now
    if ahead > 0 and timestamp.version > repository.timestamp().signed.version:
        raise Refused(
            f"{place.url} was signed {round(ahead)} s after what this machine's clock says ({utc_text(now)}):"
            " set the clock, or publish on the machine that signed it"
        )


_CATCH_UP: Final = (
    "it was restored from a backup, or another machine signs too; copy metadata/ and targets/ from {at} into {here},"
    " and publish with a higher serial"
)


def check_receipts(receipts: Iterable[Receipt], custom: metadata.Custom, digest: str, now: float) -> None:
    """Refuse to publish a serial that is not above the newest that a host had in force."""
    newest = max(receipts, key=lambda one: (one.serial, one.at), default=None)
    if newest is None:
        return
    said = f"{newest.path}: {newest.host} had serial {newest.serial} in force at {utc_text(newest.at)}"
    serial = custom.serial
    if newest.serial > serial or (newest.serial == serial and newest.digest != digest):
        raise Refused(
            f"{custom.list}: {said}, so serial {serial} was used before; this repository was restored from a backup, or"
            f" another machine signs too: publish with a serial above {newest.serial}"
        )
    if newest.at > now + SECONDS:
        raise Refused(f"{custom.list}: {said}, later than this machine's clock says ({utc_text(now)}): set the clock")


def receipts_of(paths: Iterable[Path], list_id: str) -> Iterator[Receipt]:
    """Yield the receipts about a list in files, and in the files of folders; AuthorityError if a path is unreadable."""
    for path in paths:
        try:
            if path.is_dir():
                for number, one in enumerate(sorted(path.glob("*.json"))):
                    if number < MAX_RECEIPTS:
                        yield from _receipt(one, list_id)
            else:
                found = list(_receipt(path, list_id))
                if not found:
                    raise AuthorityError(f"{path}: not a receipt about {list_id}")
                yield from found
        except OSError as error:
            raise AuthorityError(f"{path}: {error.strerror}") from None


def _receipt(path: Path, list_id: str) -> Iterator[Receipt]:
    with open(path, "rb") as file:
        data = file.read(statement.MAX_STATEMENT_BYTES + 1)
    try:
        said, _ = statement.claimed(data)
    except statement.StatementBroken:
        return
    numbers = said.get("serial"), said.get("at")
    words = said.get("host"), said.get("digest")
    right = all(isinstance(one, int) for one in numbers) and all(isinstance(one, str) for one in words)
    if said.get("kind") == _KIND and said.get("list") == list_id and right:
        yield Receipt(path, said["host"], said["serial"], said["digest"], min(said["at"], 2**35))


def _check_root(transport: Transport, base: str, place: Place, newest: Root, repository: Repository) -> None:
    try:
        transport.read(f"{base}/metadata/{newest.version + 1}.root.json", metadata.MAX_ROOT_BYTES)
    except NotFetched:
        return
    raise Refused(
        f"{place.url} serves root version {newest.version + 1}, {repository.folder} has {newest.version}: its keys were"
        " replaced since; use the repository and the keys of that time"
    )


def _served(transport: Transport, base: str, place: Place, name: str, kind: str, roots: list[Root]) -> Any:
    """Return metadata that is served and that the keys of one of the roots have signed."""
    where = f"{place.url}: metadata/{name}"
    try:
        found = Metadata[Any].from_bytes(transport.read(f"{base}/metadata/{name}", metadata.MAX_TARGETS_BYTES))
    except NotFetched as error:
        status = f" (HTTP status {error.status})" if error.status else ""
        raise AuthorityError(f"{where}: cannot be read{status}; leave out --served if nothing is served yet") from None
    except RepositoryError:
        raise AuthorityError(f"{where}: no TUF metadata") from None
    if not isinstance(found.signed, _KINDS[kind]):
        raise AuthorityError(f"{where}: not of type {kind}")
    if not any(root.get_verification_result(kind, found.signed_bytes, found.signatures) for root in reversed(roots)):
        raise Refused(f"{where}: not signed by the keys of this repository")
    return found.signed


def _lists(targets: Targets) -> str:
    """Return the lists of targets and their serials, in words."""
    found: dict[str, int] = {}
    for target in targets.targets.values():
        try:
            custom = custom_of(target.custom)
        except CustomMalformed:
            continue
        found[custom.list] = max(custom.serial, found.get(custom.list, 0))
    return ", ".join(f"{name} serial {serial}" for name, serial in sorted(found.items())) or "no list"
