"""Reads a response policy zone from its master file (RFC 1035 section 5): its records become the lines of a zone.

Rules:
- What a record means is the rule of a transferred zone (core.rpz), and its names are judged as there (`read_zone`).
- Line numbers are those of the file; a record in parentheses has the number of its first line.
- The SOA is the first record, and its owner is the zone's apex. Without an $ORIGIN, names are relative to the apex.
- A line that breaks a rule is refused alone, whatever it is: an owner outside the zone (`out_of_zone`), $INCLUDE or
  $GENERATE (`directive`), an unknown type, an open quote or parenthesis (`malformed`).
- The data of a record are not judged, but for the target of a CNAME: they are not used.
- A record has at most MAX_RECORD_LINES lines, so that an open parenthesis costs one line, never the rest of the file.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

import dns.rdatatype

from resolver.core import transfer
from resolver.core.codes import TYPE_CNAME, TYPE_SOA
from resolver.feed.names.guard_lines import Protected
from resolver.feed.names.read import MAX_LABEL_OCTETS, Entries, ReadError, must_be_utf8, read
from resolver.feed.names.read_zone import ZoneReader
from resolver.feed.names.suffixes import Suffixes
from resolver.feed.reasons import Refusal

MAX_RECORD_LINES: Final = 200
MAX_RECORD_BYTES: Final = 2**16
_MESSAGE_BYTES: Final = 2**15
_MAX_WIRE_BYTES: Final = 255
_MARK: Final = b"\xef\xbb\xbf"

# The apex of a file that does not say its name: an owner with a dot at its end is never below it.
_UNNAMED: Final = b"\x04\x00\x00\x00\x00\x00"

_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|(?:[^\s"();\\]|\\.)+|[()]|;.*|\s+|.', re.DOTALL)
_ODD: Final = re.compile(rb'["()\\]')
_TTL: Final = re.compile(rb"(?:[0-9]+[wdhms]?)+\Z", re.IGNORECASE)
_ESCAPE: Final = re.compile(rb"\\([0-9]{3}|.)", re.DOTALL)
_CLASSES: Final = frozenset((b"IN", b"CH", b"HS", b"CS"))
_DIRECTIVES: Final = frozenset((b"$INCLUDE", b"$GENERATE"))
# The targets of nearly all records, in wire format.
_ACTIONS: Final = {
    b".": b"\0",
    b"*.": b"\x01*\0",
    b"rpz-passthru.": b"\x0crpz-passthru\0",
    b"rpz-drop.": b"\x08rpz-drop\0",
}
_SERIAL: Final = re.compile(rb"[0-9]{1,10}\Z")


class _Odd(Exception):
    """One record is refused."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason)
        self.reason = reason


class _Record(NamedTuple):
    """A record: its first line, owner and CNAME target in wire format, type, data in tokens."""

    line: int
    owner: bytes
    kind: int
    data: list[bytes]


def read_master(
    data: bytes, psl: Suffixes, *, demonstration: bool, max_entries: int, protected: Protected | None = None
) -> Entries:
    """Return the entries of a master file; ReadError if the whole list is refused."""
    lines, refused = zone_lines(data)
    return read(
        lines,
        psl,
        demonstration=demonstration,
        max_entries=max_entries,
        kind=ZoneReader,
        protected=protected,
        refused=refused,
    )


def zone_lines(data: bytes) -> tuple[bytes, dict[Refusal, list[int]]]:
    """Return a line of a zone for each line of a master file, in the grammar of read_zone, and the lines that are no
    record; ReadError if it is no zone."""
    must_be_utf8(data)
    found = _Master(data)
    return found.lines(), found.refused


def soa_serial(data: bytes) -> int:
    """Return the serial of a master file's SOA; ReadError if it has none."""
    return _Master(data).serial()


