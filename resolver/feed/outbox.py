"""Delivers signed statements: writes each to the disk first, then sends it until the authority has it.

    STATE/receipts/NAME.json    a statement, kept for [state] audit_keep
    STATE/receipts/NAME.due     its mark: the id of the list to whose source it is still to be delivered

Rules:
- The mark is on the disk before the statement, and both before delivery: a crash may repeat a delivery, never lose it.
- One delivery at a time, the oldest first; a failed one is tried again, with growing pauses.
- A folder receives a file whole or not at all, as HOST-NAME.json.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from resolver import atomic_file
from resolver.config.config import Source
from resolver.feed.transport import NotFetched
from resolver.signed import statement

FIRST_PAUSE_S: Final = 10
LONGEST_PAUSE_S: Final = 900
_SUFFIX: Final = ".json"
_DUE: Final = ".due"

_log: Final = logging.getLogger("resolver.feed")


class Due(NamedTuple):
    """The number of undelivered statements, and when the oldest was written (unix seconds; 0 if there is none)."""

    statements: int
    since: int


Send = Callable[[Source, bytes], None]
"""Posts a statement to a source's `receipt` URL; OSError or NotFetched if it was not accepted."""


class Outbox:
    """The statements of one host.

    key: returns the key to sign with, or raises OSError. now: returns unix seconds. sources: the source of each list,
    by id.
    """

    def __init__(
        self,
        folder: Path,
        key: Callable[[], Ed25519PrivateKey],
        host: str,
        sources: Mapping[str, Source],
        *,
        keep_s: float,
        send: Send,
        now: Callable[[], float],
    ) -> None:
        self.host = host
        self._folder = folder.absolute()
        self._key = key
        self._sources = sources
        self._keep_s = keep_s
        self._send = send
        self._now = now
        self._wake = asyncio.Event()
        self.undelivered: Mapping[str, int] = {}
        """The number of undelivered statements of each list that has any, after the last delivery."""

    def configure(self, sources: Mapping[str, Source]) -> None:
        """Deliver to these sources from now on. What is due to a list that has gone is no longer delivered."""
        self._sources = sources

    def prepare(self) -> None:
        """Make the folder, and remove what a crash left half written.

        A folder that cannot be used is logged and ends nothing: each receipt is tried again.
        """
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            atomic_file.drop_parts(self._folder)
            for mark in self._folder.glob(f"*{_DUE}"):
                if not mark.with_suffix(_SUFFIX).exists():
                    mark.unlink()
            self._key()
            self.undelivered = self._counted()
        except OSError as error:
            said = "receipts cannot be written (%s: %s): lists are enforced without them until that is mended"
            _log.error(said, error.filename or self._folder, error.strerror)

    def put(self, name: str, list_id: str, said: Mapping[str, Any]) -> Path:
        """Sign a statement, write it for delivery, and return its path; OSError if it cannot be written.

        The file is called `name`, with a number if that is taken. May run in another thread than `run`.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path, number = self._path(name), 1
        while path.exists():
            number += 1
            path = self._path(f"{name}-{number}")
        source = self._sources.get(list_id)
        if source is not None and source.receipt:
            atomic_file.write(path.with_suffix(_DUE), list_id.encode())
        atomic_file.write(path, statement.sign(said, self._key()))
        return path

    def has(self, name: str) -> bool:
        """Return whether a statement of this name was written."""
        return self.written_at(name) > 0

    def written_at(self, name: str) -> int:
        """Return when a statement of this name was written (unix seconds); 0 if it was not."""
        return written_at(self._folder, name)

    def waiting(self, list_id: str) -> int:
        """Return the number of undelivered statements of a list."""
        return self.due(list_id).statements

    def due(self, list_id: str) -> Due:
        """Return number and age of the undelivered statements of a list."""
        return due(self._folder, list_id)

    def wake(self) -> None:
        """Start a delivery now."""
        self._wake.set()

    async def run(self) -> None:
        """Deliver statements until cancelled."""
        pause = FIRST_PAUSE_S
        while True:
            self._wake.clear()
            done = await asyncio.to_thread(self.deliver)
            pause = FIRST_PAUSE_S if done else min(2 * pause, LONGEST_PAUSE_S)
            try:
                async with asyncio.timeout(LONGEST_PAUSE_S if done else pause):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def deliver(self) -> bool:
        """Deliver what is due, oldest first; remove statements kept long enough. Return whether all were delivered."""
        failed: dict[str, str] = {}
        for mark in _marks(self._folder):
            list_id = _text(mark)
            if list_id in failed:
                continue
            try:
                self._offer(list_id, mark)
            except OSError as error:
                where = self._sources[list_id].receipt if list_id in self._sources else self._folder
                failed[list_id] = f"{where}: {error.strerror or type(error).__name__}"
            except NotFetched:
                failed[list_id] = self._sources[list_id].receipt
        for list_id, why in sorted(failed.items()):
            said = "list %s: a receipt could not be delivered (%s); it is kept and will be sent again"
            _log.warning(said, list_id, why)
        self.undelivered = self._counted()
        self._forget()
        return not failed

    def _counted(self) -> Mapping[str, int]:
        return Counter(_text(mark) for mark in _marks(self._folder))

    def _offer(self, list_id: str, mark: Path) -> None:
        source = self._sources.get(list_id)
        path = mark.with_suffix(_SUFFIX)
        if source is not None and source.receipt and path.exists():
            name, data = f"{self.host}-{path.name}", path.read_bytes()
            if source.receipt.startswith("/"):
                atomic_file.write(Path(source.receipt) / name, data, 0o640)
            else:
                self._send(source, data)
        mark.unlink()

    def _forget(self) -> None:
        oldest = self._now() - self._keep_s
        for path in self._folder.glob(f"*{_SUFFIX}"):
            if path.stat().st_mtime < oldest and not path.with_suffix(_DUE).exists():
                path.unlink()

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}{_SUFFIX}"


def written_at(folder: Path, name: str) -> int:
    """Return when a statement of this name was written in `folder` (unix seconds); 0 if it was not."""
    try:
        return int((folder / f"{name}{_SUFFIX}").stat().st_mtime)
    except OSError:
        return 0


def due(folder: Path, list_id: str) -> Due:
    """Return number and age of the undelivered statements of a list in `folder`."""
    ages = [_age(mark)[0] // 10**9 for mark in _marks(folder) if _text(mark) == list_id]
    return Due(len(ages), min(ages, default=0))


def _marks(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{_DUE}"), key=_age)


def _age(path: Path) -> tuple[int, str]:
    try:
        return path.stat().st_mtime_ns, path.name
    except OSError:
        return 0, path.name


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
