"""Fetches a list from an authority's TUF repository.

Runs as its own process (`python -I -m resolver.feed.fetch.tuf`), see child.

Rules:
- Trust starts only at the pinned root of each request; metadata kept in the folder is verified again.
- The target must be in the top-level targets role: delegations are not followed, so that only the targets keys are
  responsible for the list.
- Nothing unverified is written to a disk; verified metadata is kept in its folder, the list only in the memfd.
- An encrypted list is decrypted only once its ciphertext has verified, and its clear text must have the signed digest.
  If an identity is set, a list in clear is refused, except for a withdrawal, which holds no names.
- A version that is known must come with the content that is known (tuf_known).
- A host without any list accepts stale metadata if everything else verifies. An expired root is never accepted.
"""

import hashlib
import io
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from pyrage.x25519 import Identity
from tuf.api import exceptions as tuf
from tuf.api.metadata import Metadata, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.ngclient import Updater, UpdaterConfig
from tuf.ngclient.fetcher import FetcherInterface

from resolver.feed.details import Code, Detail, Place, Word, of_errno
from resolver.feed.fetch import age, tuf_details, tuf_known
from resolver.feed.fetch.child import access_of, not_fetched, step, work
from resolver.feed.messages import Facts, FetchRequest
from resolver.feed.reasons import Reason
from resolver.feed.sandbox import Failed, run
from resolver.feed.transport import NotFetched, TooLarge, TooSlow, Transport
from resolver.signed import metadata

_SIGNED: Final = re.compile(r"was signed by (\d+)/")
_LATE: Final = re.compile(r"(timestamp|snapshot)\.json is expired")
_LIMITS: Final = frozenset(
    (
        metadata.MAX_ROOT_BYTES,
        metadata.MAX_TIMESTAMP_BYTES,
        metadata.MAX_SNAPSHOT_BYTES,
        metadata.MAX_TARGETS_BYTES,
    )
)
_MIXED: Final = re.compile(r"Expected (targets v|snapshot version )\d")


