"""The fetch process: an authority's TUF repository to verified facts and, when told to, the list's bytes.

Runs as its own process (`python -I -m resolver.feed.source_tuf`) and speaks lines of JSON: a request comes
in, the verified facts go out; a line `go` comes in, the list is written to the inherited memfd, `done` goes
out.

Rules:
- The pinned root of each request is the only start of trust; what the metadata folder remembers is verified
  anew.
- The target stands in the top-level targets role: delegations are not followed, so that the set of targets
  keys is the one that answers for the list.
- Every download is bounded in bytes before it starts and in time as it goes; nothing is spooled to a disk;
  only what verified is kept (metadata in its folder, the list in the memfd).
- TLS is always verified; a redirect is an error.
"""

import hashlib
import io
import os
import re
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import msgspec
from tuf.api import exceptions as tuf
from tuf.api.metadata import Metadata, Root, TargetFile, Timestamp
from tuf.ngclient import Updater, UpdaterConfig
from tuf.ngclient.fetcher import FetcherInterface

from resolver.authority import shapes

from .confine import Failed, confine, run, say
from .messages import Facts, FetchRequest, Reason

_CHUNK: Final = 2**16
_STEP_SECONDS: Final = 10.0
_SIGNED: Final = re.compile(r"was signed by (\d+)/")
_LATE: Final = re.compile(r"(timestamp|snapshot)\.json is expired")
_MIXED: Final = re.compile(r"Expected (targets v|snapshot version )\d")


