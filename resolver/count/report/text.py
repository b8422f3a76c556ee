"""The words of a report, the same in every format: what is told, by which definition, with which caveat.

Rules:
- The definition, the caveat and, where noise was added, its sentence are part of every format.
- A number that is not known is a dash, never a zero; a ratio says how many times the baseline.
"""

from collections.abc import Iterable
from typing import Final

from resolver.count import definition
from resolver.count.report.baseline import Surge
from resolver.count.report.days import Place
from resolver.count.report.figures import MINUTES_OF_A_DAY, Day, Gap, Month, PlaceFigures, Report

TITLE: Final = "Blocked look-ups"
UNKNOWN: Final = "-"

NO_SURGE: Final = "No surge was found: three days in a row at 1.5 times the baseline or more."

HOW_TO_READ: Final = (
    "Per 100,000: blocked queries in 100,000 answers. Times the baseline: the attempts in relation to the median of "
    "the same weekday in the eight weeks before, frozen at the first of three days at 1.5 times or more until the "
    "first of seven days below 1.2. Compare ratios and dates, never counts, between regions, lists or operators."
)

COLUMNS: Final = (
    "Month",
    "Attempts",
    "Blocked queries",
    "Per 100,000",
    "Times the baseline",
    "Peak day",
    "Peak",
    "Minutes enforced",
    "Gaps (days)",
    "Comparable",
)


def title(report: Report) -> str:
    """One line: what, from when to when."""
    return f"{TITLE}, {report.first} to {report.last} (days in UTC)"


def preface(report: Report) -> tuple[str, ...]:
    """What belongs to every number, a sentence or two in each."""
    said = (
        f"Attempts are {definition.IN_PRINT}.",
        definition.CAVEAT,
        f"Source: {report.source}; made {report.made}.",
    )
    return (*said, report.noise) if report.noise else said


def explained(report: Report) -> tuple[str, ...]:
    """The definitions in full, for the end of a page."""
    used = sorted({name for one in report.places for day in one.days for name in day.facts.definitions})
    named = f"Counted by definition {', '.join(used)}." if used else "Nothing was counted."
    return (named, definition.ATTEMPT, definition.BLOCKED_QUERY, definition.COMPLETE, HOW_TO_READ)


def heading(place: Place) -> str:
    """Region and list as a heading."""
    region = {"": "No region named", "all": "All regions"}.get(place.region, place.region)
    return f"{region}, list {place.list_id}"


def number(count: int | None) -> str:
    """A count with its thousands apart."""
    return UNKNOWN if count is None else f"{count:,}"


def share(value: float | None) -> str:
    """A number per 100,000."""
    return UNKNOWN if value is None else f"{value:,.2f}"


def times(ratio: float | None) -> str:
    """How many times the baseline."""
    return UNKNOWN if ratio is None else f"{ratio:.2f}"


def peak(day: Day | None) -> tuple[str, str]:
    """The day of a peak, and how high it was."""
    if day is None:
        return UNKNOWN, UNKNOWN
    if day.figure.ratio is None:
        return day.day.isoformat(), f"{number(day.facts.attempts)} attempts"
    return day.day.isoformat(), f"{times(day.figure.ratio)} times"


def row(month: Month) -> tuple[str, ...]:
    """The cells of a month, as COLUMNS name them; `incomparable` says why where the last is no."""
    return (
        month.name,
        number(month.attempts),
        number(month.queries),
        share(month.per_100k),
        times(month.ratio),
        *peak(month.peak),
        number(month.enforced_minutes),
        str(sum((gap.last - gap.first).days + 1 for gap in month.gaps)),
        "no" if month.not_comparable else "yes",
    )


def not_comparable(month: Month) -> str:
    """Why a month is not to be compared; "" where it may be."""
    return "; ".join(month.not_comparable)


def surge(one: Surge) -> str:
    """A surge in a sentence."""
    back = f"back to normal on {one.back}" if one.back else "not back to normal within these days"
    return f"Surge from {one.first}: peak on {one.peak.day} at {times(one.peak.ratio)} times the baseline, {back}."


def surges(place: PlaceFigures) -> tuple[str, ...]:
    """Every surge in a sentence, or that there was none."""
    return tuple(map(surge, place.surges)) or (NO_SURGE,)


def in_force(place: PlaceFigures) -> str:
    """What was in force of the list when the days ended, and for how long it was enforced."""
    last = place.days[-1]
    serial = UNKNOWN if last.facts.serial is None else str(last.facts.serial)
    told = f"At the end of {last.day}: serial {serial}, {number(last.facts.entries)} entries."
    minutes = sum(month.enforced_minutes for month in place.months)
    return f"{told} Enforced for {number(minutes)} of {number(len(place.days) * MINUTES_OF_A_DAY)} minutes."


def incomparable(months: Iterable[Month]) -> tuple[str, ...]:
    """A line for each month that is not to be compared."""
    return tuple(f"{one.name} is not comparable: {not_comparable(one)}." for one in months if one.not_comparable)


def gaps(months: Iterable[Month]) -> tuple[str, ...]:
    """Every gap in a line; what runs over the end of a month is one."""
    found: list[Gap] = []
    for gap in (gap for month in months for gap in month.gaps):
        if found and found[-1].why == gap.why and (gap.first - found[-1].last).days == 1:
            found[-1] = Gap(found[-1].first, gap.last, gap.why)
        else:
            found.append(gap)
    return tuple(
        f"{gap.first}: {gap.why}." if gap.first == gap.last else f"{gap.first} to {gap.last}: {gap.why}."
        for gap in found
    )
