"""Decides when new entries of a list block too many clients. Time and counts are arguments; only numbers are kept.

Rules:
- It compares, in the running minute, the distinct client prefixes (/32, /56) that new entries block with all prefixes
  seen.
- Too many is more than each of: SHARE of those seen, TIMES last week's median minute, FLOOR. Until a week is known the
  median is left out.
- A single household never trips it, and never shows in it: FLOOR is above that.
- It closes after CALM_MINUTES in a row within these bounds.
"""

from array import array
from statistics import median
from typing import Final

SHARE: Final = 0.01
TIMES: Final = 10
FLOOR: Final = 20
WEEK_MINUTES: Final = 7 * 24 * 60
CALM_MINUTES: Final = 10
_MINUTE_S: Final = 60


class Seen:
    """Counts the prefixes seen in the running minute, over tables that are replaced within it."""

    def __init__(self) -> None:
        self._minute = -1
        self._before = 0
        self._last = 0
        self._table: object = None

    def count(self, table: object, minute: int, prefixes: int) -> int:
        """Return all prefixes of `minute`, of which `table` has counted so many."""
        if minute != self._minute:
            self._minute, self._before, self._last = minute, 0, 0
        elif table is not self._table:
            self._before += self._last
        self._table, self._last = table, prefixes
        return self._before + prefixes


class Breaker:
    """One list's minutes.

    usual: the median of what new entries block in a minute, over a week; None until a week is known.
    """

    def __init__(self) -> None:
        self.open = False
        self._minute = -1
        self._at_start = self._total = 0
        self._blocked = 0
        self._surged = False
        self._calm = 0
        self._week = array("I")
        self._next = 0
        self.usual: float | None = None

    def look(self, total: int, seen: int, now_s: float) -> bool:
        """Return whether the running minute is past its bounds, for the first time.

        total: prefixes blocked by new entries since the start; seen: prefixes in the running minute.
        """
        minute = int(now_s) // _MINUTE_S
        if self._minute < 0:
            self._minute, self._at_start = minute, total
        elif minute != self._minute:
            self._turn(minute)
            self._minute, self._at_start = minute, self._total
        self._total, self._blocked = total, total - self._at_start
        if self._surged or self._blocked <= self._bound(seen):
            return False
        self._surged = self.open = True
        return True

    def _bound(self, seen: int) -> float:
        return max(FLOOR, SHARE * seen, TIMES * (self.usual or 0))

    def _turn(self, minute: int) -> None:
        """Note the minute that ended, and those without a look."""
        self._calm = 0 if self._surged else self._calm + minute - self._minute
        if self._calm >= CALM_MINUTES:
            self.open = False
        self._surged = False
        self._note(self._blocked)
        for _ in range(min(minute - self._minute - 1, WEEK_MINUTES)):
            self._note(0)
        if len(self._week) == WEEK_MINUTES:
            self.usual = median(self._week)

    def _note(self, blocked: int) -> None:
        if len(self._week) < WEEK_MINUTES:
            self._week.append(blocked)
        else:
            self._week[self._next] = blocked
            self._next = (self._next + 1) % WEEK_MINUTES
