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

Speed: core.lines makes entries of the common lines in one pass, and tells of all others, which are judged here. The
rules stand here; there stands what is surely within them.
"""

import ipaddress
import re
from array import array
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, Final

import idna

from resolver.core import lines as core_lines
from resolver.core.codes import BLOCK_BELOW, BLOCK_SELF, EXCEPT_BELOW, EXCEPT_SELF, SET_ASIDE
from resolver.feed.names.guard_lines import Protected, SetAside
from resolver.feed.names.suffixes import (
    DOCUMENTATION_NAMES,
    DOCUMENTATION_TLDS,
    SELFTEST,
    SPECIAL_TLDS,
    Suffixes,
    load,
)

MAX_LINE_NUMBERS: Final = 100
"""Numbers of refused lines kept for each reason; the counts go on."""

MAX_NAME_OCTETS: Final = 253
MAX_LABEL_OCTETS: Final = 63

_MAX_LINE_BYTES: Final = 4096
_NAME: Final = re.compile(rb"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\Z")
_NUMERIC: Final = re.compile(rb"(?:[0-9]+|0x[0-9a-f]*)\Z")
_MARK: Final = b"\xef\xbb\xbf"

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
    number of accepted lines, refused ones. exceptions: how many names are excepted; blocks: whether any is blocked."""

    names: bytearray
    flags: bytearray
    numbers: "array[int]"
    lines: int
    refused: dict[str, int]
    refused_lines: dict[str, tuple[int, ...]]
    set_aside: dict[str, int]
    set_aside_lines: dict[str, tuple[int, ...]]
    exceptions: int
    blocks: bool


@dataclass(slots=True)
class _Found:
    """What grows while a list is read."""

    names: bytearray = field(default_factory=bytearray)
    flags: bytearray = field(default_factory=bytearray)
    numbers: "array[int]" = field(default_factory=lambda: array("I"))
    refused: dict[str, int] = field(default_factory=dict)
    refused_lines: dict[str, list[int]] = field(default_factory=dict)
    set_aside: dict[str, int] = field(default_factory=dict)
    set_aside_lines: dict[str, list[int]] = field(default_factory=dict)

    @property
    def lines(self) -> int:
        """How many lines were accepted."""
        return len(self.numbers)

    def accept_turn(self, turn: core_lines.Lines) -> None:
        """Take over what one turn of core.lines has found."""
        self.names += turn.names[: turn.octets]
        self.flags += memoryview(turn.flags[: turn.entries]).cast("B")
        self.numbers.frombytes(memoryview(turn.numbers[: turn.entries]).cast("B"))

    def accept(self, name: bytes, number: int, marker: bytes, *, aside: SetAside | None) -> None:
        """Take one name in wire format."""
        bits = int.from_bytes(_FLAGS[marker], "little")
        if aside is not None:
            _count(aside, number, self.set_aside, self.set_aside_lines)
            bits |= SET_ASIDE
        self.names += name
        self.flags += bits.to_bytes(2, "little")
        self.numbers.append(number)

    def refuse(self, reason: Refusal, number: int) -> None:
        """Count one line that is refused."""
        _count(reason, number, self.refused, self.refused_lines)


def _count(reason: str, number: int, counts: dict[str, int], lines: dict[str, list[int]]) -> None:
    counts[reason] = counts.get(reason, 0) + 1
    kept = lines.setdefault(reason, [])
    if len(kept) < MAX_LINE_NUMBERS:
        kept.append(number)


def _numbers(lines: dict[str, list[int]]) -> dict[str, tuple[int, ...]]:
    return {str(reason): tuple(numbers) for reason, numbers in lines.items()}


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
    at = len(_MARK) if data.startswith(_MARK) else 0
    while at < len(data):
        at = reader.turn(data, at)
        if reader.found.lines > max_entries:
            raise ReadError("too_many_entries")
    found = reader.found
    bits = Counter(memoryview(found.flags).cast("H")) if b"!" in data else {}
    if not found.lines:
        raise ReadError("empty")
    return Entries(
        names=found.names,
        flags=found.flags,
        numbers=found.numbers,
        lines=found.lines,
        refused={str(reason): count for reason, count in found.refused.items()},
        refused_lines=_numbers(found.refused_lines),
        set_aside={str(reason): count for reason, count in found.set_aside.items()},
        set_aside_lines=_numbers(found.set_aside_lines),
        exceptions=_exceptions(bits),
        blocks=not bits or any(each & (BLOCK_SELF | BLOCK_BELOW) for each in bits),
    )


