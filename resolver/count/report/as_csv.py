"""Writes a report as CSV (RFC 4180), one row for each region, list and day, for spreadsheets and scripts.

Rules:
- The first row names the columns; there are no comment lines. Definition, caveat and noise are columns, so that no
  row is copied without them.
- An unknown number is an empty cell. No cell begins like a spreadsheet formula.
"""

import csv
import io
from collections.abc import Iterator
from typing import Final

from resolver.count import definition
from resolver.count.report import text
from resolver.count.report.figures import Day, PlaceFigures, Report

COLUMNS: Final = (
    "region",
    "list",
    "day",
    "attempts",
    "blocked_queries",
    "answers",
    "blocked_per_100000",
    "baseline",
    "ratio",
    "surge",
    "enforced_share",
    "enforced_minutes",
    "serial",
    "entries",
    "subscribers",
    "gap",
    "month_not_comparable",
    "definition",
    "attempts_are",
    "caveat",
    "noise",
    "prefixes",
    "attempts_new_entries",
    "attempts_capped",
)
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def as_csv(report: Report) -> str:
    """Return the whole report."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for place in report.places:
        for one in place.days:
            writer.writerow([_safe(cell) for cell in _row(place, one, report.noise)])
    return text.getvalue()


def _row(place: PlaceFigures, one: Day, noise: str) -> Iterator[str]:
    facts, figure = one.facts, one.figure
    month = next(month for month in place.months if month.first <= one.day <= month.last)
    yield from (*place.place, one.day.isoformat())
    yield from map(_number, (facts.attempts, facts.queries, facts.answers, one.per_100k, figure.base, figure.ratio))
    yield "yes" if figure.surge else "no"
    yield from map(_number, (facts.enforced, one.enforced_minutes, facts.serial, facts.entries))
    yield _number(facts.subscribers or None)
    yield facts.gap
    yield text.not_comparable(month)
    yield from (" ".join(sorted(facts.definitions)), definition.IN_PRINT, definition.CAVEAT, noise)
    yield from map(_number, (facts.parts.prefixes, facts.parts.new_entries, facts.parts.capped))


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.4f}"


def _safe(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
