"""Reads a plain domain list into entries: bytes in, names in wire format and their bits out.

Rules:
- One entry a line: `name` covers itself and all names below it, `=name` only itself, `*.name` only the names below it;
  `!name`, `!=name` and `!*.name` are exceptions of the same scopes, without a blank after the marker: other formats
  begin their comments so. `#` starts a comment at the start of a line or after a blank; empty lines are ignored. LF or
  CRLF, UTF-8; a byte order mark at the start and one dot at the end of a name are ignored.
- Names beyond ASCII are mapped by UTS 46, non-transitional, and must be valid in IDNA 2008; all rules apply to the
  result.
- A line that breaks a rule is refused, counted by reason and reported by number; it is never cut to fit or guessed.
- A list that is not UTF-8, has too many entries or none at all is refused whole, with the lines that were refused.
- A production list must hold no reserved name, a demonstration list nothing else; the self-test's zone may be in
  neither.

Speed: core.lines turns common lines into entries in one pass, and returns all others, which are judged here. All rules
stand here; core.lines accepts only lines that surely obey them.
"""

import functools
import heapq
import ipaddress
import re
from array import array
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar, Final, NamedTuple

import idna

from resolver.core import lines as core_lines
from resolver.core.codes import BLOCK_BELOW, BLOCK_SELF, EXCEPT_BELOW, EXCEPT_SELF, SET_ASIDE
from resolver.feed.names.guard_lines import Protected
from resolver.feed.names.suffixes import Suffixes as Suffixes
from resolver.feed.names.suffixes import load
from resolver.feed.reasons import Refusal, SetAside
from resolver.feed.reserved import DOCUMENTATION_NAMES, DOCUMENTATION_TLDS, SELFTEST_NAME, SPECIAL_TLDS

MAX_LINE_NUMBERS: Final = 100
"""How many numbers of refused lines are kept for each reason; counting goes on."""

MAX_NAME_OCTETS: Final = 253
MAX_LABEL_OCTETS: Final = 63

MAX_LINE_BYTES: Final = 4096
_NAME: Final = re.compile(rb"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\Z")
_NUMERIC: Final = re.compile(rb"(?:[0-9]+|0x[0-9a-f]*)\Z")
_MARK: Final = b"\xef\xbb\xbf"

_ODD_FORMS: Final = (
    (Refusal.URL, re.compile(rb"[/?]")),
    (Refusal.SEVERAL_WORDS, re.compile(rb"[^\s][ \t]+[^\s]")),
    (Refusal.WILDCARD, re.compile(rb"\*")),
    (Refusal.PORT, re.compile(rb"[^:]:[0-9]{1,5}\Z")),
)
"""Forms of a line that is not a name, by which its writer finds out what to write instead; the first counts."""

_PLAIN_MARKERS: Final = (b"!=", b"!*.", b"!", b"=", b"*.", b"")
_FLAGS: Final = {
    b"": (BLOCK_SELF | BLOCK_BELOW).to_bytes(2, "little"),
    b"=": BLOCK_SELF.to_bytes(2, "little"),
    b"!": (EXCEPT_SELF | EXCEPT_BELOW).to_bytes(2, "little"),
    b"!=": EXCEPT_SELF.to_bytes(2, "little"),
    # The names below, without the name itself.
    b"*.": BLOCK_BELOW.to_bytes(2, "little"),
    b"!*.": EXCEPT_BELOW.to_bytes(2, "little"),
}


