"""Compares each day with its baseline: ratios, surges, their peaks and their ends.

Rules:
- The baseline of a day is the median of the same weekday in the eight weeks before it; an earlier week replaces one
  that was not counted. With fewer than eight weeks there is no baseline and no ratio.
- The baseline is frozen at the first of three days in a row with a ratio of 1.5 or more: from then on each weekday is
  compared with its eight weeks before that day; otherwise a lasting surge would soon be its own baseline.
- The surge ends with the first of seven days in a row below 1.2; that day is back to normal. Days of a surge are never
  part of a later baseline: earlier weeks replace them.
- Days of two definitions are never compared: a baseline is of days with the definition of the day, a day with several
  has no ratio and is part of no baseline, and a surge is followed until the definition changes, no further.
- A day without a count (a gap) has no ratio, and neither continues nor breaks a row.
- A ratio to a baseline under 100 a day cannot be compared: it is marked, not hidden.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from statistics import median
from typing import Final

WEEKS: Final = 8
SURGE_RATIO: Final = 1.5
SURGE_DAYS: Final = 3
CALM_RATIO: Final = 1.2
CALM_DAYS: Final = 7
LEAST_BASE: Final = 100

_LOOK_BACK_WEEKS: Final = 104
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class DayFigure:
    """One day: its count (None: a gap), its baseline and ratio (None: it has none), whether it is part of a surge.

    changed: its definition differs from that of the days before.
    """

    day: date
    count: int | None
    base: float | None = None
    ratio: float | None = None
    surge: bool = False
    changed: bool = False

    @property
    def small(self) -> bool:
        """Return whether the baseline is too small to compare with."""
        return self.base is not None and self.base < LEAST_BASE


@dataclass(frozen=True, slots=True)
class Surge:
    """A surge: its first day, the day back to normal (None: not yet), and the day of its highest ratio.

    cut: the day on which the definition changed, so that nobody can say how it went on; None if it did not.
    """

    first: date
    back: date | None
    peak: DayFigure
    cut: date | None = None

    @property
    def end(self) -> date | None:
        """Return the first day that is not part of it any more."""
        return self.back or self.cut


def history(
    counts: Mapping[date, int | None], definitions: Mapping[date, frozenset[str]] | None = None
) -> tuple[DayFigure, ...]:
    """Return the figures of every day from the first to the last of `counts`; days that are not in it are gaps.

    definitions: the versions by which each day was counted; none for a day without figures.
    """
    if not counts:
        return ()
    used = definitions or {}
    present: frozenset[str] = frozenset()
    others: set[date] = set()
    found: list[DayFigure] = []
    taken: set[date] = set()
    frozen: date | None = None
    row: list[int] = []
    day, last = min(counts), max(counts)
    while day <= last:
        before, present = present, used.get(day) or present
        changed = bool(before) and present != before
        if changed:
            taken |= {one.day for one in found if frozen is not None and one.day >= frozen}
            frozen, row = None, []
        if present != before:
            others = {one for one, versions in used.items() if versions and versions != present}
        figure = _figure(day, counts, taken | others, frozen) if len(present) < 2 else DayFigure(day, counts.get(day))
        found.append(replace(figure, surge=frozen is not None, changed=changed))
        if figure.ratio is not None:
            goes_on = figure.ratio < CALM_RATIO if frozen else figure.ratio >= SURGE_RATIO
            row = [*row, len(found) - 1] if goes_on else []
        if frozen is None and len(row) == SURGE_DAYS:
            frozen = found[row[0]].day
            found[row[0] :] = [replace(one, surge=True) for one in found[row[0] :]]
            row = []
        elif frozen is not None and len(row) == CALM_DAYS:
            back = found[row[0]].day
            taken |= {one.day for one in found if frozen <= one.day < back}
            found[row[0] :] = [replace(one, surge=False) for one in found[row[0] :]]
            frozen, row = None, []
        day += _DAY
    return tuple(found)


def surges(days: tuple[DayFigure, ...]) -> tuple[Surge, ...]:
    """Return the surges of a history, in order."""
    found: list[Surge] = []
    for number, one in enumerate(days):
        if not one.surge:
            continue
        after = days[number + 1] if number + 1 < len(days) else None
        cut = after.day if after and after.changed else None
        back = after.day if after and not after.surge and not cut else None
        if number and days[number - 1].surge and not one.changed:
            peak = found[-1].peak
            found[-1] = Surge(found[-1].first, back, one if (one.ratio or 0) > (peak.ratio or 0) else peak, cut)
        else:
            found.append(Surge(one.day, back, one, cut))
    return tuple(found)


def _figure(day: date, counts: Mapping[date, int | None], taken: set[date], frozen: date | None) -> DayFigure:
    count, base = counts.get(day), _usual(day, counts, taken, frozen)
    ratio = count / base if count is not None and base else None
    return DayFigure(day, count, base, ratio)


def _usual(day: date, counts: Mapping[date, int | None], taken: set[date], frozen: date | None) -> float | None:
    """Return the median of the last eight counts of the same weekday before `day`, or before `frozen`; else None."""
    before = day if frozen is None else frozen
    found: list[int] = []
    for weeks in range(1, _LOOK_BACK_WEEKS):
        earlier = day - timedelta(weeks=weeks)
        count = counts.get(earlier)
        if earlier >= before or earlier in taken or count is None:
            continue
        found.append(count)
        if len(found) == WEEKS:
            return float(median(found))
    return None
