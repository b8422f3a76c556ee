"""Writes the printable summary of a bundle: two A4 pages in one HTML file, without scripts, that fetches nothing.

Rules:
- It is made from the bundle alone: anyone who has the bundle can make it again and compare.
- Rows that do not fit on two pages are counted; they are in the bundle.
"""

from collections.abc import Iterable, Iterator
from html import escape
from typing import Final

from resolver.config.values import many
from resolver.count.report.as_html import STYLE
from resolver.evidence import summary_events, summary_rows
from resolver.evidence.bundle import Bundle
from resolver.evidence.summary_chart import strip

_OWN: Final = """
.figures { display: flex; flex-wrap: wrap; gap: .5rem; padding: 0; margin: 1rem 0; list-style: none; }
.figures li { flex: 1 1 8rem; border-top: .2rem solid #1b2326; padding: .3rem .2rem 0; }
.figures strong { display: block; font-size: 1.45rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.sofar { border: .2rem solid #8a2b06; padding: .3rem .8rem; font-weight: 600; }
caption { position: absolute; width: 1px; height: 1px; padding: 0; overflow: hidden; clip-path: inset(50%); }
tbody th { white-space: nowrap; }
.words td:last-child, .words td:nth-child(5) { white-space: normal; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin: .5rem 0; font-size: .93rem; }
dt { font-weight: 600; }
dd { margin: 0; overflow-wrap: anywhere; }
code { font-family: ui-monospace, monospace; font-size: .9em; overflow-wrap: anywhere; }
.seen { display: flex; gap: 2rem; margin-top: 2rem; }
.seen span { flex: 1; border-top: 1px solid #1b2326; padding-top: .2rem; }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr; } dd { margin-bottom: .4rem; } }
@page { size: A4; margin: 12mm 14mm; }
@media print {
  body { font-size: 9pt; line-height: 1.3; }
  h1 { font-size: 15pt; margin: 0 0 1mm; }
  h2 { font-size: 11pt; line-height: 1.2; margin: 2.4mm 0 .6mm; }
  p { margin: 1mm 0; }
  ul { margin: 1mm 0; padding-left: 5mm; }
  .figures { margin: 1.5mm 0; padding: 0; flex-wrap: nowrap; }
  .caveat p { font-size: 8.5pt; }
  .sofar { padding: .5mm 3mm; }
  .figures strong { font-size: 13pt; }
  th, td { padding: .4mm 1.5mm; font-size: 8pt; }
  dl, footer, .small { font-size: 8pt; gap: .5mm 4mm; }
  footer { margin-top: 3mm; }
  .small { line-height: 1.2; }
  .small p, .small li { margin: .5mm 0; }
  .seen { margin-top: 9mm; }
}
"""


def as_html(bundle: Bundle, sha256: str, fingerprint: str) -> str:
    """Return the summary of a bundle; sha256: of its file, fingerprint: of the key that signed it."""
    return "\n".join(_page(bundle, sha256, fingerprint)) + "\n"


def _page(bundle: Bundle, sha256: str, fingerprint: str) -> Iterator[str]:
    title = escape(summary_rows.title(bundle))
    yield "<!doctype html>"
    yield '<html lang="en">'
    yield '<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    yield "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    yield f"<title>{title}</title>"
    yield f"<style>{STYLE}{_OWN}</style></head><body><main>"
    yield '<section aria-label="What was counted and enforced">'
    yield f"<header><h1>{title}</h1><p>{escape(summary_rows.origin(bundle, sha256))}</p></header>"
    if not bundle.complete:
        yield f'<p class="sofar">Not evidence of the month: it is not over. Covered until {bundle.through}.</p>'
    yield from _counted(bundle)
    yield "</section>"
    yield '<section aria-label="Custody of the lists, and what this proves">'
    yield f"<h2>{escape(summary_rows.custody_title(bundle))}</h2><p>{escape(summary_rows.origin(bundle, sha256))}</p>"
    yield from _custody(bundle)
    yield from _sealed(bundle, sha256, fingerprint)
    yield "</section></main></body></html>"


