"""Keeps the audit log: a chain of JSON lines, each on the disk before its operation goes on.

Rules:
- A line holds the SHA-256 of the line before it: a line that is changed, removed or inserted breaks the chain.
- A line holds list, serial, digest and an event of a closed set; never a name, never a client.
- A line that a crash cut short is removed and recorded as torn when the log is next opened; the chain stays whole.
- Number and hash of the newest entry are kept beside the log and in receipts: a log that was cut short or replaced does
  not match them. This is reported, in the log too; the service goes on.
- Each entry is also one line of the journal, with list, serial, what was done and which person decided it: a collector
  of journals sees every operation on a list.
- A log that cannot be read or written is opened again before each entry; until then an operation that needs one fails.
- Old entries are cut only from the front, after an entry with number and hash of the last one cut. The log can be read
  and verified while others append to it.
"""

import errno
import hashlib
import logging
import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from resolver import atomic_file

_FIRST: Final = "0" * 64
MAX_LINE_BYTES: Final = 4096

_log: Final = logging.getLogger("resolver.audit")


class Event(StrEnum):
    """An operation on a list."""

    IN_FORCE = "in_force"
    HELD = "held"
    ACCEPTED_HELD = "released"
    QUARANTINED = "quarantined"
    GONE_BACK = "gone_back"
    WITHDRAWN = "withdrawn"
    LIFTED = "lifted"
    SUSPENDED = "suspended"
    FLOOR_RESET = "floor_reset"
    RECOVERED = "recovered"
    TORN = "torn"
    TRIMMED = "trimmed"
    CHAIN_BROKEN = "chain_broken"
    APPROVED = "approved"
    RESUMED = "resumed"
    ROLLBACK_CONFIRMED = "rollback_confirmed"
    RELEASED_NAME = "released_name"
    RELEASE_CONFIRMED = "release_confirmed"
    RELEASE_ENDED = "release_ended"
    EXPORTED = "exported"
    EXPORT_ENDED = "export_ended"


WORDS: Final = {
    Event.IN_FORCE: "put in force",
    Event.HELD: "held",
    Event.ACCEPTED_HELD: "no longer held",
    Event.QUARANTINED: "quarantined",
    Event.GONE_BACK: "in force again",
    Event.WITHDRAWN: "withdrawn, blocks nothing now",
    Event.LIFTED: "lifted, blocks nothing now",
    Event.SUSPENDED: "new entries suspended",
    Event.FLOOR_RESET: "floor of the replaced keys dropped",
    Event.RECOVERED: "recovered at the start",
    Event.TORN: "the last line of the audit log was cut short, and is removed",
    Event.TRIMMED: "old entries cut from the audit log",
    Event.CHAIN_BROKEN: "the audit log does not verify",
    Event.APPROVED: "signed",
    Event.RESUMED: "suspended entries resumed",
    Event.ROLLBACK_CONFIRMED: "rollback confirmed",
    Event.RELEASED_NAME: "a name released",
    Event.RELEASE_CONFIRMED: "release confirmed",
    Event.RELEASE_ENDED: "release ended",
    Event.EXPORTED: "its names leave sealed storage from now on",
    Event.EXPORT_ENDED: "its names leave sealed storage no more",
}
"""What the journal says of each event."""


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


_DECODER: Final = msgspec.json.Decoder(Entry)


class ChainBroken(Exception):
    """The log is not one chain, or lacks an entry that was written; the text says where."""


class Head(NamedTuple):
    """Number and hash of an entry; number 0 for an empty log."""

    number: int
    hash: str


