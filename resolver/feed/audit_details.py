"""What the detail of an audit line says: written and read in one place.

Rules:
- A detail is read by the form that these functions write. What has another form, such as a line of an earlier release,
  says nothing.
- No detail names anything of a list: dates, reasons of a closed list, persons as the allowed signers call them, keys.
"""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from resolver.config.values import utc_seconds, utc_text

_ISSUED: Final = re.compile(r"(?:([a-z_ ]+); )?issued (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)")
_REASONS: Final = re.compile(r"([a-z_]+(?: [a-z_]+)*)(?:; issued .+)?")
_APPROVAL: Final = re.compile(r"([a-z-]+): (\S+) (SHA256:\S+), by uid (\d+)")
_RELEASE: Final = re.compile(r"release (\d+)(?: line (\d+))?: (.+)")
_UNTIL: Final = re.compile(r"until (\d+), by uid (\d+)")
_SIGNED: Final = re.compile(r"by (\S+) (SHA256:\S+)")


class Approved(NamedTuple):
    """Who has signed for what, as the log has it; uid: the kernel's word for who handed the signature in."""

    action: str
    principal: str
    key: str
    uid: int


class OfRelease(NamedTuple):
    """What happened to a release of this number; line: of the list, None where it is not known."""

    number: int
    line: int | None
    said: str


def issued(at: int) -> str:
    """When a list was issued (unix seconds); "" where its source does not say."""
    return f"issued {utc_text(at)}" if at > 0 else ""


def held(reasons: Iterable[str], issued_at: int) -> str:
    """Why a list is held, and when it was issued."""
    return "; ".join(filter(None, (" ".join(reasons), issued(issued_at))))


def approved(action: str, principal: str, key: str, uid: int) -> str:
    """Whose signature was counted for a decision."""
    return f"{action}: {principal} {key}, by uid {uid}"


def of_release(number: int, line: int | None, said: str) -> str:
    """What happened to a release."""
    return f"release {number}{'' if line is None else f' line {line}'}: {said}"


def released(until: int, uid: int) -> str:
    """Until when (unix seconds) a name is released, and who asked."""
    return f"until {until}, by uid {uid}"


def confirmed(principal: str, key: str) -> str:
    """Who has signed for a release."""
    return f"by {principal} {key}"


def issued_of(detail: str) -> int:
    """When a list was issued (unix seconds), 0 where it is not said."""
    found = _ISSUED.fullmatch(detail)
    try:
        return utc_seconds(found[2]) if found else 0
    except ValueError:
        return 0


def reasons_of(detail: str) -> tuple[str, ...]:
    """Why a list is held."""
    found = _REASONS.fullmatch(detail)
    return tuple(found[1].split()) if found else ()


def approved_of(detail: str) -> Approved | None:
    """Whose signature was counted."""
    found = _APPROVAL.fullmatch(detail)
    return Approved(found[1], found[2], found[3], int(found[4])) if found else None


def release_of(detail: str) -> OfRelease | None:
    """Which release a line is about."""
    found = _RELEASE.fullmatch(detail)
    return OfRelease(int(found[1]), int(found[2]) if found[2] else None, found[3]) if found else None


def released_of(said: str) -> tuple[int, int] | None:
    """Until when a name is released (unix seconds), and who asked."""
    found = _UNTIL.fullmatch(said)
    return (int(found[1]), int(found[2])) if found else None


def confirmed_of(said: str) -> tuple[str, str] | None:
    """Person and key that have signed for a release."""
    found = _SIGNED.fullmatch(said)
    return (found[1], found[2]) if found else None
