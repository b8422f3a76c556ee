"""Keeps the bundles that a host has issued; each names the one before it.

    STATE/evidence/issued.json       for each bundle: number, month, SHA-256, number of the bundle it replaces
    STATE/evidence/NUMBER-MONTH.json the bundle itself, as it was handed out

Rules:
- The first bundle may be of any month that is over; from then on months come in their order, without a hole.
- A month that was issued is handed out again octet for octet. A correction is a new bundle with its own number; it
  names the bundle that it replaces, and why.
- A bundle is on the disk before issued.json names it, and there before it is handed out.
- A kept bundle whose hash differs from the recorded one is an error, never skipped.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct

from resolver import atomic_file
from resolver.evidence import month
from resolver.evidence.bundle import Chain, Issue, hash_of

_FILE: Final = "issued.json"
_LOCK: Final = ".lock"


class NotIssued(Exception):
    """The month cannot be issued now; the text says why and what to do."""


class _Issued(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    number: int
    month: str
    sha256: str
    replaces: int = 0


class _Written(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: Literal[1] = 1
    issued: tuple[_Issued, ...] = ()


class Bundles:
    """The issued bundles of one host, in their folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._issued = self._read()

    def of(self, name: str) -> Issue | None:
        """Return the newest bundle of a month, or None."""
        return next((_issue(one) for one in reversed(self._issued) if one.month == name), None)

    def data_of(self, issue: Issue) -> bytes:
        """Return a bundle as it was handed out; NotIssued if the kept file is missing or changed."""
        path = self._path(issue.number, issue.month)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise NotIssued(f"{path}: {error.strerror}: restore it from a copy that was handed out") from None
        if hash_of(data) != issue.sha256:
            raise NotIssued(f"{path}: changed since it was issued: restore it from a copy that was handed out")
        return data

    def next(self, name: str, why: str = "") -> Chain:
        """Return the place of a new bundle in the chain; NotIssued if this month is not next.

        why: the reason for a correction; "" for the first bundle of a month.
        """
        last, again = (_issue(self._issued[-1]) if self._issued else None), self.of(name)
        if why and again is None:
            raise NotIssued(f"{name} has not been issued: there is nothing to correct")
        if not why and again is not None:
            raise NotIssued(f"{name} has already been issued: --correct makes a new bundle that replaces it")
        newest = max((one.month for one in self._issued), default="")
        if newest and again is None and name != month.after(newest):
            said = f"issue {month.after(newest)} first" if name > newest else "the chain of this host starts later"
            raise NotIssued(f"{name} does not follow {newest}, the newest month that was issued: {said}")
        return Chain(
            number=last.number + 1 if last else 1,
            before=last,
            previous_month=self.of(month.before(name)),
            replaces=again,
            why=why,
        )

    def keep(self, chain: Chain, name: str, data: bytes) -> None:
        """Store a bundle, then record it as issued; OSError."""
        atomic_file.write(self._path(chain.number, name), data)
        one = _Issued(
            number=chain.number,
            month=name,
            sha256=hash_of(data),
            replaces=chain.replaces.number if chain.replaces else 0,
        )
        issued = (*self._issued, one)
        atomic_file.write(
            self._folder / _FILE, msgspec.json.format(msgspec.json.encode(_Written(issued=issued)), indent=1)
        )
        self._issued = issued

    def _read(self) -> tuple[_Issued, ...]:
        path = self._folder / _FILE
        try:
            found = msgspec.json.decode(path.read_bytes(), type=_Written).issued
        except FileNotFoundError:
            if any(self._folder.glob("*-*.json")):
                raise NotIssued(f"{path}: missing, though bundles were issued: restore it from a backup") from None
            return ()
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise NotIssued(f"{path}: damaged: restore it from a backup") from None
        if [one.number for one in found] != list(range(1, len(found) + 1)):
            raise NotIssued(f"{path}: damaged: restore it from a backup")
        return found

    def _path(self, number: int, name: str) -> Path:
        return self._folder / f"{number:04}-{name}.json"


@contextmanager
def alone(folder: Path) -> Iterator[Bundles]:
    """Hold the lock of `folder` and yield its bundles; OSError if the folder cannot be used."""
    folder.mkdir(mode=0o700, exist_ok=True)
    handle = os.open(folder / _LOCK, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        atomic_file.drop_parts(folder)
        yield Bundles(folder)
    finally:
        os.close(handle)


def _issue(one: _Issued) -> Issue:
    return Issue(number=one.number, month=one.month, sha256=one.sha256)