class Fetcher(FetcherInterface):
    """Reads file:// and https:// into bounded memory until `deadline` (monotonic seconds)."""

    def __init__(self, request: FetchRequest, clock: Callable[[], float] = time.monotonic) -> None:
        self._request = request
        self._clock = clock
        self._deadline = clock() + request.seconds
        self._connection: Any = None

    @contextmanager
    def download_file(self, url: str, max_length: int) -> Iterator[io.BytesIO]:
        """Yield the bytes at `url`; DownloadError where there are none, too many or not in time."""
        kept = io.BytesIO()
        try:
            for chunk in self._fetch(url):
                if kept.tell() + len(chunk) > max_length:
                    raise tuf.DownloadLengthMismatchError("length")
                if self._clock() > self._deadline:
                    raise tuf.SlowRetrievalError("time")
                kept.write(chunk)
        except tuf.DownloadError:
            raise
        except Exception:  # noqa: BLE001 - whatever a file system or a TLS stack raises means the same here
            raise tuf.DownloadError("download") from None
        kept.seek(0)
        yield kept

    def _fetch(self, url: str) -> Iterator[bytes]:
        return self._of_file(url) if urlsplit(url).scheme == "file" else self._of_server(url)

    def close(self) -> None:
        """End the connection that is kept for the next download."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _of_file(self, url: str) -> Iterator[bytes]:
        try:
            handle = os.open(unquote(urlsplit(url).path), os.O_RDONLY | os.O_NONBLOCK)
        except FileNotFoundError:
            raise tuf.DownloadHTTPError("not found", 404) from None
        with open(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise tuf.DownloadError("not a file")
            while chunk := file.read(_CHUNK):
                yield chunk

    def _of_server(self, url: str) -> Iterator[bytes]:
        parts = urlsplit(url)
        connection = self._connected(parts.hostname or "", parts.port or 443)
        connection.request("GET", parts.path, headers={"User-Agent": "blocklist-resolver"})
        response = connection.getresponse()
        if response.status != 200:
            self.close()
            raise tuf.DownloadHTTPError("status", response.status)
        while chunk := response.read(_CHUNK):
            yield chunk
        if response.length:
            raise tuf.DownloadError("cut short")

    def _connected(self, host: str, port: int) -> Any:
        if self._connection is None:
            import http.client
            import ssl

            context = ssl.create_default_context(cafile=self._request.ca or None)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self._request.certificate:
                context.load_cert_chain(self._request.certificate, self._request.key)
            self._connection = http.client.HTTPSConnection(host, port, timeout=_STEP_SECONDS, context=context)
        return self._connection


def reason_of(error: Exception) -> Reason:
    """The reason behind an error of the TUF client; its text is looked at, never passed on."""
    text = str(error)
    match error:
        case tuf.DownloadLengthMismatchError():
            return Reason.OVERSIZED
        case tuf.DownloadError():
            return Reason.UNREACHABLE
        case tuf.ExpiredMetadataError():
            # Someone who holds back new timestamps and an authority that has stopped look alike: frozen.
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


def updater_of(request: FetchRequest, fetcher: FetcherInterface) -> Updater:
    """A TUF client for one request; Failed where the pinned root is of no use."""
    config = UpdaterConfig(
        max_root_rotations=shapes.MAX_ROOT_ROTATIONS,
        max_delegations=0,
        root_max_length=shapes.MAX_ROOT_BYTES,
        timestamp_max_length=shapes.MAX_TIMESTAMP_BYTES,
        snapshot_max_length=shapes.MAX_SNAPSHOT_BYTES,
        targets_max_length=shapes.MAX_TARGETS_BYTES,
    )
    try:
        pinned = Path(request.root).read_bytes()
    except OSError:
        raise Failed(Reason.ROOT_UNUSABLE) from None
    url = request.url.rstrip("/")
    try:
        Path(request.metadata).mkdir(mode=0o700, parents=True, exist_ok=True)
        return Updater(
            metadata_dir=request.metadata,
            metadata_base_url=f"{url}/metadata/",
            target_base_url=f"{url}/targets/",
            fetcher=fetcher,
            config=config,
            bootstrap=pinned,
        )
    except tuf.RepositoryError:
        raise Failed(Reason.ROOT_UNUSABLE) from None
    except OSError:
        raise Failed(Reason.STATE_NOT_WRITTEN) from None


def facts_of(request: FetchRequest, target: TargetFile) -> Facts:
    """The verified facts of `target`; the metadata files read here are those that have just verified."""
    folder = Path(request.metadata)
    root = Metadata[Root].from_bytes((folder / "root.json").read_bytes()).signed
    timestamp = Metadata[Timestamp].from_bytes((folder / "timestamp.json").read_bytes()).signed
    keys = sorted(
        f"{key.keytype} {key.scheme} {key.keyval.get('public')}"
        for key in (root.keys[keyid] for keyid in root.roles["targets"].keyids)
    )
    if "sha256" not in target.hashes:
        raise Failed(Reason.MALFORMED)
    if target.length > request.max_bytes:
        raise Failed(Reason.OVERSIZED)
    try:
        custom = shapes.custom_of(target.custom)
    except shapes.CustomMalformed:
        raise Failed(Reason.MALFORMED) from None
    return Facts(
        digest=target.hashes["sha256"],
        length=target.length,
        custom=custom,
        targets_keys=hashlib.sha256("\n".join(keys).encode()).hexdigest()[:32],
        root_version=root.version,
        pinned=hashlib.sha256(Path(request.root).read_bytes()).hexdigest(),
        fresh_until=int(timestamp.expires.timestamp()),
    )


def fetch(request: FetchRequest, wanted: Callable[[Facts], bool]) -> bool:
    """Verify, and write the list to the output where `wanted` says so; return whether it was written."""
    fetcher = Fetcher(request)
    updater = updater_of(request, fetcher)
    try:
        updater.refresh()
        target = updater.get_targetinfo(request.target)
        if target is None:
            raise Failed(Reason.UNKNOWN_TARGET)
        if not wanted(facts_of(request, target)):
            return False
        updater.download_target(target, filepath=f"/proc/self/fd/{request.output}")
    except Failed:
        raise
    except Exception as error:  # noqa: BLE001 - every error of the client becomes a reason: its text may tell what was read
        raise Failed(reason_of(error)) from None
    finally:
        fetcher.close()
    return True


def _work() -> None:
    request = msgspec.json.decode(sys.stdin.buffer.readline(), type=FetchRequest)
    os.umask(0o077)
    confine(request.parent, request.memory_bytes, request.output)

    def wanted(facts: Facts) -> bool:
        say({"facts": msgspec.to_builtins(facts)})
        return sys.stdin.buffer.readline() == b"go\n"

    say({"done": fetch(request, wanted)})


if __name__ == "__main__":
    sys.exit(run(_work))
