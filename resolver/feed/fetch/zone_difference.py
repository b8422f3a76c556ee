"""An answer to AXFR or IXFR, from its marked lines (core.transfer): nothing new, a whole zone, or differences.

Rules (RFC 1995 4):
- One SOA that is not ahead of ours, alone in the first message: nothing new.
- An SOA, and then anything but our SOA: the whole zone, up to the same SOA again.
- An SOA, then ours: differences, each an SOA, what goes, an SOA, what comes. They begin at our serial, each begins with
  the SOA that the one before led to, each leads on and none past the first SOA, which closes them.
- What goes is there and what comes is not, at that point of the order; nothing comes after the end. Else no line of the
  answer counts.
- A record that says nothing (core.rpz) is no entry, and is not looked for.
- Of the records of one name each is an entry of its own: a name is listed while any of them is left.
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
# So many lines at once: a zone's lines and its entries are never all in memory beside each other.
_STEP: Final = 4096


class NotATransfer(Exception):
    """The records are no answer to what was asked."""


class Form(Enum):
    """What an answer is, or waits for."""

    BEGIN = auto()
    SECOND = auto()
    NOTHING_NEW = auto()
    WHOLE = auto()
    GOES = auto()
    COMES = auto()


def is_ahead(serial: int, of: int) -> bool:
    """Whether a serial is greater than another (RFC 1982)."""
    return 0 < (serial - of) % _WRAP < _HALF


class Answer:
    """One answer on its way. `entries`: those that we have, sorted, each once; `ours`: their zone's serial, None where
    the whole zone was asked for. closed: whether the answer's last record has come; serial: the zone's then."""

    def __init__(self, entries: Sequence[bytes] = (), ours: int | None = None) -> None:
        self.closed = False
        self.serial = 0
        self._entries = entries
        self._ours = ours
        self._form = Form.BEGIN
        self._first = b""
        # The line of the SOA that the records so far have led to.
        self._at = b""
        self._whole: list[bytes] = []
        self._there: dict[bytes, bool] = {}

    @property
    def is_whole(self) -> bool:
        """Whether it says what is, and not what has changed."""
        return self._form is Form.WHOLE

    def take(self, lines: bytes) -> None:
        """Take the marked lines of one message, each ended; NotATransfer where they cannot be its next records."""
        if self._form is Form.WHOLE and not self.closed and b"@" not in lines:
            self._whole.append(lines)
            return
        records = lines.split(b"\n")[:-1]
        for one in records:
            self._take(one)
        # A server may send one record in each message: alone is only what leads nowhere.
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
        """The zone's entries after a closed answer, sorted, each once."""
        if self._form is Form.WHOLE:
            return list(self._entries)
        comes = [entry for entry, there in self._there.items() if there and not self._is_ours(entry)]
        gone = {entry for entry, there in self._there.items() if not there}
        found = [entry for entry in self._entries if entry not in gone] if gone else list(self._entries)
        return sorted(found + comes)


def once(data: bytes) -> Iterator[bytes]:
    """The lines of `data` that say something, sorted by their octets, each once."""
    lines = data.split(b"\n")
    lines.sort()
    del lines[: bisect.bisect_right(lines, b"")]
    return itertools.compress(lines, map(operator.ne, lines, itertools.chain(lines[1:], (b"",))))


def lines_of(entries: Sequence[bytes]) -> bytes:
    """The list in a zone's sorted entries: each name's line once, each refused trigger or action as often as it is
    there; the same for a zone, whichever way it came."""
    parts, before = [], b""
    for at in range(0, len(entries), _STEP):
        lines = [entry[: -transfer.MARK_OCTETS] for entry in entries[at : at + _STEP]]
        kept = [one for one, last in zip(lines, (before, *lines), strict=False) if _counts(one, last)]
        parts.append(b"".join(one + b"\n" for one in kept))
        before = lines[-1]
    return b"".join(parts)


def _counts(line: bytes, before: bytes) -> bool:
    return line != before or line[0] == _REFUSED