class _Master:
    """One pass over a master file. refused: the lines that its grammar refuses."""

    def __init__(self, data: bytes) -> None:
        self.refused: dict[Refusal, list[int]] = {}
        self._rows = data.removeprefix(_MARK).split(b"\n")
        self._origin: bytes | None = _UNNAMED
        self._owner: bytes | None = None
        self._kinds: dict[bytes, int] = {}

    def serial(self) -> int:
        """Return the serial of the SOA."""
        return self._soa(next(self._records(), None))[1]

    def lines(self) -> bytes:
        """Return a line of a zone for each line of the file, in the grammar of read_zone."""
        records = self._records()
        first = next(records, None)
        apex, serial = self._soa(first)
        if self._origin == _UNNAMED:
            self._origin = apex
        walked = transfer.Transfer(apex)
        made = [b""] * len(self._rows)
        message = bytearray(_wire(apex, TYPE_SOA, b"\0\0" + serial.to_bytes(4, "big") + bytes(16)))
        waiting = [0]
        for record in records:
            if record.kind == TYPE_SOA:
                # As a transfer written to a file has it at its end.
                if record.owner != apex:
                    self._refuse(Refusal.MALFORMED, record.line)
                continue
            try:
                message += self._checked(record, apex)
            except _Odd as odd:
                self._refuse(odd.reason, record.line)
                continue
            waiting.append(record.line)
            if len(message) > _MESSAGE_BYTES:
                _walk(walked, message, waiting, made)
        _walk(walked, message, waiting, made)
        return b"\n".join(made)

    def _soa(self, record: _Record | None) -> tuple[bytes, int]:
        """Return the zone's apex and serial."""
        if record is None or record.kind != TYPE_SOA or len(record.data) != 7 or not _SERIAL.match(record.data[2]):
            raise ReadError("malformed", line=record.line if record else 1)
        return record.owner, int(record.data[2]) & 0xFFFFFFFF

    def _checked(self, record: _Record, apex: bytes) -> bytes:
        """Return a record in wire format; _Odd if it is outside of the zone or is no record."""
        if not record.owner.endswith(apex) or not _is_below(record.owner, apex):
            raise _Odd(Refusal.OUT_OF_ZONE)
        if record.kind != TYPE_CNAME:
            return _wire(record.owner, record.kind, b"")
        if len(record.data) != 1:
            raise _Odd(Refusal.MALFORMED)
        target = record.data[0]
        return _wire(record.owner, record.kind, _ACTIONS.get(target) or self._name(target))

    def _refuse(self, reason: Refusal, line: int) -> None:
        self.refused.setdefault(reason, []).append(line)

    def _records(self) -> Iterator[_Record]:
        """Yield the records; note the lines that are none."""
        at = 0
        while at < len(self._rows):
            number, row = at + 1, self._rows[at]
            at += 1
            try:
                tokens, blank, more = self._tokens(at - 1)
                at += more
                if tokens and (record := self._record(tokens, number, blank=blank)) is not None:
                    yield record
            except _Odd as odd:
                self._refuse(odd.reason, number)
                if row[:1] not in (b" ", b"\t") and odd.reason is not Refusal.DIRECTIVE:
                    # Lines without an owner that follow would be records of another name.
                    self._owner = None

    def _tokens(self, at: int) -> tuple[list[bytes], bool, int]:
        """Return the tokens of the record that begins in a row, whether it begins with a blank, and the rows more."""
        row = self._rows[at]
        blank = row[:1] in (b" ", b"\t")
        if not _ODD.search(row):
            return row.partition(b";")[0].split(), blank, 0
        tokens: list[bytes] = []
        depth = taken = size = 0
        while True:
            size += len(row)
            for token in _TOKEN.findall(row):
                if token == b"(":
                    depth += 1
                elif token == b")":
                    depth -= 1
                elif token[:1] == b";" or token.isspace():
                    continue
                elif token in (b'"', b"\\"):
                    raise _Odd(Refusal.MALFORMED)
                else:
                    tokens.append(token)
                if depth < 0:
                    raise _Odd(Refusal.MALFORMED)
            if depth == 0:
                return tokens, blank, taken
            taken += 1
            if taken >= MAX_RECORD_LINES or size > MAX_RECORD_BYTES or at + taken >= len(self._rows):
                raise _Odd(Refusal.MALFORMED)
            row = self._rows[at + taken]

    def _record(self, tokens: list[bytes], number: int, *, blank: bool) -> _Record | None:
        """Return the record of these tokens; None for a directive."""
        if tokens[0][:1] == b"$" and not blank:
            self._directive(tokens)
            return None
        if blank:
            rest = tokens
        else:
            self._owner = None
            self._owner = self._name(tokens[0])
            rest = tokens[1:]
        at = 0
        while at < min(2, len(rest)) and rest[at] != b"CNAME":
            if (word := rest[at].upper()) in _CLASSES:
                if word != b"IN":
                    raise _Odd(Refusal.MALFORMED)
            elif not _TTL.match(word):
                break
            at += 1
        if self._owner is None or len(rest) < at + 2:
            raise _Odd(Refusal.MALFORMED)
        return _Record(number, self._owner, self._kind(rest[at]), rest[at + 1 :])

    def _directive(self, tokens: list[bytes]) -> None:
        word = tokens[0].upper()
        if word in _DIRECTIVES:
            raise _Odd(Refusal.DIRECTIVE)
        if word == b"$ORIGIN":
            origin, self._origin = self._origin, None
            if len(tokens) != 2:
                raise _Odd(Refusal.MALFORMED)
            self._origin = self._name(tokens[1], origin)
        elif word != b"$TTL" or len(tokens) != 2 or not _TTL.match(tokens[1]):
            raise _Odd(Refusal.MALFORMED)

    def _kind(self, word: bytes) -> int:
        kind = self._kinds.get(word)
        if kind is None:
            try:
                kind = int(dns.rdatatype.from_text(word.decode("ascii")))
            except (ValueError, dns.rdatatype.UnknownRdatatype):
                raise _Odd(Refusal.MALFORMED) from None
            if kind == 0 or kind == dns.rdatatype.OPT or 128 <= kind <= 255:
                raise _Odd(Refusal.MALFORMED)
            self._kinds[word] = kind
        return kind

    def _name(self, text: bytes, origin: bytes | None = None) -> bytes:
        """Return a name in wire format, below the origin unless a dot ends it; _Odd if it is none."""
        base = self._origin if origin is None else origin
        if text == b".":
            return b"\0"
        if text == b"@":
            return _based(b"", base)
        if b"\\" in text or b'"' in text:
            labels, absolute = _unescaped(text)
        else:
            absolute = text[-1:] == b"."
            labels = text.lower().removesuffix(b".").split(b".")
        longest = max(map(len, labels))
        if longest > MAX_LABEL_OCTETS:
            raise _Odd(Refusal.TOO_LONG)
        if not all(labels):
            raise _Odd(Refusal.MALFORMED)
        wire = b"".join([b"%c%b" % (len(label), label) for label in labels])
        return _based(wire, b"\0" if absolute else base)


