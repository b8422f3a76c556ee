"""Makes the report: figures of a span of days, from a ledger or a fleet's Prometheus, in one of the formats.

Rules:
- Only days that are over are reported on; the default is the last whole month.
- Noise is added after regions are summed and before anything else is computed from the counts; what is printed is
  clipped last.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

from resolver.count.ledger import Ledger, LedgerUnusable
from resolver.count.report import noise as noises
from resolver.count.report.as_csv import as_csv
from resolver.count.report.as_html import as_html
from resolver.count.report.as_json import as_json
from resolver.count.report.as_svg import as_svg
from resolver.count.report.as_table import as_table
from resolver.count.report.days import DAY, Days, Place, from_ledger, not_over
from resolver.count.report.figures import HISTORY, Report, clipped, figures, summed
from resolver.count.report.noise import Noise
from resolver.count.report.prometheus import Ask, from_prometheus

FORMATS: Final[dict[str, Callable[[Report], str]]] = {
    "table": as_table,
    "csv": as_csv,
    "json": as_json,
    "html": as_html,
    "svg": as_svg,
}
EARLIEST: Final = date(2000, 1, 1)

OF_LEDGER: Final = "the ledger of one resolver"
OF_FLEET: Final = "the figures of all resolvers in Prometheus"

Facts = dict[Place, Days]


class NotADayRange(Exception):
    """These days cannot be reported on; the text says why."""


class NoFigures(Exception):
    """There are no figures for the days asked for."""


def span(first: date | None, last: date | None, today: date) -> tuple[date, date]:
    """Return the first and last day to report on; NotADayRange if they are not over or out of order.

    A missing `first` is the first of the month of `last`. A missing `last` is yesterday, or the end of the last whole
    month if `first` is missing too.
    """
    yesterday = today - DAY
    if last is None:
        last = yesterday if first else today.replace(day=1) - DAY
    if first is None:
        first = last.replace(day=1)
    if last > yesterday:
        raise NotADayRange("--to: that day is not over (days are UTC)")
    if not EARLIEST <= first <= last:
        raise NotADayRange(f"--from: expected a day from {EARLIEST} to the day of --to")
    return first, last


def so_far(today: date) -> tuple[date, date]:
    """Return the first and last day of a report on this month until now."""
    return today.replace(day=1), today


def of_ledger(path: Path, first: date, last: date, now: float) -> Facts:
    """Return the days from the ledger at `path`, with those of HISTORY before them; LedgerUnusable."""
    if not path.is_file():
        raise LedgerUnusable(f"{path}: no ledger here: has the service run?")
    return from_ledger(Ledger(path, now), first - HISTORY, last)


def of_fleet(
    ask: Ask, first: date, last: date, walk: Callable[[list[Any]], Iterator[Any]] = iter, until: int = 0
) -> Facts:
    """Return the days from a Prometheus server, with those of HISTORY before them. until: the moment (unix seconds) to
    which the last day goes if it is not over, else 0."""
    return from_prometheus(ask, first - HISTORY, last, walk, until)


def made(
    facts: Facts,
    first: date,
    last: date,
    *,
    source: str,
    now: float,
    by_region: bool = False,
    noise: Noise | None = None,
    so_far: bool = False,
) -> Report:
    """Return the report; NoFigures if no day has figures, budget.Spent. so_far: the last day is not over."""
    if so_far:
        facts = {place: not_over(days, last) for place, days in facts.items()}
    if not any(first <= day <= last for days in facts.values() for day in days):
        raise NoFigures(
            "no beat of this month is published yet: the first comes within count.publish_every of the start"
            if so_far
            else f"no figures from {first} to {last}"
        )
    if not by_region:
        facts = summed(facts)
    months: dict[tuple[Place, date], int] = {}
    if noise is not None:
        facts, months = noises.noisy(facts, first, last, noise)
    return Report(
        first=first,
        last=last,
        source=source,
        made=datetime.fromtimestamp(now, UTC).date(),
        noise=noises.said(noise) if noise is not None else "",
        so_far=_said_so_far(now) if so_far else "",
        places=clipped(figures(facts, first, last, months)),
    )


def _said_so_far(now: float) -> str:
    made = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d %H:%M} UTC"
    return f"So far, at {made}: the month and its last day are not over; counted is what was published until then."
