"""Writes a report for a terminal: first what the numbers are, then a table for each region and list with its gaps."""

import io
import os
from collections.abc import Iterable
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from resolver.count.report import text
from resolver.count.report.figures import PlaceFigures, Report

WIDTH: Final = 120
_WIDEST: Final = 1_000
_NUMBERS: Final = frozenset(
    {"Attempts", "Blocked queries", "Per 100,000", "Times the baseline", "Minutes enforced", "Gaps (days)"}
)
_WHOLE: Final = frozenset({"Month", "Peak day", "Peak", "Comparable"})
"""Columns whose cells are never wrapped; the headings of the others may be."""


def as_table(report: Report, *, width: int = WIDTH, colour: bool = False) -> str:
    """Return the whole report as text of `width` columns, wider if a table needs it.

    colour: use escape sequences of the terminal.
    """
    out = io.StringIO()
    # Rich cuts at the width of its console, whatever a table needs: so tables go to a wider one.
    console, wide = (
        Console(
            file=out,
            width=columns,
            force_terminal=colour,
            no_color=not colour or bool(os.environ.get("NO_COLOR")),
            highlight=False,
            markup=False,
            emoji=False,
        )
        for columns in (width, _WIDEST)
    )
    console.print(Text(text.title(report), style="bold"))
    _lines(console, text.preface(report))
    for place in report.places:
        console.print()
        table = _table(place)
        wide.print(table, width=max(width, wide.measure(table).minimum))
        _lines(console, text.surges(place))
        _lines(console, (text.in_force(place),))
        _lines(console, text.incomparable(place.months))
        _lines(console, (f"Gap: {gap}" for gap in text.gaps(place.months)))
    console.print()
    _lines(console, text.explained(report))
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def _lines(console: Console, lines: Iterable[str]) -> None:
    for line in lines:
        console.print(Text(line))


def _table(place: PlaceFigures) -> Table:
    table = Table(
        title=Text(text.heading(place.place), style="bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    rows = [text.row(month) for month in place.months]
    for at, name in enumerate(text.COLUMNS):
        # A number that is cut reads as another number, so its column is never narrower.
        cells = [row[at] for row in rows] if name in _WHOLE or name in _NUMBERS else []
        least = max(map(len, [*name.split(), *cells]))
        table.add_column(name, justify="right" if name in _NUMBERS else "left", no_wrap=name in _WHOLE, min_width=least)
    for row in rows:
        table.add_row(*map(Text, row))
    return table
