"""Fetches a sealed image and its manifest from a compile host.

Runs as its own process (`python -I -m resolver.feed.fetch.image`), see child; for the format see manifest.

Rules:
- The pinned root is the compile host's public key; only statements that it signed count.
- Verified statements are kept in the metadata folder: one with a lower number is never accepted again, nor a different
  one with the same number. With another pinned key the numbers start again.
- A statement that is no longer fresh is accepted, because it is the newest there is, and reported as `frozen`.
- The releases in the same folder are fetched with every list. If that fails, the list is accepted and the failure is
  reported: names stay released until the end of each release.
- The image must have the manifest's size and SHA-256 before it is handed over; nothing is written to a disk.
"""

import hashlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from resolver import atomic_file
from resolver.feed import manifest
from resolver.feed.details import Code, Detail, Place, of_errno
from resolver.feed.fetch.child import Wanted, access_of, not_fetched, put, step, work
from resolver.feed.manifest import Manifest, ManifestBroken, ReleasesSaid
from resolver.feed.messages import Facts, FetchRequest
from resolver.feed.reasons import Reason
from resolver.feed.sandbox import Failed, run
from resolver.feed.transport import NotFetched, Transport
from resolver.signed import statement

_T = TypeVar("_T", Manifest, ReleasesSaid)


def fetch(request: FetchRequest, wanted: Wanted, now: Callable[[], float] = time.time) -> bool:
    """Verify, and write the image to the output if it is wanted; return whether it was written."""
    try:
        root = Path(request.root).read_bytes()
        pinned = statement.pinned_of(root)
    except OSError as error:
        raise Failed(Reason.ROOT_UNUSABLE, of_errno(error, Place.ROOT_FILE)) from None
    except statement.StatementBroken:
        raise Failed(Reason.ROOT_UNUSABLE, Detail(code=Code.KEY_NONE, at=Place.ROOT_FILE)) from None
    folder = Folder(request, Transport(access_of(request), request.seconds), pinned)
    try:
        try:
            complaint = _late(Place.RELEASES, folder.said(manifest.RELEASES, ReleasesSaid).fresh_until, now())
        except Failed as failed:
            complaint = failed
        said = folder.said(request.target, Manifest)
        complaint = _late(Place.MANIFEST, said.fresh_until, now()) or complaint
        if said.size > manifest.MAX_IMAGE_BYTES:
            most = manifest.MAX_IMAGE_BYTES
            raise Failed(Reason.OVERSIZED, Detail(code=Code.TOO_LONG, at=Place.IMAGE, numbers=(most,)))
        if not wanted(facts_of(said, pinned, complaint)):
            return False
        put(request.output, folder.image(said))
    finally:
        folder.close()
    return True


def _late(at: Place, fresh_until: int, now: float) -> Failed | None:
    """Return the complaint about a statement that is no longer fresh; None if it is."""
    ended = Detail(code=Code.ENDED, at=at, numbers=(fresh_until,))
    return Failed(Reason.FROZEN, ended) if fresh_until < now else None


class Folder:
    """The folder that a compile host publishes, and the statements kept from it."""

    def __init__(self, request: FetchRequest, transport: Transport, pinned: bytes) -> None:
        self._url = request.url.rstrip("/")
        self._kept = Path(request.metadata)
        self._transport = transport
        self._pinned = pinned

    def said(self, name: str, kind: type[_T]) -> _T:
        """Fetch and verify a statement, check that it is not older than the kept one, and keep it; Failed."""
        at = Place.RELEASES if kind is ReleasesSaid else Place.MANIFEST
        try:
            data = self._transport.read(f"{self._url}/{name}.json", statement.MAX_STATEMENT_BYTES, at)
        except NotFetched as error:
            raise not_fetched(error) from None
        step(Detail(code=Code.STEP_VERIFY, at=at))
        try:
            said = manifest.read(data, self._pinned, kind)
        except ManifestBroken as broken:
            if str(broken) == "not a manifest":
                raise Failed(Reason.MALFORMED, Detail(code=Code.FORM, at=at)) from None
            raise Failed(Reason.TAMPERED, Detail(code=Code.STATEMENT_KEY, at=at)) from None
        before = self._before(name, kind)
        if before is not None and said.sequence < before.sequence:
            numbers = said.sequence, before.sequence
            raise Failed(Reason.ROLLED_BACK, Detail(code=Code.STATEMENT_LOWER, at=at, numbers=numbers))
        if before is not None and said.sequence == before.sequence and said != before:
            twice = Detail(code=Code.STATEMENT_TWICE, at=at, numbers=(said.sequence,))
            raise Failed(Reason.SERIAL_REUSED, twice)
        step(Detail(code=Code.FOUND_VERIFIED, numbers=(said.sequence, said.fresh_until)))
        if said != before:
            self._keep(name, data)
        return said

    def image(self, said: Manifest) -> bytes:
        """Fetch and verify the sealed image that the manifest names; Failed."""
        try:
            data = self._transport.read(f"{self._url}/{said.image}.image", said.size, Place.IMAGE)
        except NotFetched as error:
            raise not_fetched(error) from None
        if len(data) != said.size or hashlib.sha256(data).hexdigest() != said.image:
            raise Failed(Reason.TAMPERED, Detail(code=Code.OTHER_OCTETS, at=Place.IMAGE))
        return data

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def _before(self, name: str, kind: type[_T]) -> _T | None:
        try:
            return manifest.read((self._kept / f"{name}.json").read_bytes(), self._pinned, kind)
        except (OSError, ManifestBroken):
            return None

    def _keep(self, name: str, data: bytes) -> None:
        try:
            self._kept.mkdir(mode=0o700, parents=True, exist_ok=True)
            atomic_file.write(self._kept / f"{name}.json", data)
        except OSError as error:
            raise Failed(Reason.STATE_NOT_WRITTEN, of_errno(error, Place.STATE)) from None


def facts_of(said: Manifest, pinned: bytes, complaint: Failed | None = None) -> Facts:
    """Return the facts of a list from a compile host; the host's key takes the place of the targets keys."""
    targets_keys, root, version = manifest.keys_of(pinned)
    return Facts(
        digest=said.digest,
        length=said.size,
        custom=said.custom,
        targets_keys=targets_keys,
        root_version=version,
        fresh_until=said.fresh_until,
        pinned=root,
        made=msgspec.structs.replace(said.made, complaint=str(complaint.reason) if complaint else ""),
        complaint=complaint.detail if complaint else None,
    )


if __name__ == "__main__":
    sys.exit(run(lambda: work(fetch)))
