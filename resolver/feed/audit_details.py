"""Writes and parses the detail of an audit log entry.

Rules:
- A detail is parsed by the form that these functions write. One of another form, such as that of an earlier release,
  parses to nothing.
- A detail holds dates, reasons of a closed set, persons by their names in the allowed signers, and keys; never a name
  of a list.
"""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from resolver.config.values import utc_seconds, utc_text

_ISSUED: Final = re.compile(r"(?:([a-z_ ]+); )?issued (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)")
_REASONS: Final = re.compile(r"([a-z_]+(?: [a-z_]+)*)(?:; issued .+)?")
_APPROVAL: Final = re.compile(r"([a-z-]+): (\S+) (SHA256:\S+), by uid (\d+)(?:; standing approval .+)?")
_RELEASE: Final = re.compile(r"release (\d+)(?: line (\d+))?: (.+)")
_UNTIL: Final = re.compile(r"until (\d+), by uid (\d+)")
_SIGNED: Final = re.compile(r"by (\S+) (SHA256:\S+)")


class Approved(NamedTuple):
    """A counted signature, as the log has it; uid: of the process that handed it in, as the kernel reports."""

    action: str
    principal: str
    key: str
    uid: int


class OfRelease(NamedTuple):
    """A detail about a release; line: of the entry in the list, None if unknown; said: the rest of the detail."""

    number: int
    line: int | None
    said: str


def issued(at: int) -> str:
    """Write when a list was issued (unix seconds); "" if its source does not say."""
    return f"issued {utc_text(at)}" if at > 0 else ""


def in_force(issued_at: int, *, kept: bool = False) -> str:
    """Write when a list that came into force was issued; kept: what it sets aside was approved in an earlier one."""
    return "; ".join(filter(None, ("lines set aside stay approved" if kept else "", issued(issued_at))))


def held(reasons: Iterable[str], issued_at: int) -> str:
    """Write why a list is held, and when it was issued."""
    return "; ".join(filter(None, (" ".join(reasons), issued(issued_at))))


def approved(action: str, principal: str, key: str, uid: int, standing: str = "") -> str:
    """Write whose signature was counted for a decision; standing: of an approval that has terms, as `standing` says."""
    return f"{action}: {principal} {key}, by uid {uid}{standing and f'; {standing}'}"


def standing(number: int, said: str = "") -> str:
    """Write which standing approval, and what it allows."""
    return f"standing approval {number}{said and f': {said}'}"


def of_release(number: int, line: int | None, said: str) -> str:
    """Write what happened to a release."""
    return f"release {number}{'' if line is None else f' line {line}'}: {said}"


def released(until: int, uid: int) -> str:
    """Write until when (unix seconds) a name is released, and which user asked."""
    return f"until {until}, by uid {uid}"


def confirmed(principal: str, key: str) -> str:
    """Write who signed for a release."""
    return f"by {principal} {key}"


def issued_of(detail: str) -> int:
    """Parse when a list was issued (unix seconds); 0 if the detail does not say."""
    found = _ISSUED.fullmatch(detail)
    try:
        return utc_seconds(found[2]) if found else 0
    except ValueError:
        return 0


def reasons_of(detail: str) -> tuple[str, ...]:
    """Parse why a list is held."""
    found = _REASONS.fullmatch(detail)
    return tuple(found[1].split()) if found else ()


def approved_of(detail: str) -> Approved | None:
    """Parse whose signature was counted."""
    found = _APPROVAL.fullmatch(detail)
    return Approved(found[1], found[2], found[3], int(found[4])) if found else None


def release_of(detail: str) -> OfRelease | None:
    """Parse which release an entry is about."""
    found = _RELEASE.fullmatch(detail)
    return OfRelease(int(found[1]), int(found[2]) if found[2] else None, found[3]) if found else None


def released_of(said: str) -> tuple[int, int] | None:
    """Parse until when a name is released (unix seconds), and which user (uid) asked."""
    found = _UNTIL.fullmatch(said)
    return (int(found[1]), int(found[2])) if found else None


def in_words(detail: str) -> str:
    """Return a detail as a person reads it: with dates instead of unix seconds."""
    found = release_of(detail)
    about = released_of(found.said) if found else None
    if found is None or about is None:
        return detail
    until, uid = about
    return of_release(found.number, found.line, f"until {utc_text(until)}, by uid {uid}")


def confirmed_of(said: str) -> tuple[str, str] | None:
    """Parse person and key of the signature for a release."""
    found = _SIGNED.fullmatch(said)
    return (found[1], found[2]) if found else None
