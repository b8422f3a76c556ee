"""A plain domain list to entries: bytes in, wire-format names and their bits out.

Rules:
- One entry a line: `name` covers itself and all below it, `=name` only itself; `!name` and `!=name` are
  exceptions of the same scopes. `#` starts a comment at the start of a line or after a blank; blank lines
  count for nothing. LF or CRLF, UTF-8; one byte order mark at the start and one dot at the end of a name
  are passed over.
- Names beyond ASCII are mapped by UTS 46, non-transitional, and held to IDNA 2008; every rule looks at the
  result.
- A line that breaks a rule is refused, counted by its reason and told by its number; never cut to fit,
  never guessed.
- A list that is not UTF-8, has too many entries or none at all is refused whole.
- A production list holds no reserved name, a demonstration list nothing else; the self-test's zone is in
  neither.

Speed: blocks of lines are judged by whole-block operations; a block with an odd line is halved until the
odd line stands almost alone, and only what stands there is read line by line.
"""

import ipaddress
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import idna

from resolver.core.codes import BLOCK_BELOW, BLOCK_SELF, EXCEPT_BELOW, EXCEPT_SELF, SET_ASIDE

from .guard_lines import Protected, SetAside
from .suffixes import (
    DOCUMENTATION_NAMES,
    DOCUMENTATION_TLDS,
    SELFTEST_NAME,
    SPECIAL_TLDS,
    Suffixes,
    load,
)

MAX_LINE_NUMBERS: Final = 100
"""Numbers of refused lines kept for each reason; the counts go on."""

MAX_NAME_OCTETS: Final = 253
MAX_LABEL_OCTETS: Final = 63

_BLOCK_BYTES: Final = 2**18
_LEAF_LINES: Final = 8
_MAX_LINE_BYTES: Final = 4096
_PLAIN: Final = b"abcdefghijklmnopqrstuvwxyz0123456789-_.\n"
_NAME: Final = re.compile(rb"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\Z")
_NUMERIC: Final = re.compile(rb"(?:[0-9]+|0x[0-9a-f]*)\Z")
_PREFIXES: Final = tuple(bytes([size]) for size in range(MAX_LABEL_OCTETS + 1))
_MARKED: Final = re.compile(rb"^[=!#\n]", re.MULTILINE)
_DOCUMENTATION_ENDS: Final = tuple(name + b"\n" for name in DOCUMENTATION_NAMES)

_FLAGS: Final = {
    b"": (BLOCK_SELF | BLOCK_BELOW).to_bytes(2, "little"),
    b"=": BLOCK_SELF.to_bytes(2, "little"),
    b"!": (EXCEPT_SELF | EXCEPT_BELOW).to_bytes(2, "little"),
    b"!=": EXCEPT_SELF.to_bytes(2, "little"),
    # Of a zone only: what is below the name and not the name.
    b"*.": BLOCK_BELOW.to_bytes(2, "little"),
    b"!*.": EXCEPT_BELOW.to_bytes(2, "little"),
}


class Refusal(StrEnum):
    """Why a line is refused; a metric's label."""

    URL = "url"
    ADDRESS = "address"
    ROOT = "root"
    TLD = "tld"
    ICANN_SUFFIX = "icann_suffix"
    MALFORMED = "malformed"
    TOO_LONG = "too_long"
    RESERVED = "reserved"
    NOT_RESERVED = "not_reserved"
    SELFTEST = "selftest"
    TRIGGER = "trigger"
    ACTION = "action"
    DISAGREES = "disagrees"


