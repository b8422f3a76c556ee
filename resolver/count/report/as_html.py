"""Writes a report as one HTML page that fetches nothing and has no script, for screen readers, phones and paper."""

from collections.abc import Iterable, Iterator
from html import escape
from typing import Final

from resolver.count.report import text
from resolver.count.report.chart import chart
from resolver.count.report.figures import Month, PlaceFigures, Report

_NUMBERS: Final = 8
"""Number of columns after the first that hold numbers and days; they are aligned to the right."""

STYLE: Final = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1b2326; background: #fff; margin: 2rem auto; padding: 0 1rem;
  max-width: 62rem; }
h1 { font-size: 1.7rem; line-height: 1.25; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 .5rem; }
h3 { font-size: 1.05rem; margin: 1.2rem 0 .3rem; }
figure { margin: 0; }
svg { display: block; width: 100%; height: auto; }
.caveat { border-left: .3rem solid #8a2b06; padding: .1rem 1rem; background: #f6f2ef; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .93rem; }
caption { text-align: left; font-weight: 600; padding: .4rem 0; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid #b9c2c4; }
thead th { border-bottom: 2px solid #1b2326; }
.n { text-align: right; font-variant-numeric: tabular-nums; }
td { white-space: nowrap; }
.d { white-space: nowrap; }
footer { margin-top: 2.5rem; border-top: 2px solid #1b2326; font-size: .9rem; }
@page { size: A4; margin: 14mm; @bottom-right { content: counter(page) " / " counter(pages); font: 8pt sans-serif; } }
@media print {
  body { margin: 0; padding: 0; max-width: none; font-size: 10pt; }
  h1 { font-size: 1.5rem; margin-top: 0; }
  h2 { margin-top: 1rem; }
  p, ul { margin: .45rem 0; }
  footer { margin-top: 1rem; font-size: 9pt; line-height: 1.35; }
  section + section { break-before: page; }
  figure, table, tr, .caveat, footer p { break-inside: avoid; }
  h2, h3, caption { break-after: avoid; }
  .scroll { overflow: visible; }
  th, td { padding: .25rem .4rem; font-size: 8.5pt; }
}
"""


def as_html(report: Report) -> str:
    """Return the whole report."""
    return "\n".join(_page(report)) + "\n"


def _page(report: Report) -> Iterator[str]:
    title = escape(text.title(report))
    yield "<!doctype html>"
    yield '<html lang="en">'
    yield '<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    yield "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    yield f"<title>{title}</title>"
    yield f"<style>{STYLE}</style></head>"
    yield f"<body><header><h1>{title}</h1>"
    yield '<div class="caveat">'
    yield from (f"<p>{escape(said)}</p>" for said in text.preface(report))
    yield "</div></header><main>"
    if not report.places:
        yield "<p>There are no figures for these days.</p>"
    for number, place in enumerate(report.places):
        yield from _place(place, number)
    yield "</main><footer><h2>How it is counted</h2>"
    yield from (f"<p>{escape(said)}</p>" for said in text.explained(report))
    yield "</footer></body></html>"


def _place(place: PlaceFigures, number: int) -> Iterator[str]:
    heading = escape(text.heading(place.place))
    yield f'<section aria-labelledby="place{number}"><h2 id="place{number}">{heading}</h2>'
    yield from (f"<p>{escape(said)}</p>" for said in (*text.surges(place), text.in_force(place)))
    yield f"<figure>{chart(place, f'chart{number}')}</figure>"
    yield f'<div class="scroll" role="region" aria-label="Months of {heading}" tabindex="0"><table>'
    yield f"<caption>By month: {heading}</caption><thead><tr>"
    yield from (
        f'<th scope="col"{_class(column)}>{escape(name)}</th>' for column, name in enumerate(text.COLUMNS)
    )
    yield "</tr></thead><tbody>"
    yield from map(_row, place.months)
    yield "</tbody></table></div>"
    yield from _listed("Not to be compared", text.incomparable(place.months))
    yield from _listed("Gaps", text.gaps(place.months))
    yield "</section>"


def _listed(heading: str, lines: Iterable[str]) -> Iterator[str]:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    if items:
        yield f"<h3>{heading}</h3><ul>{items}</ul>"


def _row(month: Month) -> str:
    first, *cells = map(escape, text.row(month))
    rest = "".join(f"<td{_class(column)}>{cell}</td>" for column, cell in enumerate(cells, 1))
    return f'<tr><th scope="row" class="d">{first}</th>{rest}</tr>'


def _class(column: int) -> str:
    return ' class="n"' if 1 <= column <= _NUMBERS else ""
