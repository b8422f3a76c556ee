"""An authority that signs in memory and serves from a folder; also what a thief or a mirror makes of it.

It is written on python-tuf's metadata alone, so that it shares no line with resolver.authority.
"""

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyrage
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from resolver.feed import processes
from resolver.feed.messages import FetchRequest

DAY = 86400
ROLES = ("root", "targets", "snapshot", "timestamp")


def names(count: int, word: str = "name") -> bytes:
    """A list of `count` reserved names."""
    return b"".join(f"{word}{number}.test\n".encode() for number in range(count))


@contextmanager
def asked_for(authority: "Authority", metadata: Path) -> Iterator[FetchRequest]:
    """What the process that fetches is asked for the list `demo`: `metadata` is the folder of what it knows."""
    output = processes.memory_file("list")
    yield FetchRequest(
        list_id="demo",
        parent=os.getpid(),
        output=output,
        url=authority.url,
        root=str(authority.pinned),
        target="demo",
        metadata=str(metadata),
        ca="",
        certificate="",
        key="",
        max_bytes=10_000,
        memory_bytes=2**31,
        seconds=20.0,
    )
    os.close(output)


class Authority:
    """Keys, the four roles, and the folder they are served from."""

    def __init__(self, folder: Path, *, threshold: int = 1, keys: int = 1) -> None:
        self.folder = folder
        (folder / "metadata").mkdir(parents=True)
        (folder / "targets").mkdir()
        self.signers = {
            role: [CryptoSigner.generate_ed25519() for _ in range(keys if role in ("root", "targets") else 1)]
            for role in ROLES
        }
        self.root = Metadata(Root(expires=_in(365 * DAY), consistent_snapshot=True))
        for role, signers in self.signers.items():
            for signer in signers:
                self.root.signed.add_key(signer.public_key, role)
            self.root.signed.roles[role].threshold = threshold if role in ("root", "targets") else 1
        self.targets = Metadata(Targets(expires=_in(90 * DAY)))
        self.snapshot = Metadata(Snapshot(expires=_in(7 * DAY)))
        self.timestamp = Metadata(Timestamp(expires=_in(2 * DAY)))
        self.serve_root()
        self.serve()
        self.pinned = folder / "pinned.json"
        self.pinned.write_bytes((folder / "metadata/1.root.json").read_bytes())

    @property
    def url(self) -> str:
        return self.folder.as_uri()

    # What an honest authority does.

    def publish(
        self,
        data: bytes,
        serial: int,
        *,
        list_id: str = "demo",
        target: str = "demo",
        issued: int | None = None,
        expires: int | None = None,
        withdrawn: bool = False,
        entries: int | None = None,
    ) -> None:
        """Issue a list and serve it."""
        custom = {
            "list": list_id,
            "serial": serial,
            "issued": int(time.time()) if issued is None else issued,
            "expires": expires,
            "withdrawn": withdrawn,
        }
        if entries is not None:
            custom["entries"] = entries
        self.issue(target, data, custom)

    def publish_encrypted(
        self, data: bytes, serial: int, public: str, *, plain: bytes | None = None, list_id: str = "demo"
    ) -> None:
        """Issue a list encrypted with age to `public`; says it was `plain` in clear, where that is set."""
        custom = {"list": list_id, "serial": serial, "issued": int(time.time()), "expires": None, "withdrawn": False}
        custom |= {"encryption": "age", "plain": hashlib.sha256(data if plain is None else plain).hexdigest()}
        self.issue(list_id, pyrage.encrypt(data, [pyrage.x25519.Recipient.from_str(public)]), custom)

    def issue(self, target: str, data: bytes, custom: object) -> None:
        """Put any bytes with any custom under a target path, and serve all."""
        digest = hashlib.sha256(data).hexdigest()
        self.targets.signed.targets[target] = TargetFile(
            len(data), {"sha256": digest}, target, {"custom": custom}
        )
        (self.folder / "targets" / f"{digest}.{target}").write_bytes(data)
        self.serve()

    def serve(self, signers: Sequence[CryptoSigner] | None = None) -> None:
        """Sign and serve the next targets (by `signers`, else all of them), snapshot and timestamp."""
        self.targets.signed.version += 1
        self._write(self.targets, self.signers["targets"] if signers is None else signers)
        self.serve_snapshot()

    def serve_snapshot(self) -> None:
        """Sign and serve the next snapshot and timestamp."""
        self.snapshot.signed.version += 1
        self.snapshot.signed.meta["targets.json"] = MetaFile(self.targets.signed.version)
        self._write(self.snapshot, self.signers["snapshot"])
        self.serve_timestamp()

    def serve_timestamp(self, *, expires_in: float = 2 * DAY) -> None:
        """Sign and serve the next timestamp."""
        self.timestamp.signed.version += 1
        self.timestamp.signed.expires = _in(expires_in)
        self.timestamp.signed.snapshot_meta = MetaFile(self.snapshot.signed.version)
        self._write(self.timestamp, self.signers["timestamp"])

    def serve_root(self, old: Sequence[CryptoSigner] = ()) -> None:
        """Sign and serve the root, by the old root keys as well."""
        self._write(self.root, [*old, *self.signers["root"]])

    def rotate(self, *roles: str) -> None:
        """Replace all keys of `roles`, and sign anew what they sign."""
        old = self.signers["root"] if "root" in roles else []
        self.root.signed.version += 1
        for role in roles:
            for keyid in list(self.root.signed.roles[role].keyids):
                self.root.signed.revoke_key(keyid, role)
            self.signers[role] = [CryptoSigner.generate_ed25519() for _ in self.signers[role]]
            for signer in self.signers[role]:
                self.root.signed.add_key(signer.public_key, role)
        self.serve_root(old)
        self.serve()

    # What happens to a repository, and what is done to it.

    def copy(self) -> dict[str, bytes]:
        """Everything that is served now."""
        return {
            str(p.relative_to(self.folder)): p.read_bytes() for p in self.folder.rglob("*") if p.is_file()
        }

    def put_back(self, files: dict[str, bytes], *only: str) -> None:
        """Serve older files again: all of them, or those whose path holds one of `only`."""
        for path, data in files.items():
            if not only or any(part in path for part in only):
                (self.folder / path).write_bytes(data)

    def tamper(self, part: str) -> None:
        """Change one byte of every served file whose path holds `part`."""
        for path in self.folder.rglob("*"):
            if path.is_file() and part in str(path.relative_to(self.folder)):
                data = bytearray(path.read_bytes())
                data[len(data) // 2] ^= 1
                path.write_bytes(data)

    def write_signed(self, metadata: Metadata, role: str) -> None:
        """Serve metadata signed by the keys of `role` as they are now."""
        self._write(metadata, self.signers[role])

    def _write(self, metadata: Metadata, signers: Sequence[CryptoSigner]) -> None:
        metadata.signatures.clear()
        for signer in signers:
            metadata.sign(signer, append=True)
        kind, version = metadata.signed.type, metadata.signed.version
        name = "timestamp.json" if kind == "timestamp" else f"{version}.{kind}.json"
        part = self.folder / "metadata" / f".{name}"
        part.write_bytes(metadata.to_bytes())
        os.replace(part, self.folder / "metadata" / name)


def _in(seconds: float) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds)
