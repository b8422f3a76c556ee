"""Computes the figures of each day by region and list, from a ledger, and combines those of several resolvers.

Rules:
- Days are UTC. A figure of a day is the difference of the totals at its two midnights; the total at a midnight is the
  one that the beat of that midnight shows.
- An incomplete day is a gap and says why. Its counts stay in the sums and are in no ratio.
- A day on which a total fell (a new ledger was started) has no figures and is a gap.
- For several resolvers combined, entries and serial are the highest, and the time of enforcement is the shortest. A day
  is a gap if it is one for any of them, or if one resolver has no figures for it but has some before and after it.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from typing import Final, NamedTuple

from resolver.count.ledger import Ledger, ListBeat
from resolver.count.metrics import BOUNDED, CAPPED, NEW_ENTRIES, PREFIXES, SATURATED, Series

DAY: Final = timedelta(days=1)
DAY_S: Final = 86400
ENFORCED_LEAST: Final = 0.95

NO_FIGURES: Final = "no figures"
NOT_ENFORCED: Final = "enforced for less than 95 % of the day"
FELL: Final = "a total fell: counting started again"
SILENT: Final = "a resolver gave no figures"
NOT_OVER: Final = "the day is not over"

ATTEMPTS: Final = "blocked_attempts_total"
QUERIES: Final = "blocked_queries_total"
ANSWERS: Final = "answers_total"


class Place(NamedTuple):
    """A region and a list: figures are reported for each."""

    region: str
    list_id: str


class Parts(NamedTuple):
    """What explains the attempts of a day; None if it is not known, as of a day before it was counted.

    bounded: attempts, a few for each prefix. prefixes: those with attempts for entries that are not new. new_entries:
    attempts for entries that are new in their serial. capped: attempts that were not counted. full: attempts, or of
    Prometheus beats, for which a table had no room.
    """

    bounded: int | None = None
    prefixes: int | None = None
    new_entries: int | None = None
    capped: int | None = None
    full: int | None = None


UNKNOWN: Final = Parts()
PARTS: Final[Mapping[str, str]] = MappingProxyType(
    {"bounded": BOUNDED, "prefixes": PREFIXES, "new_entries": NEW_ENTRIES, "capped": CAPPED, "full": SATURATED}
)
"""The metric of each part."""
FROM_THE_START: Final = frozenset({"capped", "full"})
"""Parts that every release counts: without a change they are 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DayFacts:
    """One day of a place.

    Counts, entries and serial (at the day's end) are None if unknown. enforced: the share of the day for which the list
    was enforced. subscribers: 0 if not stated. definitions: the versions in use. gap: why the day is a gap, "" if not.
    resolvers: how many counted. parts: what explains the attempts.
    """

    attempts: int | None
    queries: int | None
    answers: int | None
    enforced: float
    entries: int | None
    serial: int | None
    subscribers: int
    definitions: frozenset[str]
    gap: str = ""
    resolvers: int = 1
    parts: "Parts" = field(default_factory=lambda: UNKNOWN)


Days = dict[date, DayFacts]


