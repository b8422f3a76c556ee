"""One list to publish, and whether it may be: read by the resolver's own rules before it is signed.

Rules:
- One with refused lines is not published unless their number was typed.
- What is told of it are numbers: of entries, of lines, of refused ones by reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from resolver.authority.repository import Refused
from resolver.config.config import MAX_ENTRIES, MAX_TARGET_BYTES
from resolver.feed.names import read
from resolver.feed.reasons import Refusal

_SAMPLE_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """One list to publish; `expires_s` is counted from now, None sets no hard limit of the list's own.

    recipients: name to age public key, none for a list in clear. drop: who gets no copy any more.
    """

    list_id: str
    data: bytes
    serial: int
    expires_s: float | None = None
    expect_entries: int | None = None
    expect_refused: int = 0
    recipients: Mapping[str, str] = field(default_factory=dict)
    drop: tuple[str, ...] = ()


def entries_of(issue: Issue) -> int:
    """The number of different names of a list that may be published; Refused otherwise."""
    if len(issue.data) > MAX_TARGET_BYTES:
        raise Refused(f"{issue.list_id}: larger than {MAX_TARGET_BYTES} bytes")
    try:
        found = read.read(
            issue.data, read.suffixes(), demonstration=_is_demonstration(issue.data), max_entries=MAX_ENTRIES
        )
    except read.ReadError as error:
        raise Refused(f"{issue.list_id}: {error.reason.replace('_', ' ')}") from None
    if not found.blocks:
        raise Refused(f"{issue.list_id}: empty: it holds exceptions alone; to end it, withdraw it")
    refused = sum(found.refused.values())
    if refused != issue.expect_refused:
        raise Refused(f"{issue.list_id}: {refused} lines would be refused: {_told(found)}")
    entries = read.distinct(found)
    if issue.expect_entries not in (None, entries):
        raise Refused(f"{issue.list_id}: {entries} entries, not {issue.expect_entries}")
    return entries


def _is_demonstration(data: bytes) -> bool:
    """Whether the list begins with reserved names, which only a demonstration list holds."""
    start = data[: data.find(b"\n", _SAMPLE_BYTES) + 1 or len(data)]
    try:
        found = read.read(start, read.suffixes(), demonstration=True, max_entries=MAX_ENTRIES)
    except read.ReadError:
        return False
    return found.lines > found.refused.get(Refusal.NOT_RESERVED, 0)


def _told(found: read.Entries) -> str:
    """Refused lines by reason and number, the first few of each."""
    parts = []
    for reason, count in sorted(found.refused.items()):
        numbers = ", ".join(map(str, found.refused_lines[reason][:5]))
        parts.append(f"{count} {reason.replace('_', ' ')} (line {numbers}{', ...' if count > 5 else ''})")
    return "; ".join(parts) or "none"
