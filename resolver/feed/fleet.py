"""Publishes, on a fleet's compile host, what is in force here; the nodes pull it.

Rules:
- Only what is in force is published: nothing that is held, refused or not tested leaves this host.
- An image has its name in the folder, on the disk, before the statement that names it. An image that no statement names
  any more is removed last, and not before it is KEEP_S old: a node that is pulling it can finish.
- A statement is written again at each change, at the start, and on every beat as a sign of life.
- The number of a statement is the clock's milliseconds, or the last number plus 1 if that is higher: it goes up even if
  the folder was lost.
"""

import asyncio
import base64
import hashlib
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from resolver import atomic_file
from resolver.feed import manifest
from resolver.feed.enforced import Nothing
from resolver.feed.manifest import Manifest, ManifestBroken, Released, ReleasesSaid
from resolver.feed.release import Releases
from resolver.feed.update import ListUpdate
from resolver.signed import statement

KEEP_S: Final = 600
PATIENCE_BEATS: Final = 3
PATIENCE_S: Final = 60
READABLE: Final = 0o644

_log: Final = logging.getLogger("resolver.feed")


class Publisher:
    """Publishes in `folder`, signed with the host's key.

    beat: time between two signs of life, in seconds. now: returns unix seconds.
    """

    def __init__(
        self,
        folder: Path,
        key: Ed25519PrivateKey,
        lists: Iterable[ListUpdate],
        releases: Releases,
        *,
        digest_key: str,
        beat: float,
        now: Callable[[], float],
    ) -> None:
        self._folder = folder.absolute()
        self._key = key
        self._pinned = statement.public_of(key)
        self._lists = lists
        self._releases = releases
        self._digest_key = digest_key
        self.beat = beat
        self._now = now
        self._wake = asyncio.Event()
        self._failed = False
        self._sequences: dict[str, int] = {}
        self._digests: dict[tuple[str, int, int], str] = {}

    def wake(self) -> None:
        """Publish now: something has changed."""
        self._wake.set()

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            self._wake.clear()
            try:
                await asyncio.to_thread(self.publish)
                self._failed = False
            except OSError as error:
                if not self._failed:
                    said = "fleet: a folder cannot be used (%s: %s): nothing is published, nodes keep their lists"
                    _log.error(said, error.filename or self._folder, error.strerror)
                self._failed = True
            try:
                async with asyncio.timeout(self.beat):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def publish(self) -> None:
        """Write what is in force now; OSError if the folder cannot be written."""
        self._folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        atomic_file.drop_parts(self._folder)
        released = [
            Released(number=one.number, until=one.until, image=base64.b64encode(sealed).decode())
            for one, sealed in self._releases.sealed()
        ]
        said = ReleasesSaid(digest_key=self._digest_key, releases=tuple(released), **self._next(manifest.RELEASES))
        self._write(f"{manifest.RELEASES}.json", statement.sign(manifest.to_json(said), self._key))
        kept = {name for one in self._lists if (name := self._publish(one))}
        self._clean(kept)

    def _publish(self, one: ListUpdate) -> str:
        """Publish one list; return the file name of its image, "" if it has none."""
        record, name = one.state.in_force, one.list.id
        if record is None or isinstance(one.enforced, Nothing):
            # The last statement stays until it is stale: a node keeps the list, with an alarm.
            return self._published(name)
        try:
            image = ("", 0) if record.withdrawn else self._image(one.store.folder / record.image)
        except FileNotFoundError:
            return self._published(name)  # superseded just now: that change wakes us again
        said = manifest.of_record(record, list_id=name, image=image, said=self._next(name))
        self._write(f"{name}.json", statement.sign(manifest.to_json(said), self._key))
        return f"{said.image}.image" if said.image else ""

    def _image(self, path: Path) -> tuple[str, int]:
        """Copy a sealed image into the folder if it is not there; return its SHA-256 and its size."""
        stat = path.stat()
        mark = (str(path), stat.st_ino, stat.st_mtime_ns)
        digest = self._digests.get(mark, "")
        if not digest or not (self._folder / f"{digest}.image").exists():
            sealed = path.read_bytes()
            digest = hashlib.sha256(sealed).hexdigest()
            self._write(f"{digest}.image", sealed)
            self._digests = {mark: digest, **{key: one for key, one in self._digests.items() if key[0] != str(path)}}
        return digest, stat.st_size

    def _published(self, name: str) -> str:
        try:
            said = manifest.read((self._folder / f"{name}.json").read_bytes(), self._pinned, Manifest)
        except (OSError, ManifestBroken):
            return ""
        return f"{said.image}.image"

    def _next(self, name: str) -> dict[str, int]:
        """Return the number and the dates of the next statement of this name."""
        now = self._now()
        if name not in self._sequences:
            self._sequences[name] = self._last(name)
        self._sequences[name] = max(self._sequences[name] + 1, int(now * 1000))
        fresh = int(now + PATIENCE_BEATS * self.beat + PATIENCE_S)
        return {"sequence": self._sequences[name], "published": int(now), "fresh_until": fresh}

    def _last(self, name: str) -> int:
        kind = ReleasesSaid if name == manifest.RELEASES else Manifest
        try:
            return manifest.read((self._folder / f"{name}.json").read_bytes(), self._pinned, kind).sequence
        except (OSError, ManifestBroken):
            return 0

    def _clean(self, kept: set[str]) -> None:
        oldest = self._now() - KEEP_S
        for path in self._folder.glob("*.image"):
            if path.name not in kept and path.stat().st_mtime < oldest:
                path.unlink()

    def _write(self, name: str, data: bytes) -> None:
        atomic_file.write(self._folder / name, data, READABLE)