def midnight(day: date) -> int:
    """Return the beginning of a day, in unix seconds."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def gap_of(counted: Iterable[int | None], enforced: float) -> str:
    """Return why a day with these counts is a gap; "" if it is none."""
    if any(count is None for count in counted):
        return FELL
    return NOT_ENFORCED if enforced < ENFORCED_LEAST else ""


def difference(before: float, after: float) -> int | None:
    """Return the growth of a total; None if it fell."""
    return round(after - before) if after >= before else None


def from_ledger(ledger: Ledger, first: date, last: date) -> dict[Place, Days]:
    """Return the days from `first` to `last` that have beats, by list and by region (that of a day's last beat)."""
    begin, end = midnight(first), midnight(last + DAY)
    beats: dict[date, list[tuple[int, int, str, str, int]]] = {}
    for beat in ledger.beats(begin + 1, end):
        beats.setdefault(day_of(beat[0]), []).append(beat)
    enforced: dict[tuple[date, str], int] = {}
    at_end: dict[tuple[date, str], ListBeat] = {}
    for at, one in ledger.lists(begin + 1, end):
        key = day_of(at), one.list_id
        enforced[key] = enforced.get(key, 0) + one.enforced_s
        at_end[key] = one
    totals = {metric: ledger.changes(metric, begin, end) for metric in (ATTEMPTS, QUERIES, ANSWERS)}
    parts = {name: ledger.changes(metric, begin, end) for name, metric in PARTS.items()}
    began = _first_days(enforced)
    found: dict[Place, Days] = {}
    for day, of_day in beats.items():
        answers = _grown(totals[ANSWERS].values(), day)
        for list_id, since in began.items():
            if day < since:
                continue
            attempts = _grown([totals[ATTEMPTS].get(Series(ATTEMPTS, (list_id,)), [])], day)
            queries = _grown([totals[QUERIES].get(Series(QUERIES, (list_id,)), [])], day)
            share = enforced.get((day, list_id), 0) / DAY_S
            ended = at_end.get((day, list_id))
            found.setdefault(Place(of_day[-1][3], list_id), {})[day] = DayFacts(
                attempts=attempts,
                queries=queries,
                answers=answers,
                enforced=min(1.0, share),
                entries=ended.entries if ended else None,
                serial=ended.serial if ended else None,
                subscribers=of_day[-1][4],
                definitions=frozenset(beat[2] for beat in of_day),
                gap=gap_of((attempts, queries, answers), share),
                parts=Parts(
                    **{
                        name: _part(parts[name].get(Series(metric, (list_id,)), []), name, day, of_day[0][0])
                        for name, metric in PARTS.items()
                    }
                ),
            )
    return found


def _part(changes: Sequence[tuple[int, int]], name: str, day: date, first_beat: int) -> int | None:
    """Return the growth of a part on a day; None if it was not counted from the day's first beat on."""
    if name not in FROM_THE_START and (not changes or changes[0][0] > first_beat):
        return None
    return _grown([changes], day)


def together(parts: Sequence[Mapping[date, DayFacts]]) -> Days:
    """Combine the days of several resolvers: counts and subscribers are summed, `enforced` is the least of them.

    entries, serial: the greatest. A day that one resolver lacks between its first and its last is a gap.
    """
    found: Days = {}
    for day in sorted({day for days in parts for day in days}):
        there = [days[day] for days in parts if day in days]
        silent = any(days and day not in days and min(days) < day < max(days) for days in parts)
        gaps = [one.gap for one in there if one.gap] + [SILENT] * silent
        found[day] = DayFacts(
            attempts=_sum(there, lambda one: one.attempts),
            queries=_sum(there, lambda one: one.queries),
            answers=_sum(there, lambda one: one.answers),
            enforced=min(one.enforced for one in there),
            entries=max((one.entries for one in there if one.entries is not None), default=None),
            serial=max((one.serial for one in there if one.serial is not None), default=None),
            subscribers=sum(one.subscribers for one in there),
            definitions=frozenset().union(*(one.definitions for one in there)),
            gap=gaps[0] if gaps else "",
            resolvers=sum(one.resolvers for one in there),
            parts=Parts(*(_whole_sum(counts) for counts in zip(*(one.parts for one in there), strict=True))),
        )
    return found


def not_over(days: Mapping[date, DayFacts], today: date) -> Days:
    """Return the days with today as a gap: its counts are in the sums, and in no ratio."""
    return {day: replace(one, gap=NOT_OVER) if day >= today else one for day, one in days.items()}


def day_of(at: int) -> date:
    """Return the day that a beat belongs to: its counts are of the time before it."""
    return datetime.fromtimestamp(at - 1, UTC).date()


def _first_days(lists: Iterable[tuple[date, str]]) -> dict[str, date]:
    """Return the first day of each list."""
    found: dict[str, date] = {}
    for day, list_id in lists:
        found[list_id] = min(day, found.get(list_id, day))
    return found


def _grown(totals: Iterable[Sequence[tuple[int, int]]], day: date) -> int | None:
    """Return the growth of the sum of some totals on a day; None if one of them fell."""
    grown = 0
    for changes in totals:
        one = difference(_total(changes, midnight(day)), _total(changes, midnight(day + DAY)))
        if one is None:
            return None
        grown += one
    return grown


def _total(changes: Sequence[tuple[int, int]], at: int) -> int:
    """Return a total at a moment: that of the last change until then."""
    number = bisect_right(changes, at, key=lambda change: change[0])
    return changes[number - 1][1] if number else 0


def _sum(facts: Iterable[DayFacts], read: Callable[[DayFacts], int | None]) -> int | None:
    known = [count for count in map(read, facts) if count is not None]
    return sum(known) if known else None


def _whole_sum(counts: Iterable[int | None]) -> int | None:
    """Return the sum; None if one of the counts is not known."""
    found = 0
    for one in counts:
        if one is None:
            return None
        found += one
    return found