def _counted(bundle: Bundle) -> Iterator[str]:
    figures = "".join(
        f"<li><strong>{escape(one)}</strong>{escape(what)}</li>" for one, what in summary_rows.headline(bundle)
    )
    yield f'<ul class="figures">{figures}</ul>'
    definition = bundle.definition
    said = f"Attempts are {escape(definition.attempts_are)}. <strong>{escape(definition.caveat)}</strong>"
    yield f'<div class="caveat"><p>{said}</p></div>'
    yield from _paragraphs(summary_rows.about(bundle))
    yield "<h2>What was counted</h2>"
    yield from _table(
        "Counts of the month, by list", summary_rows.COUNTED, summary_rows.counted(bundle), numbers=range(1, 6)
    )
    yield from _paragraphs(summary_rows.incomparable(bundle), summary_rows.noise(bundle))
    drawn = strip(bundle)
    if drawn:
        yield f"<figure>{drawn}</figure>"
    yield "<h2>What was enforced</h2>"
    yield from _table("Enforcement, by list", summary_rows.ENFORCED, summary_rows.enforced(bundle), numbers=range(1, 6))
    yield from _paragraphs(summary_rows.gaps(bundle))
    used = ", ".join(definition.used) or "none: nothing was counted"
    yield '<h2>How it is counted</h2><div class="small">'
    yield from _paragraphs(" ".join((f"Definition in use: {used}.", *definition.text[:1])), *definition.text[1:])
    yield '</div><h2>What this does not prove</h2><ul class="small">'
    yield from (f"<li>{escape(said)}</li>" for said in bundle.caveats if said != definition.caveat)
    yield "</ul>"


def _custody(bundle: Bundle) -> Iterator[str]:
    yield from _table(
        "Lists in force, by list", summary_rows.CUSTODY, summary_rows.custody(bundle), numbers=range(2, 8)
    )
    yield from _paragraphs(
        "Deadline: time from a list's issue until it must be in force, as configured; only lists that reached this "
        "host are judged. Tested on its sockets: the receipts that this host signed.",
        summary_rows.set_aside(bundle),
    )
    rows, left = summary_events.spans(bundle)
    if rows:
        yield "<h2>Serials and their times in force</h2>"
        yield from _table("Serials by the time they came in force", summary_events.SPANS, rows, words_in=True)
        yield from _left(left)
    yield "<h2>Other events</h2>"
    rows, left = summary_events.events(bundle)
    if rows:
        yield from _table("Deadlines missed, holds, decisions and releases", summary_events.EVENTS, rows, words_in=True)
    else:
        yield "<p>No deadline was missed, nothing was held, taken out, suspended or released.</p>"
    yield from _left(left)


def _left(count: int) -> Iterator[str]:
    if count:
        yield f"<p>{many(count, 'more is', 'more are')} in the bundle.</p>"


def _sealed(bundle: Bundle, sha256: str, fingerprint: str) -> Iterator[str]:
    yield "<h2>What ties this to the bundle</h2><dl>"
    for name, value in summary_rows.sealed(bundle, sha256, fingerprint):
        yield f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>"
    yield "</dl>"
    yield (
        "<p>Verify the bundle, not this print: "
        "<code>blocklist-resolver evidence --verify FILE --host-key PEM</code></p>"
    )
    yield '<p class="seen"><span>Reviewed by</span><span>Date, signature</span></p>'


def _paragraphs(*said: str) -> Iterator[str]:
    return (f"<p>{escape(one)}</p>" for one in said if one)


def _table(
    caption: str,
    columns: summary_rows.Row,
    rows: Iterable[summary_rows.Row],
    *,
    numbers: range = range(0),
    words_in: bool = False,
) -> Iterator[str]:
    yield f'<div class="scroll" role="region" aria-label="{escape(caption)}" tabindex="0">'
    yield f"<table{' class=words' if words_in else ''}><caption>{escape(caption)}</caption><thead><tr>"
    yield from (f'<th scope="col"{_class(at, numbers)}>{escape(name)}</th>' for at, name in enumerate(columns))
    yield "</tr></thead><tbody>"
    for first, *cells in rows:
        rest = "".join(f"<td{_class(at, numbers)}>{escape(cell)}</td>" for at, cell in enumerate(cells, 1))
        tag = "td" if words_in else 'th scope="row"'
        yield f"<tr><{tag}>{escape(first)}</{tag.split()[0]}>{rest}</tr>"
    yield "</tbody></table></div>"


def _class(at: int, numbers: range) -> str:
    return ' class="n"' if at in numbers else ""
