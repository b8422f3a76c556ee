"""Computes the figures of a report: months, ratios to the baseline, peaks, returns to normal, gaps, comparability.

Rules:
- Ratios, surges and their ends are those of `baseline`, over the days of HISTORY before the report as well; a gap has
  no ratio.
- Ratios compare days of one definition only. A month with days of several is not comparable, and its sums are shown.
- A month's ratio is the sum of attempts on days with a baseline, divided by the sum of those baselines. Its peak is the
  day with the highest ratio, or with the most attempts if no day has a baseline.
- A month is not comparable if the definition changed, the list's size changed by 20 % or the subscribers covered by 5 %
  between eight weeks before it (or before a surge that reaches into it) and its end, or if its baseline is under 100 a
  day. Each reason is stated; the figures are shown all the same.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from itertools import groupby
from statistics import median
from types import MappingProxyType
from typing import Final, TypeVar

from resolver.count.report import baseline
from resolver.count.report.baseline import DayFigure, Surge
from resolver.count.report.days import DAY, NO_FIGURES, DayFacts, Days, Place, together
from resolver.count.report.rise import Rise, rise

_N = TypeVar("_N", int, float)

HISTORY: Final = timedelta(weeks=53)
ENTRIES_MOVED: Final = 0.20
SUBSCRIBERS_MOVED: Final = 0.05
ALL_REGIONS: Final = "all"
MINUTES_OF_A_DAY: Final = 1440

DEFINITION_CHANGED: Final = "the definition changed"
LIST_MOVED: Final = "the list's size moved by 20 % or more"
COVERAGE_MOVED: Final = "the subscribers covered moved by 5 % or more"
SMALL: Final = f"the baseline is under {baseline.LEAST_BASE} a day"
NO_BASELINE: Final = "fewer than eight weeks before, so no baseline"

_NOTHING: Final = DayFacts(
    attempts=None,
    queries=None,
    answers=None,
    enforced=0.0,
    entries=None,
    serial=None,
    subscribers=0,
    definitions=frozenset(),
    gap=NO_FIGURES,
)


@dataclass(frozen=True, slots=True)
class Gap:
    """A row of incomplete days, first and last included, and the reason."""

    first: date
    last: date
    why: str


@dataclass(frozen=True, slots=True)
class Day:
    """One day: its counts, and their comparison with the baseline."""

    facts: DayFacts
    figure: DayFigure

    @property
    def day(self) -> date:
        return self.figure.day

    @property
    def per_100k(self) -> float | None:
        """Return blocked queries per 100,000 answers."""
        return rate_per_100k(self.facts.queries, self.facts.answers)

    @property
    def enforced_minutes(self) -> int:
        """Return the minutes for which the list was enforced."""
        return round(self.facts.enforced * MINUTES_OF_A_DAY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """The part of a month that is reported on; an unknown figure is None."""

    name: str
    first: date
    last: date
    attempts: int | None
    queries: int | None
    per_100k: float | None
    ratio: float | None
    peak: Day | None
    enforced_minutes: int
    gaps: tuple[Gap, ...]
    not_comparable: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlaceFigures:
    """All figures of one region and list. rises: what a surge is made of, by its first day, if that is known."""

    place: Place
    months: tuple[Month, ...]
    days: tuple[Day, ...]
    surges: tuple[Surge, ...]
    rises: Mapping[date, Rise] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The content of every format: first and last day, source, day it was made, sentence on noise ("": none added).

    so_far: a sentence that says that the last day is not over, "" if it is.
    """

    first: date
    last: date
    source: str
    made: date
    noise: str
    places: tuple[PlaceFigures, ...]
    so_far: str = ""


def figures(
    facts: Mapping[Place, Days],
    first: date,
    last: date,
    months: Mapping[tuple[Place, date], int] = MappingProxyType({}),
) -> tuple[PlaceFigures, ...]:
    """Return the figures of the days from `first` to `last`; `facts` holds the days before as well.

    months: the attempts of a month, by place and first day, if not the sum of its days.
    """
    return tuple(_of_place(place, facts[place], first, last, months) for place in sorted(facts))


def clipped(places: Iterable[PlaceFigures]) -> tuple[PlaceFigures, ...]:
    """Return the figures as they are printed: with noise some counts are below zero, and are shown as zero."""
    return tuple(
        replace(
            place,
            months=tuple(_clipped_month(month) for month in place.months),
            days=tuple(_clipped_day(day) for day in place.days),
        )
        for place in places
    )


def _clipped_month(month: Month) -> Month:
    peak = None if month.peak is None else _clipped_day(month.peak)
    return replace(month, attempts=_at_least_0(month.attempts), ratio=_at_least_0(month.ratio), peak=peak)


def _clipped_day(day: Day) -> Day:
    facts = replace(day.facts, attempts=_at_least_0(day.facts.attempts))
    of_day = day.figure
    figure = replace(
        of_day, count=_at_least_0(of_day.count), base=_at_least_0(of_day.base), ratio=_at_least_0(of_day.ratio)
    )
    return Day(facts, figure)


