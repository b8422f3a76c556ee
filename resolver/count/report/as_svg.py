"""Writes the charts of a report into one SVG file, one below another, with definition and caveat as text."""

import textwrap
from html import escape
from typing import Final

from resolver.count import definition
from resolver.count.report import text
from resolver.count.report.chart import HEIGHT, INK, LEFT, WIDTH, chart
from resolver.count.report.figures import Report

_COLUMNS: Final = 130
_LINE: Final = 17
_HEADING: Final = 34


def as_svg(report: Report) -> str:
    """Return the whole report."""
    drawn: list[str] = [_text(text.title(report), 30, size=20)]
    y = 44
    for line in _wrapped(text.preface(report)):
        y += _LINE
        drawn.append(_text(line, y))
    for number, place in enumerate(report.places):
        y += _HEADING
        drawn.append(_text(text.heading(place.place), y, size=17))
        drawn.append(chart(place, f"chart{number}", y + 6))
        y += HEIGHT
    for line in _wrapped((definition.ATTEMPT, text.HOW_TO_READ)):
        y += _LINE
        drawn.append(_text(line, y))
    height = y + 24
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
            f'font-family="sans-serif" font-size="13" fill="{INK}">',
            f"<title>{escape(text.title(report))}</title>",
            f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
            *drawn,
            "</svg>\n",
        )
    )


def _wrapped(lines: tuple[str, ...]) -> list[str]:
    return [part for line in lines for part in textwrap.wrap(line, _COLUMNS)]


def _text(said: str, y: int, size: int = 13) -> str:
    return f'<text x="{LEFT}" y="{y}" font-size="{size}">{escape(said)}</text>'