class ReadError(Exception):
    """The whole list is refused; `reason` is not_utf8, empty, too_many_entries, or malformed (a zone without an SOA).

    refused, refused_lines: as in Entries, as far as it was read. line: of what is not UTF-8, or no SOA; 0 if unknown.
    """

    def __init__(
        self,
        reason: str,
        *,
        refused: Mapping[str, int] = MappingProxyType({}),
        refused_lines: Mapping[str, tuple[int, ...]] = MappingProxyType({}),
        line: int = 0,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.refused = dict(refused)
        self.refused_lines = dict(refused_lines)
        self.line = line


@dataclass(frozen=True, slots=True)
class Entries:
    """The entries of a list.

    names, flags: blobs for core.entries.write. numbers: the line of each name (u32, from 1), in the same order. lines:
    count of accepted lines. refused, set_aside: counts by reason. exceptions: how many names are exceptions. blocks:
    whether any name is blocked.
    """

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
    """The entries collected while a list is read."""

    names: bytearray = field(default_factory=bytearray)
    flags: bytearray = field(default_factory=bytearray)
    numbers: "array[int]" = field(default_factory=lambda: array("I"))
    refused: dict[str, int] = field(default_factory=dict)
    refused_lines: dict[str, list[int]] = field(default_factory=dict)
    set_aside: dict[str, int] = field(default_factory=dict)
    set_aside_lines: dict[str, list[int]] = field(default_factory=dict)

    @property
    def lines(self) -> int:
        """Return the number of accepted lines."""
        return len(self.numbers)

    def accept_turn(self, turn: core_lines.Lines) -> None:
        """Add the entries that one turn of core.lines has made."""
        self.names += turn.names[: turn.octets]
        self.flags += memoryview(turn.flags[: turn.entries]).cast("B")
        self.numbers.frombytes(memoryview(turn.numbers[: turn.entries]).cast("B"))

    def accept(self, name: bytes, number: int, marker: bytes, *, aside: SetAside | None) -> None:
        """Add one name in wire format."""
        bits = int.from_bytes(_FLAGS[marker], "little")
        if aside is not None:
            _count(aside, number, self.set_aside, self.set_aside_lines)
            bits |= SET_ASIDE
        self.names += name
        self.flags += bits.to_bytes(2, "little")
        self.numbers.append(number)

    def refuse(self, reason: Refusal, number: int) -> None:
        """Count one refused line."""
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
    refused: Mapping[Refusal, Sequence[int]] = MappingProxyType({}),
) -> Entries:
    """Return the entries of a list; ReadError if the whole list is refused.

    kind: the reader of its format, plain by default. protected: names for which lines are set aside. refused: lines
    that the grammar of their format has refused, and that are empty in `data`.
    """
    must_be_utf8(data)
    reader = (kind or Reader)(psl, demonstration=demonstration, protected=protected)
    at = len(_MARK) if data.startswith(_MARK) else 0
    while at < len(data):
        at = reader.turn(data, at)
        if reader.found.lines > max_entries:
            raise ReadError("too_many_entries")
    found = reader.found
    bits = Counter(memoryview(found.flags).cast("H")) if b"!" in data else {}
    for reason, numbers in refused.items():
        found.refused[reason] = found.refused.get(reason, 0) + len(numbers)
        both = sorted((*found.refused_lines.get(reason, ()), *numbers[:MAX_LINE_NUMBERS]))
        found.refused_lines[reason] = both[:MAX_LINE_NUMBERS]
    counts = {str(reason): count for reason, count in found.refused.items()}
    if not found.lines:
        raise ReadError("empty", refused=counts, refused_lines=_numbers(found.refused_lines))
    return Entries(
        names=found.names,
        flags=found.flags,
        numbers=found.numbers,
        lines=found.lines,
        refused=counts,
        refused_lines=_numbers(found.refused_lines),
        set_aside={str(reason): count for reason, count in found.set_aside.items()},
        set_aside_lines=_numbers(found.set_aside_lines),
        exceptions=_exceptions(bits),
        blocks=not bits or any(each & (BLOCK_SELF | BLOCK_BELOW) for each in bits),
    )


def must_be_utf8(data: bytes) -> None:
    """ReadError, with the number of the line, if `data` is not UTF-8."""
    if data.isascii():
        return
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ReadError("not_utf8", line=data.count(b"\n", 0, error.start) + 1) from None


def _exceptions(lines: Mapping[int, int]) -> int:
    """Return how many names are exceptions; lines: how many lines have each combination of bits.

    A zone has up to two lines for one name, with different scopes.
    """
    return max(sum(count for bits, count in lines.items() if bits & scope) for scope in (EXCEPT_SELF, EXCEPT_BELOW))


@functools.cache
def suffixes() -> Suffixes:
    """Return the installed Public Suffix List, for code that reads lists outside the compile process; parsed once."""
    return load()


class Distinct(NamedTuple):
    """Numbers of distinct names: in all, which is the number of entries of an image; those that block something; and
    those that are exceptions."""

    entries: int
    blocked: int
    exceptions: int


def distinct(entries: Entries) -> Distinct:
    """Return how many distinct names there are. An exception beats an entry of the same name and scope."""
    names, at, bits = entries.names, 0, dict[bytes, int]()
    for flags in memoryview(entries.flags).cast("H"):
        start = at
        while names[at]:
            at += names[at] + 1
        at += 1
        name = bytes(names[start:at])
        bits[name] = bits.get(name, 0) | flags
    found = Counter(bits.values())
    return Distinct(
        entries=len(bits),
        blocked=sum(count for each, count in found.items() if _blocks(each)),
        exceptions=sum(count for each, count in found.items() if each & (EXCEPT_SELF | EXCEPT_BELOW)),
    )


def _blocks(bits: int) -> bool:
    scopes = ((BLOCK_SELF, EXCEPT_SELF), (BLOCK_BELOW, EXCEPT_BELOW))
    return any(bits & block and not bits & spare for block, spare in scopes)


