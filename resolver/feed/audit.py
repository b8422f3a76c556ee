"""The log of list operations: one JSON line each, chained by hash, on the disk before the operation goes on.

Rules:
- A line holds the SHA-256 of the line before it: a line changed, removed or put in between breaks the chain.
- A line says list, serial, digest and event of a closed list; never a name, never a client.
- A line that a crash cut short is closed and counted as torn when the log is next opened; it ends no chain.
"""

import hashlib
import os
import threading
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

_FIRST: Final = "0" * 64
MAX_LINE_BYTES: Final = 4096


class Event(StrEnum):
    """What happened to a list."""

    IN_FORCE = "in_force"
    HELD = "held"
    RELEASED = "released"
    QUARANTINED = "quarantined"
    GONE_BACK = "gone_back"
    WITHDRAWN = "withdrawn"
    LIFTED = "lifted"
    SUSPENDED = "suspended"
    FLOOR_RESET = "floor_reset"
    RECOVERED = "recovered"
    TORN = "torn"
    APPROVED = "approved"
    RESUMED = "resumed"
    ROLLBACK_CONFIRMED = "rollback_confirmed"
    RELEASED_NAME = "released_name"
    RELEASE_CONFIRMED = "release_confirmed"
    RELEASE_ENDED = "release_ended"


class Entry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of the log; `at` in unix seconds."""

    number: int
    at: int
    event: Event
    list: str
    serial: int
    digest: str
    detail: str
    previous: str


class ChainBroken(Exception):
    """The log does not hold together; says at which line."""


class Audit:
    """The log at `path`, open for appending."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = path
        self._lock = threading.Lock()
        lines, torn = _lines(path)
        self._number = len(lines)
        self._head = hashlib.sha256(lines[-1]).hexdigest() if lines else _FIRST
        if torn:
            os.truncate(path, sum(len(line) + 1 for line in lines))
        self.torn = torn

    def head(self) -> tuple[int, str]:
        """Number and hash of the last line; 0 and zeros where there is none."""
        with self._lock:
            return self._number, self._head

    def append(
        self, event: Event, at: float, *, list_id: str, serial: int, digest: str, detail: str = ""
    ) -> None:
        """Write one line and have it on the disk; OSError where it could not be."""
        with self._lock:
            entry = Entry(
                number=self._number + 1,
                at=int(at),
                event=event,
                list=list_id,
                serial=serial,
                digest=digest,
                detail=detail,
                previous=self._head,
            )
            line = msgspec.json.encode(entry)
            handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(handle, line + b"\n")
                os.fsync(handle)
            finally:
                os.close(handle)
            self._number += 1
            self._head = hashlib.sha256(line).hexdigest()


def verify(path: Path) -> tuple[list[Entry], str]:
    """All entries and the head of the chain; ChainBroken with the line's number where it does not hold."""
    lines, torn = _lines(path)
    if torn:
        raise ChainBroken(f"line {len(lines) + 1}: cut short")
    head, entries = _FIRST, []
    for number, line in enumerate(lines, 1):
        try:
            entry = msgspec.json.decode(line, type=Entry)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise ChainBroken(f"line {number}: not an entry") from None
        if entry.previous != head or entry.number != number:
            raise ChainBroken(f"line {number}: does not follow the line before it")
        head = hashlib.sha256(line).hexdigest()
        entries.append(entry)
    return entries, head


def _lines(path: Path) -> tuple[list[bytes], bool]:
    """The complete lines, and whether there is a rest without an end."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return [], False
    lines = data.split(b"\n")
    rest = lines.pop()
    return lines, bool(rest)
