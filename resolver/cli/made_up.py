"""Writes made-up days into a ledger, for demonstrations: nothing in it was ever counted.

Rules:
- The region's name says that it is made up, and every report prints it.
- A made-up ledger is a file of its own, never that of a service.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from resolver.count.ledger import Beat, Ledger, ListBeat, Total
from resolver.count.metrics import Series
from resolver.count.report.days import ANSWERS, ATTEMPTS, DAY, DAY_S, QUERIES, midnight


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """What one resolver counted on a day: attempts, blocked queries, answers to all queries."""

    day: date
    attempts: int
    queries: int
    answers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """Whose figures these are: `region` says that they are made up; subscribers covered; the list and its entries."""

    region: str
    subscribers: int
    list_id: str
    serial: int
    entries: int


def write(path: Path, operator: Operator, days: Iterable[Day]) -> None:
    """Write days (ascending, without a gap) to a new ledger at `path`, one beat a day at its end (00:00 UTC)."""
    series = {
        Series(ATTEMPTS, (operator.list_id,)): 0,
        Series(QUERIES, (operator.list_id,)): 0,
        Series(ANSWERS, ("NOERROR",)): 0,
    }
    ledger: Ledger | None = None
    for one in days:
        begin = midnight(one.day)
        if ledger is None:
            ledger = Ledger(path, begin)
        for each, counted in zip(series, (one.attempts, one.queries, one.answers), strict=True):
            series[each] += counted
        in_force = ListBeat(
            list_id=operator.list_id, serial=operator.serial, entries=operator.entries, enforced_s=DAY_S
        )
        ledger.write(
            Beat(
                at=begin + DAY_S,
                every_s=DAY_S,
                region=operator.region,
                subscribers=operator.subscribers,
                totals={each: Total(total, 0) for each, total in series.items()},
                lists=(in_force,),
            )
        )


def days_of(first: date, last: date) -> Iterable[date]:
    """Yield the days from `first` to `last`, both included."""
    return (first + timedelta(days=number) for number in range((last - first) // DAY + 1))
