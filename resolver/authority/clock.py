"""Refuses to sign with a clock that is far off: resolvers accept no list before its date, and none with an older one.

Rules:
- The dates that were signed here are all there is to compare with: the list's last `issued`, and in the timestamp the
  time of its signature (SIGNED, `serve`) and its end.
- A clock that seems ahead is confirmed by `refresh`; what was signed by a clock that was ahead is given up with
  `--clock-was-ahead`. No resolver with a right clock can have accepted such a list.
"""

from typing import Final

from resolver.authority.repository import Refused, Repository
from resolver.config.values import span, utc_text
from resolver.signed.metadata import Custom

SIGNED: Final = "x-signed"
"""Names the field of the timestamp with the time of its signature, in unix seconds; resolvers ignore it."""

BEHIND_S: Final = 60
"""A clock may be so much behind the last signature: small corrections are no fault."""

AHEAD_S: Final = 7 * 86400
"""Metadata may have run out this long ago before the clock is doubted."""


def check_behind(repository: Repository, now: float) -> None:
    """Refuse to sign with a clock that is far behind the last signature."""
    signed = repository.timestamp().signed.unrecognized_fields.get(SIGNED, 0)
    if now < signed - BEHIND_S:
        raise Refused(
            f"this machine's clock says {utc_text(now)}, but {repository.folder} was signed last at {utc_text(signed)}:"
            " set the clock; if it was ahead then, repeat with --clock-was-ahead"
        )


def check_ahead(repository: Repository, now: float) -> None:
    """Refuse to sign a list with a clock that is far past the end of what is served."""
    ended = repository.timestamp().signed.expires.timestamp()
    if now > ended + AHEAD_S:
        raise Refused(
            f"this machine's clock says {utc_text(now)}, and what is served ran out {span(now - ended)} ago: set the"
            " clock; if it is right, run `authority refresh` first"
        )


def check_issued(before: Custom, custom: Custom) -> None:
    """Refuse a list that would be dated before the one that is published."""
    if custom.issued < before.issued:
        raise Refused(
            f"{custom.list}: this machine's clock says {utc_text(custom.issued)}, but serial {before.serial} was issued"
            f" at {utc_text(before.issued)}: set the clock; if it was ahead then, repeat with --clock-was-ahead"
        )
