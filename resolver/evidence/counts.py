"""Computes the counts of a month and the time of enforcement of each list, from the ledger, by the report's rules.

Rules:
- Counts, gaps of days, ratios and comparability are those of `report` for the same days.
- A gap is exact to the beat: beats that are missing, and beats within which the list was enforced for less than 95 %.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from resolver.count import definition
from resolver.count.ledger import Ledger, ListBeat
from resolver.count.metrics import CAPPED, SATURATED
from resolver.count.report import budget, report
from resolver.count.report.days import ENFORCED_LEAST, day_of
from resolver.count.report.figures import Month as MonthFigures
from resolver.count.report.figures import PlaceFigures, known_sum, rate_per_100k
from resolver.evidence.bundle import Coverage, Day, Gap, NoiseBudget, Sums
from resolver.evidence.month import Month

NO_HOST: Final = "this host did not exist yet"
NO_BEAT: Final = "no figures: the service did not run, or could not write its ledger"
NOT_ENFORCED: Final = "not enforced, or for less than 95 % of the beat"
NOT_CONFIGURED: Final = "the list was not configured"
SILENT: Final = (NO_HOST, NO_BEAT)
"""The reasons for gaps that no beat covers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """The figures of one list from the ledger."""

    days: tuple[Day, ...]
    capped: int | None
    saturated_beats: int
    figures: MonthFigures | None
    enforced_s: int
    gaps: tuple[Gap, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The figures of a month from the ledger; definitions: the versions in use; noise: the year's budget of each list
    of which figures with noise were given out."""

    lists: Mapping[str, Counted]
    coverage: Coverage
    definitions: tuple[str, ...]
    noise: tuple[NoiseBudget, ...] = ()


def read(path: Path, month: Month, lists: Iterable[str], now: float, since: int = 0) -> Counts:
    """Return the figures of a month from the ledger at `path`, for `lists` and the lists in it; LedgerUnusable.

    since: when the host's records begin, 0 if that is before the month.
    """
    facts = report.of_ledger(path, month.first, month.last, now)
    ledger = Ledger(path, now)
    beats = ledger.beats(month.begin + 1, month.end)
    rows: dict[str, list[tuple[int, ListBeat]]] = {one: [] for one in lists}
    for at, one in ledger.lists(month.begin + 1, month.end):
        rows.setdefault(one.list_id, []).append((at, one))
    try:
        made = report.made(facts, month.first, month.last, source=report.OF_LEDGER, now=now)
        places = {one.place.list_id: one for one in made.places}
    except report.NoFigures:
        places = {}
    capped, saturated = _capped(ledger, month), _saturated(ledger, month)
    spans = [(at - every_s, at) for at, every_s, *_ in beats]
    every = {at: every_s for at, every_s, *_ in beats}
    subscribers = [beat[4] for beat in beats]
    return Counts(
        lists={
            list_id: Counted(
                days=tuple(_days(places.get(list_id), of_list)),
                capped=capped.get(list_id, 0) if beats else None,
                saturated_beats=saturated.get(list_id, 0),
                figures=next(iter(places[list_id].months), None) if list_id in places else None,
                enforced_s=sum(one.enforced_s for _, one in of_list),
                gaps=tuple(_gaps(month, spans, every, {at: one.enforced_s for at, one in of_list}, since)),
            )
            for list_id, of_list in sorted(rows.items())
        },
        coverage=Coverage(
            seconds=month.end - month.begin,
            told_s=sum(
                end - begin for begin, end, _, why in _parts(month, spans, every, {}, since) if why not in SILENT
            ),
            beats=len(beats),
            subscribers_least=min(subscribers, default=0),
            subscribers_most=max(subscribers, default=0),
        ),
        definitions=tuple(sorted({beat[2] for beat in beats})),
        noise=tuple(_noise(ledger, month)),
    )


def _noise(ledger: Ledger, month: Month) -> Iterator[NoiseBudget]:
    for one in budget.spendings(ledger.draws()):
        if one.year == month.first.year:
            yield NoiseBudget(
                list=one.list_id,
                year=one.year,
                spent=one.hundredths,
                most=budget.YEAR,
                dearest_day=one.dearest_day,
                most_a_day=budget.DAY_MOST,
            )


def silent(month: Month, lists: Iterable[str], since: int = 0) -> Counts:
    """Return the figures of a host that serves no queries and has no ledger: the whole month is a gap."""
    seconds = month.end - month.begin
    gaps = tuple(_gaps(month, (), {}, {}, since))
    nothing = Counted(days=(), capped=None, saturated_beats=0, figures=None, enforced_s=0, gaps=gaps)
    return Counts(
        lists=dict.fromkeys(sorted(lists), nothing),
        coverage=Coverage(seconds=seconds, told_s=0, beats=0, subscribers_least=0, subscribers_most=0),
        definitions=(),
    )


def summed(days: Iterable[Day], capped: int | None) -> Sums:
    """Return the sums of some days; a count that no day has is None."""
    found = tuple(days)
    return Sums(
        attempts=known_sum(one.attempts for one in found),
        blocked_queries=known_sum(one.blocked_queries for one in found),
        capped=capped,
    )


def together(sums: Iterable[Sums]) -> Sums:
    """Return the sums of several lists."""
    found = tuple(sums)
    return Sums(
        attempts=known_sum(one.attempts for one in found),
        blocked_queries=known_sum(one.blocked_queries for one in found),
        capped=known_sum(one.capped for one in found),
    )


def per_100k(days: Iterable[Day]) -> float | None:
    """Return blocked queries in 100,000 answers, over the days on which both are known."""
    both = [one for one in days if one.blocked_queries is not None and one.answers]
    return rate_per_100k(known_sum(one.blocked_queries for one in both), known_sum(one.answers for one in both))


def definition_text() -> tuple[tuple[str, ...], str, str]:
    """Return the definition in full, the short words for an attempt, and the caveat."""
    return (definition.ATTEMPT, definition.BLOCKED_QUERY, definition.COMPLETE), definition.IN_PRINT, definition.CAVEAT


def _days(place: PlaceFigures | None, rows: Sequence[tuple[int, ListBeat]]) -> Iterator[Day]:
    enforced: dict[str, int] = {}
    for at, one in rows:
        day = day_of(at).isoformat()
        enforced[day] = enforced.get(day, 0) + one.enforced_s
    for figures in place.days if place is not None else ():
        yield Day(
            day=figures.day.isoformat(),
            attempts=figures.facts.attempts,
            blocked_queries=figures.facts.queries,
            answers=figures.facts.answers,
            enforced_s=enforced.get(figures.day.isoformat(), 0),
            gap=figures.facts.gap,
        )


def _capped(ledger: Ledger, month: Month) -> dict[str, int | None]:
    """Return the number of attempts above the cap, by list; None if the total fell."""
    found: dict[str, int | None] = {}
    for series, changes in ledger.changes(CAPPED, month.begin + 1, month.end).items():
        before = [total for at, total in changes if at <= month.begin]
        values = [before[-1] if before else 0, *(total for at, total in changes if at > month.begin)]
        fell = any(after < earlier for earlier, after in pairwise(values))
        found[series.labels[0]] = None if fell else values[-1] - values[0]
    return found


def _saturated(ledger: Ledger, month: Month) -> dict[str, int]:
    """Return the number of beats on which not all attempts could be told apart, by list."""
    by_series = ledger.changes(SATURATED, month.begin + 1, month.end)
    return {series.labels[0]: sum(at > month.begin for at, _ in changes) for series, changes in by_series.items()}


def _gaps(
    month: Month, spans: Sequence[tuple[int, int]], every: Mapping[int, int], enforced: Mapping[int, int], host: int
) -> Iterator[Gap]:
    """Yield the gaps: incomplete beats in a row with the same reason are one."""
    row: Gap | None = None
    for since, until, seconds, why in _parts(month, spans, every, enforced, host):
        if row is not None and (row.why, row.until) == (why, since):
            row = Gap(since=row.since, until=until, enforced_s=row.enforced_s + seconds, why=why)
            continue
        if row is not None and row.why:
            yield row
        row = Gap(since=since, until=until, enforced_s=seconds, why=why)
    if row is not None and row.why:
        yield row


def _parts(
    month: Month, spans: Sequence[tuple[int, int]], every: Mapping[int, int], enforced: Mapping[int, int], host: int
) -> Iterator[tuple[int, int, int, str]]:
    """Yield the parts of the month in order: since, until, seconds enforced, why it is a gap ("" if it is none).

    host: when the host's records begin, 0 if that is before the month.
    """
    # The first beat begins on the clock, which may be a little before the host did.
    at = max(month.begin, min([host, *(begin for begin, _ in spans[:1])]))
    if at > month.begin:
        yield month.begin, at, 0, NO_HOST
    for begin, end in spans:
        if begin > at:
            yield at, begin, 0, NO_BEAT
        seconds = enforced.get(end)
        if seconds is None:
            yield max(at, begin), end, 0, NOT_CONFIGURED
        else:
            whole = seconds >= ENFORCED_LEAST * every[end]
            yield max(at, begin), end, seconds, "" if whole else NOT_ENFORCED
        at = end
    if at < month.end:
        yield at, month.end, 0, NO_BEAT
