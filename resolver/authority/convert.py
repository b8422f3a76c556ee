"""Makes a plain list of a file in another format: `authority convert`.

Rules:
- What the list blocks, the source blocks: a line that says less than a name, or something else, is dropped and counted
  by reason, with its number. So is a name that the rules of a list refuse.
- An exception that a list cannot express stops the conversion, unless the caller confirms it: without the exception
  the list would block more than the source.
- Names are written in the form in which they are compared (lower case, A-labels), each line once.
"""

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from resolver.authority import formats
from resolver.authority.formats import Drop, Dropped, Entry, Item, Reason
from resolver.authority.issue import is_demonstration
from resolver.authority.repository import Refused
from resolver.config.config import MAX_ENTRIES, MAX_TARGET_BYTES
from resolver.feed import refusals
from resolver.feed.names import read, read_csv, read_master, shape
from resolver.feed.reasons import Refusal
from resolver.signed import header

FORMATS: Final = (*formats.READERS, "csv", "rpz")
_ZONE_REFUSED: Final = {b"?trigger": Refusal.TRIGGER, b"?action": Refusal.ACTION}
_MARKERS: Final = ("!=", "!*.", "!", "=", "*.", "")


class Read(NamedTuple):
    """What a file says: entries, and lines dropped."""

    entries: list[Entry]
    dropped: list[Dropped]


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """A converted list.

    data: the plain list. blocked, exceptions: how many distinct names. lines: of the source. dropped, dropped_lines: by
    reason. repeated: entries that were there before.
    """

    data: bytes
    blocked: int
    exceptions: int
    lines: int
    repeated: int
    dropped: dict[str, int]
    dropped_lines: dict[str, tuple[int, ...]]


def convert(
    data: bytes, source: str, *, without_exceptions: bool = False, psl: read.Suffixes | None = None
) -> Converted:
    """Return the plain list of a file in the format `source`; Refused with what to do if it makes none.

    without_exceptions: go on without those that a list cannot express. psl: by default the installed one.
    """
    if len(data) > MAX_TARGET_BYTES:
        raise Refused(f"larger than {MAX_TARGET_BYTES} bytes")
    try:
        said = _read(data, source)
        kept, dropped = _judged(said.entries, psl or read.suffixes(), source)
    except read.ReadError as error:
        looks = shape.looks_like(data) or ""
        raise Refused(
            refusals.unusable(
                error.reason, error.refused, error.refused_lines, shape=looks, line=error.line, read_as=source
            )
        ) from None
    counts, numbers = _counted([*said.dropped, *dropped])
    lost = counts.get(Drop.EXCEPTION, 0)
    if lost and not without_exceptions:
        raise Refused(
            f"{refusals.lines({Drop.EXCEPTION: lost}, numbers)}: what a list cannot express; without it the list would"
            " block more than this file says; --without-exceptions if that is meant"
        )
    written = dict.fromkeys(kept)
    if not any(not text.startswith("!") for text in written):
        raise Refused(_nothing(data, source, counts, numbers))
    spared = {text.lstrip("!=*.") for text in written if text.startswith("!")}
    head = f"# from {source}; salt={secrets.token_hex(16)}\n"
    return Converted(
        data=(head + "".join(f"{text}\n" for text in written)).encode("ascii"),
        blocked=len({text.lstrip("=*.") for text in written if not text.startswith("!")}),
        exceptions=len(spared),
        lines=data.count(b"\n") + (data[-1:] != b"\n"),
        repeated=len(kept) - len(written),
        dropped=counts,
        dropped_lines=numbers,
    )


def _nothing(
    data: bytes, source: str, counts: Mapping[str, int], numbers: Mapping[str, tuple[int, ...]]
) -> str:
    """Return why nothing of a file blocks anything."""
    hint = refusals.hint(shape.looks_like(data) or "", read_as=source)
    said = f"nothing of it blocks a name; dropped: {refusals.lines(counts, numbers)}"
    return "; ".join(part for part in (said, hint) if part)


def _read(data: bytes, source: str) -> Read:
    """Return what a file says; read.ReadError, or Refused if it lacks what its format must have."""
    read.must_be_utf8(data)
    if source == "csv":
        try:
            header.of_csv(data)
        except header.HeaderMalformed as error:
            raise Refused(f"a CSV begins with a row SERIAL;TIMESTAMP: {error}") from None
        lines, refused = read_csv.plain_lines(data)
        items: list[Item] = [_plain(number, text) for number, text in enumerate(lines.split(b"\n"), 1) if text]
    elif source == "rpz":
        lines, refused = read_master.zone_lines(data)
        items = [_of_zone(number, text) for number, text in enumerate(lines.split(b"\n"), 1) if text]
    else:
        refused = {}
        text = data.decode("utf-8").removeprefix("\ufeff")
        items = list(formats.READERS[source]([line.removesuffix("\r") for line in text.split("\n")]))
    items += [Dropped(number, reason) for reason, numbers in refused.items() for number in numbers]
    return Read(
        [item for item in items if isinstance(item, Entry)], [item for item in items if isinstance(item, Dropped)]
    )


