"""The sentences of a report, the same in every format.

Rules:
- The definition, the caveat and, if noise was added, its sentence are part of every format.
- An unknown number is a dash, never a zero; a ratio is written as a multiple of the baseline.
"""

from collections.abc import Iterable
from typing import Final

from resolver.config.values import many
from resolver.count import definition
from resolver.count.report.baseline import Surge
from resolver.count.report.days import Place
from resolver.count.report.figures import MINUTES_OF_A_DAY, Day, Gap, Month, PlaceFigures, Report
from resolver.count.report.rise import Rise

TITLE: Final = "Blocked look-ups"
UNKNOWN: Final = "-"

NO_SURGE: Final = "No surge: nowhere three days in a row at 1.5 times the baseline or more."

RISE_UNKNOWN: Final = "What the rise is made of is not known: it was not counted then, or is left out beside noise."

HOW_TO_READ: Final = (
    "Per 100,000: blocked queries in 100,000 answers. Times the baseline: the attempts divided by the median of the "
    "same weekday in the eight weeks before, which is frozen from the first of three days at 1.5 times or more until "
    "the first of seven days below 1.2. Compare ratios and dates, never counts, between regions, lists or operators."
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
    """Return the title, one line with the first and last day."""
    return f"{TITLE}, {report.first} to {report.last}{' so far' if report.so_far else ''} (days in UTC)"


def preface(report: Report) -> tuple[str, ...]:
    """Return the paragraphs that every number needs: what attempts are, caveat, source, noise."""
    said = (
        f"Attempts are {definition.IN_PRINT}.",
        definition.CAVEAT,
        f"Source: {report.source}; made {report.made}.",
    )
    return (*said, *filter(None, (report.so_far, report.noise)))


def explained(report: Report) -> tuple[str, ...]:
    """Return the definitions in full, for the end of a page."""
    used = sorted({name for one in report.places for day in one.days for name in day.facts.definitions})
    named = f"Counted by definition {', '.join(used)}." if used else "Nothing was counted."
    return (named, definition.ATTEMPT, definition.BLOCKED_QUERY, definition.COMPLETE, HOW_TO_READ)


def heading(place: Place) -> str:
    """Return region and list as a heading."""
    region = {"": "No region named", "all": "All regions"}.get(place.region, place.region)
    return f"{region}, list {place.list_id}"


def number(count: int | None) -> str:
    """Return a count with separators of thousands."""
    return UNKNOWN if count is None else f"{count:,}"


def share(value: float | None) -> str:
    """Return a rate per 100,000 as text."""
    return UNKNOWN if value is None else f"{value:,.2f}"


def times(ratio: float | None) -> str:
    """Return a multiple of the baseline as text."""
    return UNKNOWN if ratio is None else f"{ratio:.2f}"


def peak(day: Day | None) -> tuple[str, str]:
    """Return the day of a peak and its height."""
    if day is None:
        return UNKNOWN, UNKNOWN
    if day.figure.ratio is None:
        return day.day.isoformat(), f"attempts: {number(day.facts.attempts)}"
    return day.day.isoformat(), f"{times(day.figure.ratio)} times"


def row(month: Month) -> tuple[str, ...]:
    """Return the cells of a month, as COLUMNS names them; if the last is "no", `incomparable` says why."""
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
    """Return why a month is not comparable; "" if it is."""
    return "; ".join(month.not_comparable)


def surge(one: Surge) -> str:
    """Return a sentence on a surge."""
    back = f"back to normal on {one.back}" if one.back else "not back to normal within these days"
    if one.cut:
        back = f"followed until the definition changed on {one.cut}"
    return f"Surge from {one.first}: peak on {one.peak.day} at {times(one.peak.ratio)} times the baseline, {back}."


def surges(place: PlaceFigures) -> tuple[str, ...]:
    """Return the sentences on each surge and on what it is made of, or one that there was none."""
    return tuple(f"{surge(one)} {made_of(place.rises.get(one.first))}" for one in place.surges) or (NO_SURGE,)


def made_of(one: Rise | None) -> str:
    """Return the sentences on what a surge is made of."""
    if one is None:
        return RISE_UNKNOWN
    before, within = one.before, one.within
    said = (
        f"On a mean day attempts rose by {_rounded(one.attempts)} (from {_rounded(before.attempts)} to "
        f"{_rounded(within.attempts)}): {_rounded(one.new_entries)} for new entries, {_rounded(one.more_prefixes)} by "
        f"more prefixes ({_rounded(before.prefixes)} to {_rounded(within.prefixes)}), {_rounded(one.more_of_each)} by "
        f"more look-ups of each ({before.of_a_prefix:.1f} to {within.of_a_prefix:.1f}). Not counted, because beyond "
        f"the caps: {_rounded(within.capped)} a day, {_rounded(before.capped)} before."
    )
    full = f" A table was full on {one.full} of {many(one.days, 'day')}: too few are counted."
    return f"{said}{full}" if one.full else said


def _rounded(count: float) -> str:
    return number(round(count))


def in_force(place: PlaceFigures) -> str:
    """Return serial and entries in force at the end of the last day, and the minutes of enforcement."""
    last = place.days[-1]
    serial = UNKNOWN if last.facts.serial is None else str(last.facts.serial)
    at_end = f"At the end of {last.day}: serial {serial}, entries: {number(last.facts.entries)}."
    minutes = sum(month.enforced_minutes for month in place.months)
    return f"{at_end} Enforced for {number(minutes)} of {number(len(place.days) * MINUTES_OF_A_DAY)} minutes."


def incomparable(months: Iterable[Month]) -> tuple[str, ...]:
    """Return a line for each month that is not comparable."""
    return tuple(f"{one.name} is not comparable: {not_comparable(one)}." for one in months if one.not_comparable)


def gaps(months: Iterable[Month]) -> tuple[str, ...]:
    """Return a line for each gap; one that runs across the end of a month is one gap."""
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