class Fetcher(FetcherInterface):
    """Hands downloads to the TUF client. timestamp: the last one that was read. failed: why the last download failed.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.timestamp = b""
        self.failed: NotFetched | None = None
        self.watch = tuf_details.Watch()

    @contextmanager
    def download_file(self, url: str, max_length: int) -> Iterator[io.BytesIO]:
        """Yield the content of `url` as a file; DownloadError if it cannot be read, is too large or too slow."""
        at, version = tuf_details.place_of(url)
        try:
            self.failed = None
            data = self._transport.read(url, max_length, at, version)
            self.watch.fetched = at
            self.watch.at = Place.LIST if at is Place.LIST else self.watch.at
        except TooLarge as error:
            self.failed = error
            if url.rpartition("/")[0].endswith("/metadata") and max_length not in _LIMITS:
                # Not the file whose length was signed.
                raise tuf.LengthOrHashMismatchError("length") from None
            raise tuf.DownloadLengthMismatchError("length") from None
        except TooSlow as error:
            self.failed = error
            raise tuf.SlowRetrievalError("time") from None
        except NotFetched as error:
            self.failed = error
            if error.status:
                raise tuf.DownloadHTTPError("status", error.status) from None
            raise tuf.DownloadError("download") from None
        if url.endswith("/metadata/timestamp.json"):
            self.timestamp = data
        yield io.BytesIO(data)

    def _fetch(self, url: str) -> Iterator[bytes]:
        return self._transport.chunks(url)


def reason_of(error: Exception) -> Reason:
    """Return the reason for an error of the TUF client; its text is examined, never passed on."""
    text = str(error)
    match error:
        case tuf.DownloadLengthMismatchError():
            return Reason.OVERSIZED
        case tuf.DownloadError():
            return Reason.UNREACHABLE
        case tuf.ExpiredMetadataError():
            # An attacker who holds back new timestamps and an authority that has stopped look the same: frozen.
            return Reason.FROZEN if _LATE.search(text) else Reason.EXPIRED
        case tuf.UnsignedMetadataError():
            signed = _SIGNED.search(text)
            return Reason.TOO_FEW_SIGNATURES if signed and int(signed[1]) else Reason.TAMPERED
        case tuf.BadVersionNumberError():
            return Reason.MIXED if _MIXED.match(text) else Reason.ROLLED_BACK
        case tuf.LengthOrHashMismatchError():
            return Reason.TAMPERED
        case tuf.RepositoryError():
            return Reason.MALFORMED
        case OSError():
            return Reason.STATE_NOT_WRITTEN
    return Reason.INTERNAL


def updater_of(request: FetchRequest, fetcher: Fetcher) -> Updater:
    """Return a TUF client for one request; Failed if the pinned root is unusable."""
    config = UpdaterConfig(
        max_root_rotations=metadata.MAX_ROOT_ROTATIONS,
        max_delegations=0,
        root_max_length=metadata.MAX_ROOT_BYTES,
        timestamp_max_length=metadata.MAX_TIMESTAMP_BYTES,
        snapshot_max_length=metadata.MAX_SNAPSHOT_BYTES,
        targets_max_length=metadata.MAX_TARGETS_BYTES,
    )
    try:
        pinned = Path(request.root).read_bytes()
    except OSError as error:
        raise Failed(Reason.ROOT_UNUSABLE, of_errno(error, Place.ROOT_FILE)) from None
    url = request.url.rstrip("/")
    try:
        Path(request.metadata).mkdir(mode=0o700, parents=True, exist_ok=True)
        updater = Updater(
            metadata_dir=request.metadata,
            metadata_base_url=f"{url}/metadata/",
            target_base_url=f"{url}/targets/",
            fetcher=fetcher,
            config=config,
            bootstrap=pinned,
        )
        fetcher.watch.look_at(updater)
        return updater
    except tuf.RepositoryError:
        raise Failed(Reason.ROOT_UNUSABLE, Detail(code=Code.FORM, at=Place.ROOT_FILE)) from None
    except OSError as error:
        raise Failed(Reason.STATE_NOT_WRITTEN, of_errno(error, Place.STATE)) from None


def facts_of(request: FetchRequest, target: TargetFile) -> Facts:
    """Return the verified facts of `target`, from the metadata files that have just been verified; Failed."""
    folder = Path(request.metadata)
    root = Metadata[Root].from_bytes((folder / "root.json").read_bytes()).signed
    dated = (
        Metadata[Timestamp].from_bytes((folder / "timestamp.json").read_bytes()).signed,
        Metadata[Snapshot].from_bytes((folder / "snapshot.json").read_bytes()).signed,
        Metadata[Targets].from_bytes((folder / "targets.json").read_bytes()).signed,
    )
    keys = sorted(
        f"{key.keytype} {key.scheme} {key.keyval.get('public')}"
        for key in (root.keys[keyid] for keyid in root.roles["targets"].keyids)
    )
    if "sha256" not in target.hashes:
        raise Failed(Reason.MALFORMED, Detail(code=Code.FIELD_MISSING, at=Place.TARGETS, word=Word.SHA256))
    try:
        custom = metadata.custom_of(target.custom)
    except metadata.CustomMalformed as error:
        raise Failed(Reason.MALFORMED, tuf_details.of_custom(error)) from None
    if target.length > request.max_bytes + (age.MAX_OVERHEAD_BYTES if custom.encryption else 0):
        raise Failed(Reason.OVERSIZED, Detail(code=Code.TOO_LONG, at=Place.LIST, numbers=(request.max_bytes,)))
    if custom.encryption and not request.identity:
        raise Failed(Reason.IDENTITY_UNUSABLE, Detail(code=Code.NO_IDENTITY))
    if request.identity and not custom.encryption and not custom.withdrawn:
        raise Failed(Reason.NOT_ENCRYPTED, Detail(code=Code.IN_CLEAR))
    return Facts(
        digest=custom.plain or target.hashes["sha256"],
        length=target.length,
        custom=custom,
        targets_keys=hashlib.sha256("\n".join(keys).encode()).hexdigest()[:32],
        root_version=root.version,
        pinned=hashlib.sha256(Path(request.root).read_bytes()).hexdigest(),
        fresh_until=int(min(one.expires for one in dated).timestamp()),
    )


def refreshed(request: FetchRequest, fetcher: Fetcher) -> Updater:
    """Return a TUF client with verified metadata; an error of the client otherwise."""
    updater = updater_of(request, fetcher)
    try:
        updater.refresh()
    except tuf.ExpiredMetadataError:
        if not request.stale:
            raise
        # Again, at a time before any expiry: the client offers no way to set its clock. The root must not have expired.
        updater = updater_of(request, fetcher)
        updater._trusted_set.reference_time = datetime.fromtimestamp(0, UTC)
        updater.refresh()
        if updater._trusted_set.root.is_expired(datetime.now(UTC)):
            raise Failed(Reason.EXPIRED) from None
    return updater


def fetch(request: FetchRequest, wanted: Callable[[Facts], bool]) -> bool:
    """Verify, and write the list to the output if it is wanted; return whether it was written."""
    transport = Transport(access_of(request), request.seconds)
    fetcher = Fetcher(transport)
    try:
        identities = age.identities_of(Path(request.identity)) if request.identity else []
        updater = refreshed(request, fetcher)
        if tuf_known.is_mixed(Path(request.metadata), fetcher.timestamp, partial(_metadata, request, fetcher)):
            raise Failed(Reason.MIXED, Detail(code=Code.OTHER_CONTENT, at=Place.TIMESTAMP))
        target = updater.get_targetinfo(request.target)
        if target is None:
            raise Failed(Reason.UNKNOWN_TARGET, _no_target(updater))
        facts = facts_of(request, target)
        if not wanted(facts):
            return False
        if facts.custom.encryption:
            _download_encrypted(updater, target, facts, identities, request)
        else:
            updater.download_target(target, filepath=f"/proc/self/fd/{request.output}")
    except Failed:
        raise
    except age.IdentityUnusable as error:
        raise Failed(Reason.IDENTITY_UNUSABLE, error.detail) from None
    except Exception as error:  # noqa: BLE001 - every error of the client becomes a reason: its text may hold what was read
        if isinstance(error, tuf.DownloadError) and fetcher.failed is not None:
            raise not_fetched(fetcher.failed) from None
        raise Failed(reason_of(error), fetcher.watch.detail_of(error)) from None
    finally:
        transport.close()
    return True


def _no_target(updater: Updater) -> Detail:
    delegations = updater._trusted_set.targets.delegations
    count = len(delegations.roles or ()) if delegations is not None else 0
    return Detail(code=Code.NO_TARGET, at=Place.TARGETS, numbers=(count,))


def _metadata(request: FetchRequest, fetcher: Fetcher, name: str, most: int) -> bytes:
    """Return a file of the repository's metadata."""
    return fetcher.download_bytes(f"{request.url.rstrip('/')}/metadata/{name}", most)


def _download_encrypted(
    updater: Updater, target: TargetFile, facts: Facts, identities: list[Identity], request: FetchRequest
) -> None:
    """Download, decrypt and write the list; Failed unless ciphertext and clear text are what was signed."""
    with open(os.memfd_create("encrypted"), "w+b") as file:
        updater.download_target(target, filepath=f"/proc/self/fd/{file.fileno()}")
        step(Detail(code=Code.STEP_DECRYPT))
        try:
            plain = age.opened(file.read(), identities)
        except age.NotOpened:
            raise Failed(Reason.TAMPERED, Detail(code=Code.NOT_DECRYPTED, at=Place.IDENTITY)) from None
    if len(plain) > request.max_bytes:
        raise Failed(Reason.OVERSIZED, Detail(code=Code.TOO_LONG, at=Place.LIST, numbers=(request.max_bytes,)))
    if hashlib.sha256(plain).hexdigest() != facts.digest:
        raise Failed(Reason.TAMPERED, Detail(code=Code.OTHER_PLAIN))
    with open(request.output, "wb", closefd=False) as output:
        output.write(plain)


if __name__ == "__main__":
    sys.exit(run(lambda: work(fetch)))
