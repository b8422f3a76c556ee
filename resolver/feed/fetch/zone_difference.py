"""Interprets an answer to AXFR or IXFR, in marked lines (core.transfer): nothing new, a whole zone, or differences.

Rules (RFC 1995 section 4):
- One SOA that is not ahead of ours, alone in the first message: nothing new.
- An SOA, then anything but our SOA: the whole zone, up to the same SOA again.
- An SOA, then our SOA: differences. Each is an SOA, the removed records, an SOA, the added records. The first starts at
  our serial, each later one at the SOA that the one before led to; each leads forward, and none past the first SOA of
  the answer, which ends the last one.
- A removed record must exist and an added one must not, at that point; nothing follows the end. Otherwise the whole
  answer is dropped.
- A record without effect (core.rpz) is not an entry, and is not checked.
- Each record of a name is an entry of its own: the name is listed as long as one of them is left.
"""

import bisect
import itertools
import operator
from collections.abc import Iterator, Sequence
from enum import Enum, auto
from typing import Final

from resolver.core import transfer

_HALF: Final = 2**31
_WRAP: Final = 2**32
_REFUSED: Final = ord("?")
# Lines handled at once: a zone's lines and its entries are never all in memory at the same time.
_STEP: Final = 4096


class NotATransfer(Exception):
    """The records are not a valid answer to the query."""


class Form(Enum):
    """The form of an answer, or the part of it that is expected next."""

    BEGIN = auto()
    SECOND = auto()
    NOTHING_NEW = auto()
    WHOLE = auto()
    GOES = auto()
    COMES = auto()


def is_ahead(serial: int, of: int) -> bool:
    """Return whether a serial is greater than another (RFC 1982)."""
    return 0 < (serial - of) % _WRAP < _HALF


class Answer:
    """An answer that is being received.

    entries: the entries of our copy, sorted, each once. ours: the serial of our copy, None if the whole zone was asked
    for. closed: whether the last record was received. serial: the zone's serial after the answer.
    """

    def __init__(self, entries: Sequence[bytes] = (), ours: int | None = None) -> None:
        self.closed = False
        self.serial = 0
        self._entries = entries
        self._ours = ours
        self._form = Form.BEGIN
        self._first = b""
        # The line of the SOA that the differences have reached so far.
        self._at = b""
        self._whole: list[bytes] = []
        self._there: dict[bytes, bool] = {}

    @property
    def is_whole(self) -> bool:
        """Return whether the answer is a whole zone, not differences."""
        return self._form is Form.WHOLE

    def take(self, lines: bytes) -> None:
        """Take the marked lines of one message, each with its line end; NotATransfer if they cannot come next."""
        if self._form is Form.WHOLE and not self.closed and b"@" not in lines:
            self._whole.append(lines)
            return
        records = lines.split(b"\n")[:-1]
        for one in records:
            self._take(one)
        # A server may send each record in a message of its own: a lone SOA ends the answer only if it is not ahead.
        if self._form is Form.SECOND and self._ours is not None and not is_ahead(self.serial, self._ours):
            self._form = Form.NOTHING_NEW
            self.closed = True

    def _take(self, line: bytes) -> None:
        if self.closed:
            raise NotATransfer
        if line[:1] == b"@":
            self._take_soa(line)
        elif self._form is Form.BEGIN:
            raise NotATransfer
        elif self._form in (Form.SECOND, Form.WHOLE):
            self._form = Form.WHOLE
            if line:
                self._whole.append(line + b"\n")
        elif line:
            comes = self._form is Form.COMES
            if self._is_there(line) is comes:
                raise NotATransfer
            self._there[line] = comes

    def _take_soa(self, line: bytes) -> None:
        serial = int(line[1:9], 16)
        if self._form is Form.BEGIN:
            self._form, self._first, self.serial = Form.SECOND, line, serial
        elif self._form is Form.SECOND and serial == self._ours != self.serial:
            self._form, self._at = Form.GOES, line
        elif self._form in (Form.SECOND, Form.WHOLE):
            self._form = Form.WHOLE
            self._close(line)
        elif self._form is Form.GOES:
            begun = int(self._at[1:9], 16)
            if not is_ahead(serial, begun) or (line != self._first and not is_ahead(self.serial, serial)):
                raise NotATransfer
            self._form, self._at = Form.COMES, line
        elif line != self._at:
            raise NotATransfer
        elif line == self._first:
            self.closed = True
        else:
            self._form = Form.GOES

    def _close(self, line: bytes) -> None:
        if line != self._first:
            raise NotATransfer
        self.closed = True
        whole, self._whole = b"".join(self._whole), []
        self._entries = list(once(whole))

    def _is_there(self, entry: bytes) -> bool:
        said = self._there.get(entry)
        return self._is_ours(entry) if said is None else said

    def _is_ours(self, entry: bytes) -> bool:
        at = bisect.bisect_left(self._entries, entry)
        return at < len(self._entries) and self._entries[at] == entry

    def result(self) -> list[bytes]:
        """Return the zone's entries after a closed answer, sorted, each once."""
        if self._form is Form.WHOLE:
            return list(self._entries)
        comes = [entry for entry, there in self._there.items() if there and not self._is_ours(entry)]
        gone = {entry for entry, there in self._there.items() if not there}
        found = [entry for entry in self._entries if entry not in gone] if gone else list(self._entries)
        return sorted(found + comes)


def once(data: bytes) -> Iterator[bytes]:
    """Yield the lines of `data` that are not empty, sorted by octets, each once."""
    lines = data.split(b"\n")
    lines.sort()
    del lines[: bisect.bisect_right(lines, b"")]
    return itertools.compress(lines, map(operator.ne, lines, itertools.chain(lines[1:], (b"",))))


def lines_of(entries: Sequence[bytes]) -> bytes:
    """Return the list of a zone's sorted entries; it does not depend on the kind of transfer.

    The line of a name stands once, a refused trigger or action as often as it occurs.
    """
    parts, before = [], b""
    for at in range(0, len(entries), _STEP):
        lines = [entry[: -transfer.MARK_OCTETS] for entry in entries[at : at + _STEP]]
        kept = [one for one, last in zip(lines, (before, *lines), strict=False) if _counts(one, last)]
        parts.append(b"".join(one + b"\n" for one in kept))
        before = lines[-1]
    return b"".join(parts)


def _counts(line: bytes, before: bytes) -> bool:
    return line != before or line[0] == _REFUSED
