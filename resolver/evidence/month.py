"""Months: their bounds, their order, and when one is over.

Rules:
- Months and days are UTC. A month is over once its last beat can be in the ledger.
- Of a month that is not over only days that are over are told.
"""

import re
from datetime import UTC, date, datetime
from typing import Final, NamedTuple

from resolver.count.report.days import DAY, midnight

SETTLED_S: Final = 900
"""So long after the end of a month its last beat is surely written."""
EARLIEST: Final = 2000

_MONTH: Final = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")


class NotAMonth(Exception):
    """The text is no month that can be told of; says why."""


class Month(NamedTuple):
    """A month, or what of it is over; `last` is its last day that is told."""

    name: str
    first: date
    last: date
    complete: bool

    @property
    def begin(self) -> int:
        """Its first second."""
        return midnight(self.first)

    @property
    def end(self) -> int:
        """The first second after it."""
        return midnight(self.last + DAY)


def whole(name: str) -> Month:
    """The whole of a month written as YYYY-MM; NotAMonth."""
    found = _MONTH.fullmatch(name)
    if found is None or int(found[1]) < EARLIEST:
        raise NotAMonth("--month: expected a month as YYYY-MM")
    first = date(int(found[1]), int(found[2]), 1)
    return Month(name, first, _next(first) - DAY, True)


def so_far(name: str, now: float) -> Month:
    """What of a month is over at `now` (unix seconds); NotAMonth where nothing is, or all of it."""
    month = whole(name)
    if now >= month.end + SETTLED_S:
        raise NotAMonth(f"{name} is over: leave --so-far out")
    yesterday = datetime.fromtimestamp(now, UTC).date() - DAY
    if yesterday < month.first:
        raise NotAMonth(f"no day of {name} is over")
    return month._replace(last=min(month.last, yesterday), complete=False)


def is_over(month: Month, now: float) -> bool:
    """Whether all of a month can be told at `now` (unix seconds)."""
    return now >= month.end + SETTLED_S


def after(name: str) -> str:
    """The month that follows."""
    return f"{_next(whole(name).first):%Y-%m}"


def before(name: str) -> str:
    """The month before."""
    return f"{whole(name).first - DAY:%Y-%m}"


def _next(first: date) -> date:
    return first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