class Audit:
    """The log at `path`. broken: the fault found when it was opened, "" if none.

    later: leave the folder as it is until `open`: another process still writes there.
    """

    def __init__(self, path: Path, *, later: bool = False) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._known = False
        self._head = Head(0, _FIRST)
        self.broken = ""
        self.torn = False
        if not later:
            self._prepare()
            with suppress(OSError):
                self._read()

    def open(self, at: float) -> None:
        """Append an entry if the log was torn or does not verify; OSError if it cannot be read or written.

        at: in unix seconds.
        """
        with self._lock:
            if not self._known:
                self._prepare()
                self._read()
            self._note_faults(at)

    def _prepare(self) -> None:
        """Make the folder, and remove what a crash left half written."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        atomic_file.drop_parts(self._path.parent)

    def _note_faults(self, at: float) -> None:
        if self.torn:
            self._append(Event.TORN, at, list_id="", serial=0, digest="", detail="")
        if self.broken:
            _log.error("the audit log does not verify: %s; see: blocklist-resolver list audit", self.broken)
            self._append(Event.CHAIN_BROKEN, at, list_id="", serial=0, digest="", detail=self.broken)

    def _read(self) -> None:
        path = self._path
        kept = _kept_head(path)
        lines, torn = _lines(path)
        self.broken = ""
        try:
            entries = _entries(lines)
            self._head = _newest(entries, lines, kept)
        except ChainBroken as broken:
            self.broken = str(broken)
            self._head = Head(max(len(lines), kept.number), _hash(lines[-1]) if lines else _FIRST)
        if torn:
            os.truncate(path, sum(len(line) + 1 for line in lines))
        self.torn = torn
        self._known = True

    def head(self) -> Head:
        """Return number and hash of the newest entry; OSError if the log could not be opened yet."""
        with self._lock:
            if not self._known:
                raise OSError(errno.EACCES, "the audit log is not open", str(self._path))
            return self._head

    def append(
        self,
        event: Event,
        at: float,
        *,
        list_id: str,
        serial: int,
        digest: str,
        detail: str = "",
        by: str = "",
    ) -> None:
        """Write one entry to the disk, and a line to the journal; OSError if that fails.

        by: the person whose decision this is, for the journal; "" if it is nobody's, or if `detail` says whose.
        """
        with self._lock:
            if not self._known:
                self._read()
                self._note_faults(at)
            self._append(event, at, list_id=list_id, serial=serial, digest=digest, detail=detail)
            number = self._head.number
        about = f"list {list_id}: serial {serial}: " if list_id else ""
        said = "".join((about, WORDS[event], detail and f" ({detail})", by and f", by {by}"))
        _log.info("%s; entry %d of the audit log", said, number)

    def _append(self, event: Event, at: float, *, list_id: str, serial: int, digest: str, detail: str) -> None:
        entry = Entry(
            number=self._head.number + 1,
            at=int(at),
            event=event,
            list=list_id,
            serial=serial,
            digest=digest,
            detail=detail,
            previous=self._head.hash,
        )
        line = line_of(entry)
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            before = os.fstat(handle).st_size
            try:
                if os.write(handle, line + b"\n") <= len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(handle)
            except OSError:
                # An entry that may not be on the disk counts as not written: the next one gets its number.
                os.ftruncate(handle, before)
                raise
        finally:
            os.close(handle)
        self._head = Head(entry.number, _hash(line))
        atomic_file.write(_head_path(self._path), f"{self._head.number} {self._head.hash}\n".encode())

    def trim(self, before: float, now: float) -> int:
        """Cut the entries before a time (unix seconds) from the front; return how many. OSError if writing fails.

        A broken log is left as it is.
        """
        if self.broken or not self._known or not _begins_before(self._path, before):
            return 0
        lines, _ = _lines(self._path)
        try:
            entries = _entries(lines)
        except ChainBroken:
            return 0
        cut = next((number for number, entry in enumerate(entries) if entry.at >= before), len(entries))
        detail = f"{entries[cut - 1].number} {_hash(lines[cut - 1])}"
        kept = b"".join(line + b"\n" for line in lines[cut:])
        with self._lock:
            self._append(Event.TRIMMED, now, list_id="", serial=0, digest="", detail=detail)
            with open(self._path, "rb") as file:
                file.seek(sum(len(line) + 1 for line in lines))
                atomic_file.write(self._path, kept + file.read())
        return cut


def _begins_before(path: Path, before: float) -> bool:
    """Return whether the first entry is from before a time (unix seconds)."""
    try:
        with open(path, "rb") as file:
            return _DECODER.decode(file.readline(MAX_LINE_BYTES)).at < before
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        return False


def verify(path: Path) -> tuple[list[Entry], str]:
    """Return all entries and the hash of the newest; ChainBroken if the log is broken or lacks a written entry."""
    chain, hashes = verified(path)
    return chain, hashes[-1]


def verified(path: Path) -> tuple[list[Entry], list[str]]:
    """Return all entries, and the hash before the first and of each; ChainBroken as in `verify`."""
    # The head first: another process may append an entry between the two reads.
    kept = _kept_head(path)
    lines, torn = _lines(path)
    if torn:
        raise ChainBroken(f"line {len(lines) + 1}: cut short")
    entries = _entries(lines)
    _newest(entries, lines, kept)
    found = next((entry for entry in entries if entry.event is Event.CHAIN_BROKEN), None)
    if found is not None:
        raise ChainBroken(f"entry {found.number} records that the log was broken at a start: {found.detail}")
    return entries, [entries[0].previous if entries else _FIRST, *map(_hash, lines)]


def line_of(entry: Entry) -> bytes:
    """Return an entry as it is written in the log, without the end of line."""
    return msgspec.json.encode(entry)


def chained(lines: Iterable[bytes], head: Head | None = None) -> tuple[list[Entry], Head | None]:
    """Return the entries of lines that follow `head`, and the head after them; ChainBroken at the first that does not.

    head: None to trust the first line for what is before it.
    """
    entries = []
    for at, line in enumerate(lines, 1):
        try:
            entry = _DECODER.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise ChainBroken(f"line {at}: not an entry") from None
        if head is None:
            head = Head(0, _FIRST) if entry.number == 1 else Head(entry.number - 1, entry.previous)
        if (entry.number, entry.previous) != (head.number + 1, head.hash):
            raise ChainBroken(f"line {at}: does not follow the line before it")
        head = Head(entry.number, _hash(line))
        entries.append(entry)
    return entries, head


def _entries(lines: list[bytes]) -> list[Entry]:
    """Return the entries of a log from its first line; ChainBroken if it is not one chain."""
    entries, _ = chained(lines)
    if entries and entries[0].number != 1:
        cut = f"{entries[0].number - 1} {entries[0].previous}"
        if not any(entry.event is Event.TRIMMED and entry.detail == cut for entry in entries):
            raise ChainBroken(f"line 1 is entry {entries[0].number}, and no entry records a cut of those before it")
    return entries


def _newest(entries: list[Entry], lines: list[bytes], kept: Head) -> Head:
    """Return the newest entry; ChainBroken if the last one that was written is missing."""
    first = entries[0].number if entries else 1
    at = kept.number - first
    if kept.number and not (0 <= at < len(lines) and _hash(lines[at]) == kept.hash):
        raise ChainBroken(f"entry {kept.number}, which was written, is missing: cut short, or another log")
    return Head(entries[-1].number, _hash(lines[-1])) if entries else Head(0, _FIRST)


def _hash(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def _head_path(path: Path) -> Path:
    return path.with_suffix(".head")


def _kept_head(path: Path) -> Head:
    """Return the last written entry, as kept beside the log; number 0 if none is kept."""
    try:
        number, _, head = _head_path(path).read_text("ascii").strip().partition(" ")
        return Head(int(number), head)
    except (OSError, ValueError):
        return Head(0, _FIRST)


def _lines(path: Path) -> tuple[list[bytes], bool]:
    """Return the complete lines, and whether an incomplete one follows."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return [], False
    lines = data.split(b"\n")
    rest = lines.pop()
    return lines, bool(rest)