def _at_least_0(number: _N | None) -> _N | None:
    return None if number is None else max(number, type(number)(0))


def summed(facts: Mapping[Place, Days]) -> dict[Place, Days]:
    """Combine the regions of each list; a single region keeps its name."""
    regions = {place.region for place in facts}
    name = regions.pop() if len(regions) == 1 else ALL_REGIONS
    lists = {place.list_id for place in facts}
    return {
        Place(name, one): together([days for place, days in facts.items() if place.list_id == one]) for one in lists
    }


def _of_place(
    place: Place, facts: Days, first: date, last: date, drawn: Mapping[tuple[Place, date], int]
) -> PlaceFigures:
    before = min(*facts, first)
    known = {day: facts.get(day, _NOTHING) for day in _days(before, last)}
    history = baseline.history(
        {day: None if one.gap else one.attempts for day, one in known.items()},
        {day: one.definitions for day, one in known.items()},
    )
    days = [Day(known[figure.day], figure) for figure in history]
    surges = baseline.surges(history)
    shown = tuple(day for day in days if day.day >= first)
    parts = groupby(shown, key=lambda one: (one.day.year, one.day.month))
    months = tuple(
        replace(one, attempts=drawn.get((place, one.first), one.attempts))
        for one in (_month(list(part), known, surges) for _, part in parts)
    )
    seen = tuple(one for one in surges if one.first <= last and (not one.end or one.end >= first))
    found = {one.first: rise(one, known, surges) for one in seen}
    rises = {day: one for day, one in found.items() if one is not None}
    return PlaceFigures(place, months, shown, seen, rises)


def _month(days: Sequence[Day], known: Mapping[date, DayFacts], surges: Iterable[Surge]) -> Month:
    first, last = days[0].day, days[-1].day
    queries = [one for one in days if one.facts.queries is not None and one.facts.answers]
    compared = [one for one in days if one.figure.ratio is not None]
    usual = sum(one.figure.base or 0 for one in compared)
    counted = [one for one in days if one.facts.attempts is not None]
    peak = max(compared or counted, key=lambda one: (one.figure.ratio or 0, one.facts.attempts or 0), default=None)
    return Month(
        name=f"{first:%Y-%m}",
        first=first,
        last=last,
        attempts=sum(one.facts.attempts or 0 for one in counted) if counted else None,
        queries=known_sum(one.facts.queries for one in days),
        per_100k=rate_per_100k(
            known_sum(one.facts.queries for one in queries), known_sum(one.facts.answers for one in queries)
        ),
        ratio=sum(one.figure.count or 0 for one in compared) / usual if usual else None,
        peak=peak,
        enforced_minutes=sum(one.enforced_minutes for one in days),
        gaps=tuple(_gaps(days)),
        not_comparable=tuple(_not_comparable(days, known, surges)),
    )


def _gaps(days: Iterable[Day]) -> Iterator[Gap]:
    """Yield the gaps: days in a row with the same reason are one."""
    for why, part in groupby(days, key=lambda one: one.facts.gap):
        if why:
            row = [one.day for one in part]
            yield Gap(row[0], row[-1], why)


def _not_comparable(days: Sequence[Day], known: Mapping[date, DayFacts], surges: Iterable[Surge]) -> Iterator[str]:
    first, last = days[0].day, days[-1].day
    since = min([first, *(one.first for one in surges if one.first <= last and (not one.end or one.end > first))])
    window = [facts for day, facts in known.items() if since - baseline.WEEKS * 7 * DAY <= day <= last]
    if len({name for facts in window for name in facts.definitions}) > 1:
        yield DEFINITION_CHANGED
    if _moved(window, lambda facts: facts.entries, ENTRIES_MOVED):
        yield LIST_MOVED
    if _moved(window, lambda facts: facts.subscribers, SUBSCRIBERS_MOVED):
        yield COVERAGE_MOVED
    bases = [one.figure.base for one in days if one.figure.base is not None]
    if not bases:
        yield NO_BASELINE
    elif median(bases) < baseline.LEAST_BASE:
        yield SMALL


def _moved(facts: Iterable[DayFacts], read: Callable[[DayFacts], int | None], share: float) -> bool:
    """Return whether a number varied by `share` of its lowest value or more; unknown values and zeros are left out."""
    found = [number for number in map(read, facts) if number]
    return bool(found) and max(found) >= min(found) * (1 + share)


def rate_per_100k(queries: int | None, answers: int | None) -> float | None:
    """Return blocked queries in 100,000 answers; None if either is unknown."""
    return queries * 100_000 / answers if queries is not None and answers else None


def known_sum(counts: Iterable[int | None]) -> int | None:
    """Return the sum of the known counts; None if none is known."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _days(first: date, last: date) -> Iterator[date]:
    while first <= last:
        yield first
        first += DAY