class ReadError(Exception):
    """A list that is refused whole; `reason` is one of not_utf8, empty, too_many_entries."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Entries:
    """What `read` has found: two blobs for core.image.write, the line of each name (u32, from 1) in the same order, the
    number of accepted lines, refused ones."""

    names: bytes
    flags: bytes
    numbers: "array[int]"
    lines: int
    refused: dict[str, int]
    refused_lines: dict[str, tuple[int, ...]]
    set_aside: dict[str, int]
    set_aside_lines: dict[str, tuple[int, ...]]


@dataclass(slots=True)
class _Found:
    """What grows while a list is read."""

    names: list[bytes] = field(default_factory=list)
    flags: list[bytes] = field(default_factory=list)
    numbers: "array[int]" = field(default_factory=lambda: array("I"))
    lines: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    refused_lines: dict[str, list[int]] = field(default_factory=dict)
    set_aside: dict[str, int] = field(default_factory=dict)
    set_aside_lines: dict[str, list[int]] = field(default_factory=dict)

    def accept(self, names: bytes, numbers: Sequence[int], marker: bytes) -> None:
        self.names.append(names)
        self.flags.append(_FLAGS[marker] * len(numbers))
        self.numbers.extend(numbers)
        self.lines += len(numbers)

    def refuse(self, reason: Refusal, number: int) -> None:
        _count(reason, number, self.refused, self.refused_lines)

    def lay_aside(self, reason: SetAside, name: bytes, number: int, marker: bytes) -> None:
        _count(reason, number, self.set_aside, self.set_aside_lines)
        self.names.append(name)
        self.flags.append((int.from_bytes(_FLAGS[marker], "little") | SET_ASIDE).to_bytes(2, "little"))
        self.numbers.append(number)
        self.lines += 1


def _count(reason: str, number: int, counts: dict[str, int], lines: dict[str, list[int]]) -> None:
    counts[reason] = counts.get(reason, 0) + 1
    kept = lines.setdefault(reason, [])
    if len(kept) < MAX_LINE_NUMBERS:
        kept.append(number)


def _sorted(lines: dict[str, list[int]]) -> dict[str, tuple[int, ...]]:
    return {str(reason): tuple(sorted(numbers)) for reason, numbers in lines.items()}


def read(
    data: bytes,
    psl: Suffixes,
    *,
    demonstration: bool,
    max_entries: int,
    kind: "type[Reader] | None" = None,
    protected: Protected | None = None,
) -> Entries:
    """Entries of the list in `data`, a plain one where no other `kind` of reader is given; ReadError where the whole is
    refused. protected: what lines are set aside for."""
    if not data.isascii():
        try:
            data.decode("utf-8")
        except UnicodeDecodeError:
            raise ReadError("not_utf8") from None
    reader = (kind or Reader)(psl, demonstration=demonstration, protected=protected)
    for first, lines in _blocks(data.removeprefix(b"\xef\xbb\xbf")):
        reader.take(first, lines)
        if reader.found.lines > max_entries:
            raise ReadError("too_many_entries")
    found = reader.found
    if not found.lines:
        raise ReadError("empty")
    return Entries(
        names=b"".join(found.names),
        flags=b"".join(found.flags),
        numbers=found.numbers,
        lines=found.lines,
        refused={str(reason): count for reason, count in found.refused.items()},
        refused_lines=_sorted(found.refused_lines),
        set_aside={str(reason): count for reason, count in found.set_aside.items()},
        set_aside_lines=_sorted(found.set_aside_lines),
    )


def suffixes() -> Suffixes:
    """The installed Public Suffix List, for whoever reads a list outside the compile process."""
    return load()


def distinct(entries: Entries) -> int:
    """The number of different names: what an image made of these entries counts."""
    names, at, seen = entries.names, 0, set()
    while at < len(names):
        start = at
        while names[at]:
            at += names[at] + 1
        at += 1
        seen.add(names[start:at])
    return len(seen)


def _blocks(data: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """Lines in lower case by blocks, each with the number of its first line."""
    at, first = 0, 1
    while at < len(data):
        end = data.find(b"\n", min(at + _BLOCK_BYTES, len(data)))
        end = len(data) if end < 0 else end
        block = data[at:end].lower()
        if b"\r" in block:
            block = block.replace(b"\r\n", b"\n").removesuffix(b"\r")
        lines = block.split(b"\n")
        yield first, lines
        first += len(lines)
        at = end + 1


class Reader:
    """One pass over one list; `take` knows the markers."""

    def __init__(self, psl: Suffixes, *, demonstration: bool, protected: Protected | None = None) -> None:
        self.found = _Found()
        self._suffixes = psl
        self._demonstration = demonstration
        self._protected = protected
        self._whole = psl.exact | psl.wildcard_parents
        # An empty parent is that of a top-level name: one look tells both.
        self._parents = psl.wildcard_parents | {b""}

    def take(self, first: int, lines: list[bytes]) -> None:
        """Read one block, entries of each marker together."""
        numbers: Sequence[int] = range(first, first + len(lines))
        if not _MARKED.search(b"\n".join(lines)) and lines[-1]:
            self.halve(lines, numbers, b"")
            return
        groups: dict[bytes, tuple[list[bytes], list[int]]] = {marker: ([], []) for marker in _FLAGS}
        for number, line in zip(numbers, lines, strict=True):
            if not line or line[0] == 35:
                continue
            marker = b"" if line[0] not in b"=!" else line[:2] if line[:2] == b"!=" else line[:1]
            groups[marker][0].append(line[len(marker) :])
            groups[marker][1].append(number)
        for marker, (names, where) in groups.items():
            if names:
                self.halve(names, where, marker)

    def halve(self, lines: list[bytes], numbers: Sequence[int], marker: bytes) -> None:
        """Read lines from which the same marker has been taken off."""
        wire = self._whole_block(lines, None if marker[:1] == b"!" else self._protected)
        if wire is not None:
            self.found.accept(wire, numbers, marker)
        elif len(lines) <= _LEAF_LINES:
            for line, number in zip(lines, numbers, strict=True):
                self._line(line, number, marker)
        else:
            half = len(lines) // 2
            self.halve(lines[:half], numbers[:half], marker)
            self.halve(lines[half:], numbers[half:], marker)

    def _whole_block(self, lines: list[bytes], protected: Protected | None) -> bytes | None:
        """All names of the block in wire format, or None where one of them may break a rule or is to set aside."""
        text = b"\n".join(lines) + b"\n"
        if text.translate(None, _PLAIN) or max(map(len, lines)) > MAX_NAME_OCTETS:
            return None
        if text[0] in b".\n" or b".." in text or b"\n." in text or b".\n" in text or b"\n\n" in text:
            return None
        if not self._allowed(lines, text, protected):
            return None
        # An empty label ends each name, so that the lengths in front of the labels are the wire format.
        labels = (text[:-1].replace(b"\n", b"..") + b".").split(b".")
        sizes = list(map(len, labels))
        if max(sizes) > MAX_LABEL_OCTETS:
            return None
        pieces = [b""] * (2 * len(labels))
        pieces[0::2] = map(_PREFIXES.__getitem__, sizes)
        pieces[1::2] = labels
        return b"".join(pieces)

    def _allowed(self, lines: list[bytes], text: bytes, protected: Protected | None) -> bool:
        """Whether no name of a block of well-formed lines is a suffix, an address, protected or of the wrong kind."""
        if not self._whole.isdisjoint(lines):
            return False
        parents = [line.partition(b".")[2] for line in lines]
        if not self._parents.isdisjoint(parents) or (protected is not None and protected.touches(lines, parents)):
            return False
        tlds = {line.rpartition(b".")[2] for line in lines}
        if (
            SELFTEST_NAME + b"\n" in text
            or not SPECIAL_TLDS.isdisjoint(tlds)
            or any(map(_NUMERIC.match, tlds))
        ):
            return False
        if self._demonstration:
            return tlds <= DOCUMENTATION_TLDS
        return DOCUMENTATION_TLDS.isdisjoint(tlds) and not any(end in text for end in _DOCUMENTATION_ENDS)

    def _line(self, line: bytes, number: int, marker: bytes) -> None:
        """Read one line from which a marker has been taken off."""
        line = _uncommented(line)
        if not line and not marker:
            return
        if not marker and line[:1] in (b"=", b"!"):
            marker = line[:2] if line[:2] == b"!=" else line[:1]
            line = line[len(marker) :]
        result = self._judge(line)
        if isinstance(result, Refusal):
            self.found.refuse(result, number)
            return
        wire = b"".join(_PREFIXES[len(label)] + label for label in result.split(b".")) + b"\0"
        reason = self._protected.reason(result) if self._protected is not None and marker[:1] != b"!" else None
        if reason is None:
            self.found.accept(wire, (number,), marker)
        else:
            self.found.lay_aside(reason, wire, number, marker)

    def _judge(self, line: bytes) -> bytes | Refusal:
        """The name of a line in ASCII, or why it is refused."""
        if len(line) > _MAX_LINE_BYTES:
            return Refusal.TOO_LONG
        if line == b".":
            return Refusal.ROOT
        if not line.isascii():
            try:
                line = idna.encode(line.decode("utf-8"), uts46=True).lower()
            except idna.IDNAError as error:
                return Refusal.TOO_LONG if error.code in _TOO_LONG else Refusal.MALFORMED
        line = line.removesuffix(b".")
        if not _NAME.match(line):
            return _odd(line)
        if len(line) > MAX_NAME_OCTETS or max(map(len, line.split(b"."))) > MAX_LABEL_OCTETS:
            return Refusal.TOO_LONG
        return self._kind(line) or line

    def _kind(self, name: bytes) -> Refusal | None:
        tld = name.rpartition(b".")[2]
        if _NUMERIC.match(tld):
            return Refusal.ADDRESS
        if tld == name:
            return Refusal.TLD
        if _within(name, SELFTEST_NAME):
            return Refusal.SELFTEST
        if tld in SPECIAL_TLDS:
            return Refusal.RESERVED
        if self._suffixes.holds(name):
            return Refusal.ICANN_SUFFIX
        reserved = tld in DOCUMENTATION_TLDS or any(_within(name, zone) for zone in DOCUMENTATION_NAMES)
        if reserved is self._demonstration:
            return None
        return Refusal.RESERVED if reserved else Refusal.NOT_RESERVED


_TOO_LONG: Final = frozenset({"domain_too_long", "label_too_long", "input_too_long"})


def _within(name: bytes, zone: bytes) -> bool:
    return name == zone or name.endswith(b"." + zone)


def _uncommented(line: bytes) -> bytes:
    """The line without blanks around it and without what stands behind a blank and a `#`."""
    for blank in (b" #", b"\t#"):
        line = line.partition(blank)[0]
    line = line.strip(b" \t")
    return b"" if line.startswith(b"#") else line


def _odd(line: bytes) -> Refusal:
    """Why a line that is no name at all is refused."""
    text = line.decode("ascii", "replace").strip("[]")
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return Refusal.URL if "/" in text or "?" in text else Refusal.MALFORMED
    return Refusal.ADDRESS
