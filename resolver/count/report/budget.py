"""Adds up what figures with noise have given away, and refuses what would be too much.

Rules:
- The unit is epsilon for one client: for each day that a figure covers, it costs its epsilon (half of a report's). What
  a day costs adds up over all figures that cover it, whatever their epsilon, definition and days.
- A client is seen in one region, and in the figures of all regions together: a day costs what those of all regions
  cost, and the dearest region.
- A year costs the sum of its days: what a client loses at most who adds what the cap allows on each of them.
- What this host gives away of itself and of its fleet adds up: a client may be in both.
- Each list has its own budget. A figure that was drawn before costs nothing again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from resolver.count.ledger import Draw
from resolver.count.report.days import DAY
from resolver.count.report.figures import ALL_REGIONS

YEAR: Final = 400_00
"""What a list's figures may cost in a year, in hundredths of epsilon: each day in one report, and a month more."""
DAY_MOST: Final = 2_00
"""What they may cost for one day."""


class Spent(Exception):
    """The budget has not enough left; the text says of which list and year, and what to do."""


@dataclass(frozen=True, slots=True)
class Spending:
    """What a list's figures of a year have cost one client, and the most for one of its days, in hundredths."""

    list_id: str
    year: int
    hundredths: int
    dearest_day: int

    def __str__(self) -> str:
        return (
            f"list {self.list_id}, {self.year}: {epsilon(self.hundredths)} of {epsilon(YEAR)} spent, "
            f"at most {epsilon(self.dearest_day)} of {epsilon(DAY_MOST)} for one day"
        )


def spendings(draws: Iterable[Draw]) -> tuple[Spending, ...]:
    """Return what all figures have cost, by list and year."""
    costs: dict[tuple[str, date], dict[str, int]] = {}
    for one in draws:
        day, last = date.fromisoformat(one.first), date.fromisoformat(one.last)
        while day <= last:
            by_region = costs.setdefault((one.list_id, day), {})
            by_region[one.region] = by_region.get(one.region, 0) + one.epsilon
            day += DAY
    years: dict[tuple[str, int], list[int]] = {}
    for (list_id, day), by_region in costs.items():
        years.setdefault((list_id, day.year), []).append(_of_day(by_region))
    return tuple(Spending(*place, sum(days), max(days)) for place, days in sorted(years.items()))


def check(draws: Sequence[Draw]) -> None:
    """Raise Spent if these figures cost more than a year's budget, or a day's."""
    for one in spendings(draws):
        if one.hundredths > YEAR or one.dearest_day > DAY_MOST:
            left = "give the figures that were drawn before (the same days, epsilon and regions), or wait"
            raise Spent(f"the budget of noise refuses this report: with it, {one}; {left}")


def epsilon(hundredths: int) -> str:
    """Return hundredths of epsilon as text."""
    return f"{hundredths / 100:.2f}".rstrip("0").rstrip(".")


def _of_day(by_region: Mapping[str, int]) -> int:
    regions = [cost for region, cost in by_region.items() if region != ALL_REGIONS]
    return by_region.get(ALL_REGIONS, 0) + max(regions, default=0)