def _plain(number: int, text: bytes) -> Item:
    return Entry(number, "", text.decode("utf-8"))


def _of_zone(number: int, text: bytes) -> Item:
    if text in _ZONE_REFUSED:
        return Dropped(number, _ZONE_REFUSED[text])
    line = text.decode("ascii")
    marker = next(marker for marker in _MARKERS if line.startswith(marker))
    return Entry(number, marker, line.removeprefix(marker))


def _judged(entries: list[Entry], psl: read.Suffixes, source: str) -> tuple[list[str], list[Dropped]]:
    """Return the lines of the list, by the rules of a list, and the entries that are dropped by them."""
    plain = "\n".join(f"{entry.marker}{entry.name}" for entry in entries).encode()
    if not entries:
        return [], []
    try:
        found = read.read(plain, psl, demonstration=is_demonstration(plain, psl), max_entries=MAX_ENTRIES)
    except read.ReadError as error:
        if error.reason != "empty":
            raise
        return [], _refused(entries, set(), error.refused, error.refused_lines)
    names = dict(zip(found.numbers, _names(found.names), strict=True))
    covered, spared = _Cover(entries, names), frozenset[str]()
    if source in formats.EXCEPTIONS_PREVAIL:
        spared = frozenset(name for number, name in names.items() if entries[number - 1].marker == "!")
    kept, dropped = [], []
    for number in sorted(names):
        entry, name = entries[number - 1], names[number]
        if entry.marker[:1] != "!" and not spared.isdisjoint(_suffixes(name)):
            dropped.append(Dropped(entry.line, Drop.SPARED))
        elif entry.unless is None or covered.holds(name):
            kept.append(f"{entry.marker}{name}")
        else:
            dropped.append(Dropped(entry.line, entry.unless))
    return kept, dropped + _refused(entries, set(names), found.refused, found.refused_lines)


class _Cover:
    """Which names the entries block."""

    def __init__(self, entries: list[Entry], names: Mapping[int, str]) -> None:
        blocking = [(entries[number - 1].marker, name) for number, name in names.items()]
        self._selves = {name for marker, name in blocking if marker in ("", "=")}
        self._below = {name for marker, name in blocking if marker in ("", "*.")}

    def holds(self, name: str) -> bool:
        """Return whether an entry blocks the name, or one below it."""
        return name in self._selves or not self._below.isdisjoint(_suffixes(name))


def _suffixes(name: str) -> Iterator[str]:
    """Yield the name and all names above it."""
    while name:
        yield name
        name = name.partition(".")[2]


def _refused(
    entries: list[Entry], kept: set[int], counts: Mapping[str, int], numbers: Mapping[str, tuple[int, ...]]
) -> list[Dropped]:
    """Return the entries that the rules of a list refuse, each with its reason as far as numbers were kept."""
    reasons = {number: reason for reason, those in numbers.items() for number in those}
    most = max(counts, key=lambda reason: counts[reason], default=Refusal.MALFORMED.value)
    found = []
    for number, entry in enumerate(entries, 1):
        if number in kept:
            continue
        reason: Reason = Refusal(reasons.get(number, most))
        if entry.unless is not None:
            reason = entry.unless
        elif entry.marker.startswith("!"):
            reason = Drop.EXCEPTION
        found.append(Dropped(entry.line, reason))
    return found


def _names(wire: bytearray) -> list[str]:
    """Return the names of a blob in text."""
    names, labels, at = [], list[str](), 0
    while at < len(wire):
        size = wire[at]
        if size:
            labels.append(wire[at + 1 : at + 1 + size].decode("ascii"))
        else:
            names.append(".".join(labels))
            labels = []
        at += 1 + size
    return names


def _counted(dropped: list[Dropped]) -> tuple[dict[str, int], dict[str, tuple[int, ...]]]:
    lines: dict[str, list[int]] = {}
    for one in dropped:
        lines.setdefault(str(one.reason), []).append(one.line)
    counts = {reason: len(numbers) for reason, numbers in lines.items()}
    return counts, {
        reason: tuple(sorted(numbers)[: read.MAX_LINE_NUMBERS]) for reason, numbers in lines.items()
    }
