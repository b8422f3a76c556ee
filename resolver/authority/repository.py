"""Reads and writes the folder of an authority: published files, files that wait for signatures, and keys.

    DIR/root.json    the newest root: what a resolver pins
    DIR/metadata/    served: N.root.json, N.targets.json, N.snapshot.json, timestamp.json
    DIR/issued/      not served: N.targets.json, older targets; they prove what was signed
    DIR/targets/     served: SHA256.TARGET, the lists; TARGET is ID, or ID-NAME for one recipient
    DIR/keys/        never served: one PEM a key, 0600; keys of other people are not here
    DIR/staged/      never served: what waits for more signatures

Rules:
- Only what the timestamp leads to is published; any other file has no effect and may be overwritten.
- Every file is written whole (`atomic_file`), lists first, the timestamp last.
- One command at a time.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Signed, Snapshot, Targets, Timestamp

from resolver import atomic_file

_T = TypeVar("_T", Root, Timestamp, Snapshot, Targets)
STAGED_ROOT: Final = "root.json"
STAGED_TARGETS: Final = "targets.json"
STAGED_LIST: Final = "list."


class AuthorityError(Exception):
    """A command of the authority cannot go on; the text is one line and holds no listed name."""


class Refused(AuthorityError):
    """A list, a serial or a signature is not accepted."""


class Repository:
    """One folder; reads and writes whole files, decides nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.metadata = folder / "metadata"
        self.issued = folder / "issued"
        self.targets = folder / "targets"
        self.keys = folder / "keys"
        self.staged = folder / "staged"

    def exists(self) -> bool:
        """Return whether the folder holds a repository."""
        return (self.metadata / "timestamp.json").exists()

    def make_folders(self) -> None:
        """Make the missing folders of the layout."""
        for path, mode in (
            (self.metadata, 0o755),
            (self.issued, 0o755),
            (self.targets, 0o755),
            (self.keys, 0o700),
            (self.staged, 0o700),
        ):
            path.mkdir(mode=mode, parents=True, exist_ok=True)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the folder's lock: one command at a time; remove what a crash left half written."""
        if not self.folder.is_dir():
            raise AuthorityError(f"{self.folder}: no such folder; make it with `authority init`")
        with open(self.folder / ".lock", "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for folder in (self.folder, self.metadata, self.issued, self.targets, self.keys, self.staged):
                atomic_file.drop_parts(folder)
            yield

    # Published.

    def root(self) -> Metadata[Root]:
        """Return the newest root."""
        versions = [int(path.name.split(".")[0]) for path in self.metadata.glob("*.root.json")]
        if not versions:
            raise AuthorityError(f"{self.folder}: no repository here; make one with `authority init`")
        return self._load(self.metadata / f"{max(versions)}.root.json", Root)

    def timestamp(self) -> Metadata[Timestamp]:
        """Return the timestamp that is served."""
        return self._load(self.metadata / "timestamp.json", Timestamp)

    def snapshot(self) -> Metadata[Snapshot]:
        """Return the snapshot that the timestamp names."""
        version = self.timestamp().signed.snapshot_meta.version
        return self._load(self.metadata / f"{version}.snapshot.json", Snapshot)

    def current_targets(self) -> Metadata[Targets]:
        """Return the targets that the snapshot names."""
        version = self.snapshot().signed.meta["targets.json"].version
        return self._load(self.metadata / f"{version}.targets.json", Targets)

    def versions(self, kind: str, *, served: bool = False) -> list[int]:
        """Return the versions of one kind of metadata that are kept here. served: only those that are served."""
        if kind == Timestamp.type:
            return [self.timestamp().signed.version] if self.exists() else []
        folders = (self.metadata,) if served else (self.metadata, self.issued)
        return [version for folder in folders for path in folder.glob(f"*.{kind}.json") if (version := _version(path))]

    def all_targets(self) -> list[Path]:
        """Return all targets metadata that is kept, the newest first."""
        found = [path for folder in (self.metadata, self.issued) for path in folder.glob("*.targets.json")]
        return sorted(found, key=_version, reverse=True)

    def staged_metadata(self, name: str) -> Metadata[Any] | None:
        """Return the metadata that waits under `name` for signatures, or None."""
        path = self.staged / name
        return Metadata[Any].from_bytes(path.read_bytes()) if path.exists() else None

    def _load(self, path: Path, kind: type[_T]) -> Metadata[_T]:
        try:
            loaded = Metadata[_T].from_bytes(path.read_bytes())
        except (OSError, RepositoryError):
            raise AuthorityError(f"{path}: missing or damaged") from None
        if not isinstance(loaded.signed, kind):
            raise AuthorityError(f"{path}: not of type {kind.type}")
        return loaded

    # Keys.

    def signers(self, root: Root, role: str) -> list[CryptoSigner]:
        """Return signers for the keys of `role` that are here, retired or not: the root decides which count."""
        wanted = set(root.roles[role].keyids)
        found = (read_key(path) for path in sorted(self.keys.rglob("*.pem")))
        return [signer for signer in found if signer.public_key.keyid in wanted]

    def make_keys(self, role: str, count: int) -> list[CryptoSigner]:
        """Make new Ed25519 keys for `role`, mode 0600; older keys of the role move to keys/retired."""
        made = []
        for number in range(1, count + 1):
            signer = CryptoSigner.generate_ed25519()
            path = self.keys / f"{role}-{number}.pem"
            if path.exists():
                (self.keys / "retired").mkdir(mode=0o700, exist_ok=True)
                old = read_key(path).public_key.keyid[:16]
                path.replace(self.keys / "retired" / f"{role}-{old}.pem")
            atomic_file.write(path, signer.private_bytes, 0o600)
            made.append(signer)
        return made

    # Writing.

    def write_metadata(self, metadata: Metadata[Any]) -> None:
        """Write signed metadata where it is served; a timestamp takes effect at once."""
        signed: Signed = metadata.signed
        name = "timestamp.json" if signed.type == Timestamp.type else f"{signed.version}.{signed.type}.json"
        atomic_file.write(self.metadata / name, metadata.to_bytes(), 0o644)
        if signed.type == Root.type:
            atomic_file.write(self.folder / "root.json", metadata.to_bytes(), 0o644)

    def put_away(self, kind: str, version: int, *, keep: bool) -> None:
        """Stop serving one version of metadata. keep: it stays in `issued`."""
        path = self.metadata / f"{version}.{kind}.json"
        if keep and path.exists():
            self.issued.mkdir(mode=0o755, exist_ok=True)
            path.replace(self.issued / path.name)
        else:
            path.unlink(missing_ok=True)

    def stage(self, name: str, data: bytes) -> None:
        """Store a file that waits for signatures."""
        atomic_file.write(self.staged / name, data, 0o600)

    def staged_lists(self) -> dict[str, Path]:
        """Return the lists that wait with the staged targets, by target path."""
        found = self.staged.glob(f"{STAGED_LIST}*")
        return {path.name.removeprefix(STAGED_LIST): path for path in sorted(found)}

    def unstage_lists(self) -> None:
        """Remove the staged targets and their lists."""
        self.unstage(STAGED_TARGETS, *(path.name for path in self.staged_lists().values()))

    def unstage(self, *names: str) -> None:
        """Remove staged files."""
        for name in names:
            (self.staged / name).unlink(missing_ok=True)


def _version(path: Path) -> int:
    """Return the version in the name of a metadata file; 0 if it is none."""
    number = path.name.partition(".")[0]
    return int(number) if number.isascii() and number.isdigit() and len(number) < 20 else 0


def read_key(path: Path) -> CryptoSigner:
    """Return the signer for a PEM file; AuthorityError if it holds no unencrypted private key."""
    try:
        return CryptoSigner(load_pem_private_key(path.read_bytes(), None))
    except OSError as error:
        raise AuthorityError(f"{path}: {error.strerror}") from None
    except (ValueError, TypeError):
        raise AuthorityError(f"{path}: not an unencrypted private key in PEM") from None
