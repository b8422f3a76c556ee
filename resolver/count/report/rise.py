"""Explains a surge: how much of its rise is due to new entries, to more prefixes and to more look-ups of each.

Rules:
- Compared are the mean day of the surge and the mean day of the eight weeks before it, from published totals only.
  Gaps, days of another surge and days on which a part was not counted are left out.
- The three parts add up to the rise: attempts for entries that are new in their serial; then, of the other attempts,
  (prefixes more) x (look-ups of a prefix before), and prefixes x (look-ups of a prefix more).
- Attempts beyond the caps are in no attempt, and so in no part: they are stated beside it, and so are days on which a
  table was full. If they rise, machines retry.
- There is no explanation with fewer than seven days before, or none within.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from statistics import fmean
from typing import Final

from resolver.count.report.baseline import WEEKS, Surge
from resolver.count.report.days import DAY, DayFacts

LEAST_BEFORE: Final = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """The mean of some days: attempts, attempts for new entries, prefixes of the others, and what was capped."""

    attempts: float
    new_entries: float
    prefixes: float
    capped: float

    @property
    def of_a_prefix(self) -> float:
        """Return the attempts of a prefix for entries that are not new."""
        return (self.attempts - self.new_entries) / self.prefixes if self.prefixes else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rise:
    """What a rise is made of. days: how many days of the surge are known; full: on how many a table was full."""

    before: Mean
    within: Mean
    days: int
    full: int

    @property
    def attempts(self) -> float:
        """Return the rise of the attempts of a day; the three parts below add up to it."""
        return self.within.attempts - self.before.attempts

    @property
    def new_entries(self) -> float:
        """Return the part due to entries that are new."""
        return self.within.new_entries - self.before.new_entries

    @property
    def more_prefixes(self) -> float:
        """Return the part due to more prefixes."""
        return (self.within.prefixes - self.before.prefixes) * self.before.of_a_prefix

    @property
    def more_of_each(self) -> float:
        """Return the part due to more look-ups of each prefix."""
        return self.attempts - self.new_entries - self.more_prefixes


def rise(surge: Surge, known: Mapping[date, DayFacts], others: Iterable[Surge] = ()) -> Rise | None:
    """Return what the rise of a surge is made of; None if that cannot be known. others: all surges of the place."""
    last = max(known, default=surge.first)
    spans = [(one.first, one.end or last + DAY) for one in others]
    begin = surge.first - WEEKS * 7 * DAY
    before = [
        facts
        for day, facts in known.items()
        if begin <= day < surge.first and not any(first <= day < end for first, end in spans)
    ]
    within = [facts for day, facts in known.items() if surge.first <= day < (surge.end or last + DAY)]
    before, within = list(filter(_is_known, before)), list(filter(_is_known, within))
    if len(before) < LEAST_BEFORE or not within:
        return None
    full = sum(bool(one.parts.full) for one in within)
    return Rise(before=_mean(before), within=_mean(within), days=len(within), full=full)


def _is_known(one: DayFacts) -> bool:
    return not one.gap and None not in (one.attempts, one.parts.prefixes, one.parts.new_entries)


def _mean(days: list[DayFacts]) -> Mean:
    return Mean(
        attempts=fmean(one.attempts or 0 for one in days),
        new_entries=fmean(one.parts.new_entries or 0 for one in days),
        prefixes=fmean(one.parts.prefixes or 0 for one in days),
        capped=fmean(one.parts.capped or 0 for one in days),
    )
