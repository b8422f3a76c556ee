"""Computes the bounds and the order of months, and when a month is over.

Rules:
- Months and days are UTC. A month is over once its last beat can be in the ledger.
- Evidence of a month that is not over covers only its days that are over.
"""

import re
from datetime import UTC, date, datetime
from typing import Final, NamedTuple

from resolver.count.report.days import DAY, midnight

SETTLED_S: Final = 900
"""Time after the end of a month by which its last beat is surely written, in seconds."""
EARLIEST: Final = 2000

_MONTH: Final = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")


class NotAMonth(Exception):
    """The text is not a month that evidence can cover; the message says why."""


class Month(NamedTuple):
    """A month, or the part of it that is over; `last` is the last day covered."""

    name: str
    first: date
    last: date
    complete: bool

    @property
    def begin(self) -> int:
        """Return its first second (unix time)."""
        return midnight(self.first)

    @property
    def end(self) -> int:
        """Return the first second after it (unix time)."""
        return midnight(self.last + DAY)


def whole(name: str) -> Month:
    """Return the whole of a month written as YYYY-MM; NotAMonth."""
    found = _MONTH.fullmatch(name)
    if found is None or int(found[1]) < EARLIEST:
        raise NotAMonth("--month: expected a month as YYYY-MM")
    first = date(int(found[1]), int(found[2]), 1)
    return Month(name, first, _next(first) - DAY, True)


def so_far(name: str, now: float) -> Month:
    """Return the part of a month that is over at `now` (unix seconds); NotAMonth if none of it is, or all of it."""
    month = whole(name)
    if now >= month.end + SETTLED_S:
        raise NotAMonth(f"{name} is over: leave out --so-far")
    yesterday = datetime.fromtimestamp(now, UTC).date() - DAY
    if yesterday < month.first:
        raise NotAMonth(f"no day of {name} is over yet")
    return month._replace(last=min(month.last, yesterday), complete=False)


def is_over(month: Month, now: float) -> bool:
    """Return whether evidence of the whole month can be made at `now` (unix seconds)."""
    return now >= month.end + SETTLED_S


def after(name: str) -> str:
    """Return the month after `name`."""
    return f"{_next(whole(name).first):%Y-%m}"


def before(name: str) -> str:
    """Return the month before `name`."""
    return f"{whole(name).first - DAY:%Y-%m}"


def _next(first: date) -> date:
    return first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
