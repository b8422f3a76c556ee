"""Checks a list by the resolver's own reading rules before the authority signs it.

Rules:
- A list with refused lines, or with exceptions, is not published unless the authority typed their exact number.
- Messages hold numbers only: of entries, of lines, of refused lines by reason.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from resolver.authority.repository import Refused
from resolver.config.config import MAX_ENTRIES, MAX_TARGET_BYTES
from resolver.config.values import many, noun
from resolver.feed import refusals
from resolver.feed.names import read, shape
from resolver.feed.reasons import Refusal

_SAMPLE_BYTES: Final = 65_536
_LINES: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """One list to publish; `expires_s` counts from now, None gives the list no hard limit of its own.

    production: no reserved names, as resolvers in production read it, whatever the list looks like.
    recipients: name to age public key, empty for a list in clear. drop: names of recipients that get no more copies.
    """

    list_id: str
    data: bytes
    serial: int
    expires_s: float | None = None
    expect_entries: int | None = None
    expect_refused: int = 0
    expect_exceptions: int = 0
    production: bool = False
    recipients: Mapping[str, str] = field(default_factory=dict)
    drop: tuple[str, ...] = ()


def counted(issue: Issue) -> read.Distinct:
    """Return the numbers of distinct names of a list; Refused if it may not be published."""
    if len(issue.data) > MAX_TARGET_BYTES:
        raise Refused(f"{issue.list_id}: larger than {MAX_TARGET_BYTES} bytes")
    demonstration = not issue.production and is_demonstration(issue.data)
    try:
        found = read.read(issue.data, read.suffixes(), demonstration=demonstration, max_entries=MAX_ENTRIES)
    except read.ReadError as error:
        raise Refused(f"{issue.list_id}: {_unreadable(error, issue.data)}") from None
    if not found.blocks:
        raise Refused(f"{issue.list_id}: empty: it holds only exceptions; to end the list, withdraw it")
    refused = sum(found.refused.values())
    if refused != issue.expect_refused:
        said = _refused(refused, issue.expect_refused, found)
        looks = refusals.hint(shape.looks_like(issue.data) or "") if refused > found.lines else ""
        raise Refused(f"{issue.list_id}: {'; '.join(part for part in (said, looks) if part)}")
    numbers = read.distinct(found)
    if numbers.exceptions != issue.expect_exceptions:
        raise Refused(f"{issue.list_id}: {_spared(numbers, issue.expect_exceptions, found)}")
    if issue.expect_entries not in (None, numbers.entries):
        said = f"{many(numbers.entries, 'entry', 'entries')}, not the {issue.expect_entries} of --expect-entries"
        raise Refused(f"{issue.list_id}: it has {said}")
    return numbers


def _unreadable(error: read.ReadError, data: bytes) -> str:
    """Return why a whole list is refused, with what it looks like."""
    if error.reason == "too_many_entries":
        return f"more than {MAX_ENTRIES} entries"
    found = shape.looks_like(data) or ""
    said = refusals.unusable(error.reason, error.refused, error.refused_lines, shape=found, line=error.line)
    return said if error.refused or found or error.line else f"empty; to end the list, withdraw it: {said}"


def is_demonstration(
    data: bytes, psl: read.Suffixes | None = None, reader: Callable[..., read.Entries] = read.read
) -> bool:
    """Return whether the first lines hold reserved names, which only a demonstration list may hold."""
    start = data[: data.find(b"\n", _SAMPLE_BYTES) + 1 or len(data)]
    try:
        found = reader(start, psl or read.suffixes(), demonstration=True, max_entries=MAX_ENTRIES)
    except read.ReadError:
        return False
    return found.lines > found.refused.get(Refusal.NOT_RESERVED, 0)


def _refused(count: int, expected: int, found: read.Entries) -> str:
    """Return why the number of refused lines stops a list, their reasons, and what to do."""
    lines = f"{many(count, 'line')} would be refused"
    if expected:
        lines += f", not the {expected} of --expect-refused"
    remedy = f"correct {noun(count, 'it', 'them')}, or confirm with --expect-refused {count}"
    return f"{lines}: {_refused_lines(found)}; {remedy}" if count else f"{lines}; leave the option out"


def _spared(numbers: read.Distinct, expected: int, found: read.Entries) -> str:
    """Return why the number of exceptions stops a list, their lines, and what to do."""
    said = f"{many(numbers.blocked, 'name')} blocked, {many(numbers.exceptions, 'exception')}"
    if expected:
        said += f", not the {expected} of --expect-exceptions"
    if not numbers.exceptions:
        return f"{said}; leave the option out"
    lines = read.exception_lines(found, _LINES + 1)
    return (
        f"{said} (line {_few(lines)}): a line that begins with ! unblocks its name;"
        f" if that is meant, confirm with --expect-exceptions {numbers.exceptions}"
    )


def _refused_lines(found: read.Entries) -> str:
    """Return the refused lines by reason, with the numbers of the first few."""
    return "; ".join(
        f"{count} {reason.replace('_', ' ')} (line {_few(found.refused_lines[reason])})"
        for reason, count in sorted(found.refused.items())
    )


def _few(lines: Sequence[int]) -> str:
    return ", ".join(map(str, lines[:_LINES])) + (", ..." if len(lines) > _LINES else "")
