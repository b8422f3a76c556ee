"""Finds out whether a known version of TUF metadata is served with other content than before.

An authority whose repository was restored from a backup, or that signs on two machines, uses a version twice. The TUF
client keeps what it has of a version, so that the new list would never be seen.

Rules:
- Metadata that another signature alone tells apart is the same.
- If the metadata above states a hash, the kept file is compared with it; otherwise the file is read again.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tuf.api import exceptions as tuf
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp

from resolver.signed import metadata

_MOST: Final = {Snapshot.type: metadata.MAX_SNAPSHOT_BYTES, Targets.type: metadata.MAX_TARGETS_BYTES}

Read = Callable[[str, int], bytes]
"""Reads a file of the metadata folder of the repository, by name and largest size."""


def is_mixed(folder: Path, served_timestamp: bytes, read: Read) -> bool:
    """Return whether a version that is kept in `folder` is served with other content; a DownloadError of `read`.

    Called after a refresh: all that is in `folder` has verified, and so has `served_timestamp`.
    """
    root = _kept(folder, Root.type)
    timestamp, snapshot = _kept(folder, Timestamp.type), _kept(folder, Snapshot.type)
    served = Metadata[Timestamp].from_bytes(served_timestamp).signed
    if served.version == timestamp.version and served != timestamp:
        return True
    named = {Snapshot.type: timestamp.snapshot_meta, Targets.type: snapshot.meta["targets.json"]}
    return any(_differs(folder, root, role, meta, read) for role, meta in named.items())


def _differs(folder: Path, root: Root, role: str, meta: MetaFile, read: Read) -> bool:
    if meta.hashes or meta.length is not None:
        try:
            meta.verify_length_and_hashes((folder / f"{role}.json").read_bytes())
        except tuf.LengthOrHashMismatchError:
            return True
        return False
    name = f"{meta.version}.{role}.json" if root.consistent_snapshot else f"{role}.json"
    served = Metadata[Any].from_bytes(read(name, _MOST[role]))
    root.verify_delegate(role, served.signed_bytes, served.signatures)
    return bool(served.signed.version == meta.version and served.signed != _kept(folder, role))


def _kept(folder: Path, role: str) -> Any:
    return Metadata[Any].from_bytes((folder / f"{role}.json").read_bytes()).signed