def exception_lines(entries: Entries, most: int) -> list[int]:
    """Return the numbers of the first lines, at most `most`, that are exceptions."""
    flags = memoryview(entries.flags).cast("H")
    spared = (
        number
        for bits, number in zip(flags, entries.numbers, strict=True)
        if bits & (EXCEPT_SELF | EXCEPT_BELOW)
    )
    return heapq.nsmallest(most, spared)


class Reader:
    """Reads one list in one pass; subclasses define the markers of their format."""

    ZONE: ClassVar = False
    MARKERS: ClassVar[tuple[bytes, ...]] = (b"", b"=", b"!", b"!=", b"*.", b"!*.")

    def __init__(self, psl: Suffixes, *, demonstration: bool, protected: Protected | None = None) -> None:
        self.found = _Found()
        self._suffixes = psl
        self._demonstration = demonstration
        self._protected = protected
        flags = memoryview(b"".join(_FLAGS[marker] for marker in self.MARKERS)).cast("H")
        self._turn = core_lines.Lines(self._watched(), wanted=demonstration, zone=self.ZONE, bits=flags)

    def _watched(self) -> memoryview:
        """Return the table of all names because of which a line may be refused or set aside."""
        psl = self._suffixes
        watched: list[tuple[int, Collection[bytes]]] = [
            (core_lines.SELF, psl.exact),
            (core_lines.SELF | core_lines.PARENT, psl.wildcard_parents),
            (core_lines.WITHIN, (SELFTEST_NAME, *SPECIAL_TLDS)),
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
        """Read a part of the list, from the start of a line at `at`; return the offset where to continue."""
        turn = self._turn
        after: int = core_lines.take(turn, memoryview(data), at)
        self.found.accept_turn(turn)
        for place in range(0, 3 * turn.uncommon, 3):
            start, end, number = turn.places[place], turn.places[place + 1], turn.places[place + 2]
            self.line(data[start:end].lower(), number)
        return after

    def line(self, line: bytes, number: int) -> None:
        """Judge one line."""
        marker = _marker(line)
        self.judge(line[len(marker) :], number, marker)

    def judge(self, line: bytes, number: int, marker: bytes) -> None:
        """Judge one line whose marker has been removed."""
        loose = _is_loose(marker, line)
        line = _uncommented(line)
        if not line and not marker:
            return
        if not marker:
            marker = _marker(line)
            line = line[len(marker) :]
            loose = _is_loose(marker, line)
        result = Refusal.LOOSE_EXCEPTION if loose else self._judge(line)
        if isinstance(result, Refusal):
            self.found.refuse(result, number)
            return
        wire = b"".join(bytes([len(label)]) + label for label in result.split(b".")) + b"\0"
        aside = self._protected.reason(result) if self._protected is not None and marker[:1] != b"!" else None
        self.found.accept(wire, number, marker, aside=aside)

    def _judge(self, line: bytes) -> bytes | Refusal:
        """Return the name in a line, in ASCII, or the Refusal of the line."""
        if len(line) > MAX_LINE_BYTES:
            return Refusal.TOO_LONG
        if line == b".":
            return Refusal.ROOT
        if not line.isascii():
            if b"/" in line or b"?" in line:
                return Refusal.URL
            try:
                line = idna.encode(line.decode("utf-8"), uts46=True).lower()
            except idna.IDNAError as error:
                return Refusal.TOO_LONG if error.code in _TOO_LONG else _odd(line)
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


def _marker(line: bytes) -> bytes:
    """Return the marker that a line of a plain list begins with."""
    return next(marker for marker in _PLAIN_MARKERS if line.startswith(marker))


def _within(name: bytes, zone: bytes) -> bool:
    return name == zone or name.endswith(b"." + zone)


def _is_loose(marker: bytes, rest: bytes) -> bool:
    """Return whether a blank follows the marker of an exception, as in the comments of other formats."""
    return marker[:1] == b"!" and rest[:1] in (b" ", b"\t")


def _uncommented(line: bytes) -> bytes:
    """Return the line without its comment (after a blank and a `#`) and without blanks around it."""
    for blank in (b" #", b"\t#"):
        line = line.partition(blank)[0]
    line = line.strip(b" \t")
    return b"" if line.startswith(b"#") else line


def _odd(line: bytes) -> Refusal:
    """Return why a line that is not a name is refused."""
    text = line.decode("ascii", "replace").strip("[]")
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return next((reason for reason, form in _ODD_FORMS if form.search(line)), Refusal.MALFORMED)
    return Refusal.ADDRESS
