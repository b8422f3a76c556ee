"""Signs and writes what is served: targets, snapshot and timestamp, their versions and hashes; removes what is old.

Rules:
- Lists are written first, then targets, snapshot, timestamp: a concurrent fetch sees the old state or the new one.
- A version is the unix time at which it is signed, and above every version that was ever written here: a repository
  that is restored from a backup does not use a version again for something else.
- The timestamp holds length and SHA-256 of the snapshot, the snapshot those of targets.
- Metadata of old versions is not served for ever. Old targets stay, apart: they prove what was signed (`verify`).
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from resolver.authority import clock
from resolver.authority.repository import AuthorityError, Repository

FRESH_SECONDS: Final = 48 * 3600
KEPT_VERSIONS: Final = 10
"""So many versions of snapshot and of targets are served, for a fetch that began before the newest was written."""

_HASH: Final = "sha256"


def serve(
    repository: Repository, root: Root, targets: Metadata[Targets], *, now: float, seconds: float
) -> None:
    """Sign snapshot and timestamp for `targets`, valid for `seconds`, and write all three."""
    expires = date(now, seconds)
    version = next_version(repository, Snapshot.type, now)
    meta = {"targets.json": MetaFile.from_data(targets.signed.version, targets.to_bytes(), [_HASH])}
    snapshot = Metadata(Snapshot(version=version, expires=expires, meta=meta))
    sign(snapshot, _online(repository, root, Snapshot.type))
    timestamp = Metadata(
        Timestamp(
            version=next_version(repository, Timestamp.type, now),
            expires=expires,
            snapshot_meta=MetaFile.from_data(version, snapshot.to_bytes(), [_HASH]),
        )
    )
    timestamp.signed.unrecognized_fields[clock.SIGNED] = int(now)
    sign(timestamp, _online(repository, root, Timestamp.type))
    for one in (targets, snapshot, timestamp):
        repository.write_metadata(one)
    _put_away(repository, Snapshot.type, version)
    _put_away(repository, Targets.type, targets.signed.version)


def next_version(repository: Repository, kind: str, now: float) -> int:
    """Return the version of the next metadata of this kind."""
    return max([int(now), *(version + 1 for version in repository.versions(kind))])


def sign(metadata: Metadata[Any], signers: Iterable[CryptoSigner]) -> None:
    """Replace all signatures by those of `signers`."""
    metadata.signatures.clear()
    for signer in signers:
        metadata.sign(signer, append=True)


def date(now: float, seconds: float) -> datetime:
    """Return the time `seconds` after `now`."""
    return datetime.fromtimestamp(int(now), UTC) + timedelta(seconds=int(seconds))


def clean(repository: Repository, *kept: dict[str, TargetFile]) -> None:
    """Remove lists that none of the targets `kept` names."""
    names = {f"{target.hashes[_HASH]}.{path}" for targets in kept for path, target in targets.items()}
    for path in repository.targets.iterdir():
        if path.name not in names:
            path.unlink()


def _online(repository: Repository, root: Root, role: str) -> list[CryptoSigner]:
    signers = repository.signers(root, role)
    if not signers:
        raise AuthorityError(f"no key of {role} in {repository.keys}")
    return signers


def _put_away(repository: Repository, kind: str, current: int) -> None:
    """Stop serving versions of this kind that no client needs any more; keep old targets."""
    known = sorted(one for one in repository.versions(kind, served=True) if one <= current)
    for version in known[:-KEPT_VERSIONS]:
        repository.put_away(kind, version, keep=kind == Targets.type)
