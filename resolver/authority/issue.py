"""Checks a list by the resolver's own reading rules before the authority signs it.

Rules:
- A list with refused lines is not published unless the authority typed their exact number.
- Messages hold numbers only: of entries, of lines, of refused lines by reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from resolver.authority.repository import Refused
from resolver.config.config import MAX_ENTRIES, MAX_TARGET_BYTES
from resolver.feed.names import read
from resolver.feed.reasons import Refusal

_SAMPLE_BYTES: Final = 65_536
_UNREADABLE: Final = {
    "not_utf8": "not UTF-8",
    "empty": "empty; to end the list, withdraw it",
    "too_many_entries": f"more than {MAX_ENTRIES} entries",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """One list to publish; `expires_s` counts from now, None gives the list no hard limit of its own.

    recipients: name to age public key, empty for a list in clear. drop: names of recipients that get no more copies.
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
    """Return the number of distinct names of a list; Refused if it may not be published."""
    if len(issue.data) > MAX_TARGET_BYTES:
        raise Refused(f"{issue.list_id}: larger than {MAX_TARGET_BYTES} bytes")
    try:
        found = read.read(
            issue.data, read.suffixes(), demonstration=_is_demonstration(issue.data), max_entries=MAX_ENTRIES
        )
    except read.ReadError as error:
        raise Refused(f"{issue.list_id}: {_UNREADABLE[error.reason]}") from None
    if not found.blocks:
        raise Refused(f"{issue.list_id}: empty: it holds only exceptions; to end the list, withdraw it")
    refused = sum(found.refused.values())
    if refused != issue.expect_refused:
        raise Refused(f"{issue.list_id}: {refused} lines would be refused: {_refused_lines(found)}")
    entries = read.distinct(found)
    if issue.expect_entries not in (None, entries):
        raise Refused(f"{issue.list_id}: it has {entries} entries, not the {issue.expect_entries} of --expect-entries")
    return entries


def _is_demonstration(data: bytes) -> bool:
    """Return whether the first lines hold reserved names, which only a demonstration list may hold."""
    start = data[: data.find(b"\n", _SAMPLE_BYTES) + 1 or len(data)]
    try:
        found = read.read(start, read.suffixes(), demonstration=True, max_entries=MAX_ENTRIES)
    except read.ReadError:
        return False
    return found.lines > found.refused.get(Refusal.NOT_RESERVED, 0)


def _refused_lines(found: read.Entries) -> str:
    """Return the refused lines by reason, with the numbers of the first few."""
    parts = []
    for reason, count in sorted(found.refused.items()):
        numbers = ", ".join(map(str, found.refused_lines[reason][:5]))
        parts.append(f"{count} {reason.replace('_', ' ')} (line {numbers}{', ...' if count > 5 else ''})")
    return "; ".join(parts) or "none"