def _based(wire: bytes, base: bytes | None) -> bytes:
    if base is None:
        raise _Odd(Refusal.OUT_OF_ZONE)
    if len(wire) + len(base) > _MAX_WIRE_BYTES:
        raise _Odd(Refusal.TOO_LONG)
    return wire + base


def _unescaped(text: bytes) -> tuple[list[bytes], bool]:
    """Return the labels of a name with escapes, and whether a dot ends it."""
    labels, label, at = [], bytearray(), 0
    if text[:1] == b'"':
        raise _Odd(Refusal.MALFORMED)
    while at < len(text):
        if text[at : at + 1] == b"\\":
            found = _ESCAPE.match(text, at)
            if found is None or (found[1].isdigit() and (len(found[1]) < 3 or int(found[1]) > 255)):
                raise _Odd(Refusal.MALFORMED)
            label += bytes((int(found[1]),)) if len(found[1]) == 3 else found[1].lower()
            at = found.end()
            continue
        if text[at : at + 1] == b".":
            labels.append(bytes(label))
            label.clear()
        else:
            label += text[at : at + 1].lower()
        at += 1
    if label:
        return [*labels, bytes(label)], False
    return labels or [b""], True


def _is_below(owner: bytes, apex: bytes) -> bool:
    """Return whether a name that ends in the apex' octets is the apex or below it: a label begins there."""
    at, start = 0, len(owner) - len(apex)
    while at < start:
        at += owner[at] + 1
    return at == start


def _wire(owner: bytes, kind: int, data: bytes) -> bytes:
    """Return a record in wire format, of class IN and TTL 0."""
    return b"%b%b\0\x01\0\0\0\0%b%b" % (owner, kind.to_bytes(2, "big"), len(data).to_bytes(2, "big"), data)


def _walk(walked: transfer.Transfer, message: bytearray, waiting: list[int], made: list[bytes]) -> None:
    """Have core.transfer write the lines of the records that wait, and put each where its record begins."""
    header = bytes(6) + len(waiting).to_bytes(2, "big") + bytes(4)
    if transfer.walk(memoryview(header + message), len(header) + len(message), walked) != transfer.SOUND:
        raise ReadError("malformed")
    for line, text in zip(waiting, walked.lines().split(b"\n"), strict=False):
        if line:
            made[line - 1] = text
    message.clear()
    waiting.clear()