def _exceptions(lines: Mapping[int, int]) -> int:
    """How many names are excepted, by the number of lines of each bits: a zone has up to two of a name, of different
    scope."""
    return max(sum(count for bits, count in lines.items() if bits & scope) for scope in (EXCEPT_SELF, EXCEPT_BELOW))


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
        seen.add(bytes(names[start:at]))
    return len(seen)


class Reader:
    """One pass over one list; it knows the markers."""

    ZONE: ClassVar = False
    MARKERS: ClassVar = (b"", b"=", b"!", b"!=")

    def __init__(self, psl: Suffixes, *, demonstration: bool, protected: Protected | None = None) -> None:
        self.found = _Found()
        self._suffixes = psl
        self._demonstration = demonstration
        self._protected = protected
        flags = memoryview(b"".join(_FLAGS[marker] for marker in self.MARKERS)).cast("H")
        self._turn = core_lines.Lines(self._watched(), wanted=demonstration, zone=self.ZONE, bits=flags)

    def _watched(self) -> memoryview:
        """Every name because of which a line may be refused or set aside."""
        psl = self._suffixes
        watched: list[tuple[int, Collection[bytes]]] = [
            (core_lines.SELF, psl.exact),
            (core_lines.SELF | core_lines.PARENT, psl.wildcard_parents),
            (core_lines.WITHIN, (SELFTEST, *SPECIAL_TLDS)),
        ]
        if self._demonstration:
            watched.append((core_lines.WANTED, DOCUMENTATION_TLDS))
        else:
            watched.append((core_lines.WITHIN, (*DOCUMENTATION_TLDS, *DOCUMENTATION_NAMES)))
        if self._protected is not None:
            watched += [
                (core_lines.SELF, self._protected.at),
                (core_lines.PARENT, self._protected.wildcards),
                (core_lines.WITHIN, self._protected.below),
            ]
        table: memoryview = core_lines.table_for(sum(len(names) for _, names in watched))
        for bits, names in watched:
            core_lines.watch(table, memoryview(b"".join(name + b"\n" for name in names)), bits)
        return table

    def turn(self, data: bytes, at: int) -> int:
        """Read from the start of a line at `at` on; return where to go on."""
        turn = self._turn
        after: int = core_lines.take(turn, memoryview(data), at)
        self.found.accept_turn(turn)
        for place in range(0, 3 * turn.told, 3):
            start, end, number = turn.places[place], turn.places[place + 1], turn.places[place + 2]
            self.line(data[start:end].lower(), number)
        return after

    def line(self, line: bytes, number: int) -> None:
        """Judge one line."""
        marker = b"" if line[0] not in b"=!" else line[:2] if line[:2] == b"!=" else line[:1]
        self.judge(line[len(marker) :], number, marker)

    def judge(self, line: bytes, number: int, marker: bytes) -> None:
        """Judge one line from which a marker has been taken off."""
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
        wire = b"".join(bytes([len(label)]) + label for label in result.split(b".")) + b"\0"
        aside = self._protected.reason(result) if self._protected is not None and marker[:1] != b"!" else None
        self.found.accept(wire, number, marker, aside=aside)

    def _judge(self, line: bytes) -> bytes | Refusal:
        """The name of a line in ASCII, or why it is refused."""
        if len(line) > _MAX_LINE_BYTES:
            return Refusal.TOO_LONG
        if line == b".":
            return Refusal.ROOT
        if not line.isascii():
            if b"/" in line or b"?" in line:
                return Refusal.URL
            try:
                line = idna.encode(line.decode("utf-8"), uts46=True).lower()
            except idna.IDNAError as error:
                return Refusal.TOO_LONG if error.code in _TOO_LONG else Refusal.MALFORMED
            except UnicodeDecodeError:
                return Refusal.MALFORMED
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
        if _within(name, SELFTEST):
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
