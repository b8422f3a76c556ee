"""Draws the chart of the summary: attempts of each day as bars, and below them each list's enforcement by day.

Rules:
- It describes itself in words; unknown values are hatched, never drawn as zero.
- Lightness, not hue, distinguishes enforced from missing time.
"""

from collections.abc import Iterator
from html import escape
from typing import Final

from resolver.count.report.chart import BARS, FAINT, HATCH, INK, ticks
from resolver.count.report.days import DAY_S, ENFORCED_LEAST
from resolver.count.report.figures import known_sum
from resolver.count.report.text import number
from resolver.evidence.bundle import Bundle, Day
from resolver.evidence.summary_rows import MOST_LISTS

WIDTH: Final = 960
_LEFT: Final = 150
_BARS_TOP: Final = 10
_BARS: Final = 80
_ROW: Final = 17
_LABELS: Final = 15


def strip(bundle: Bundle) -> str:
    """Return the chart; "" if no list has days."""
    shown = [one for one in bundle.lists if one.days][:MOST_LISTS]
    if not shown:
        return ""
    return "\n".join(_parts(bundle, [one.list for one in shown], [one.days for one in shown]))


def _parts(bundle: Bundle, names: list[str], lists: list[tuple[Day, ...]]) -> Iterator[str]:
    days = [one.day for one in lists[0]]
    sums = [known_sum(of_list[at].attempts for of_list in lists) for at in range(len(days))]
    most = max((count or 0 for count in sums), default=0)
    top, bottom = int(ticks(most)[-1]) or 1, _BARS_TOP + _BARS
    step = (WIDTH - _LEFT) / len(days)
    height = bottom + 24 + _ROW * len(names) + 6
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-labelledby="strip-title strip-desc" font-family="sans-serif" font-size="13" fill="{INK}">'
    )
    yield f'<title id="strip-title">Attempts and enforcement by day, {bundle.month}</title>'
    yield f'<desc id="strip-desc">{escape(_described(days, sums, names, lists))}</desc>'
    yield (
        '<defs><pattern id="lack" width="5" height="5" patternUnits="userSpaceOnUse" '
        f'patternTransform="rotate(45)"><path d="M0 0V5" stroke="{HATCH}" stroke-width="1.6"/></pattern></defs>'
    )
    for tick in (0, top):
        y = bottom - _BARS * tick / top
        yield f'<path d="M{_LEFT} {y:.1f}H{WIDTH}" stroke="{FAINT}"/>'
        yield f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{number(tick)}</text>'
    yield f'<text x="0" y="{_BARS_TOP + _BARS / 2 + 4:.0f}">Attempts a day</text>'
    for at, count in enumerate(sums):
        x = _LEFT + at * step
        if count is None:
            yield _box(x, _BARS_TOP, step, _BARS, "url(#lack)")
        else:
            tall = _BARS * count / top
            yield _box(x, bottom - tall, step, tall, BARS)
        if at % max(1, round(len(days) / _LABELS)) == 0:
            yield f'<text x="{x + step / 2:.1f}" y="{bottom + 15}" text-anchor="middle">{int(days[at][8:])}</text>'
    for row, (name, of_list) in enumerate(zip(names, lists, strict=True)):
        y = bottom + 24 + row * _ROW
        yield f'<text x="0" y="{y + 13}">{escape(name if len(name) < 21 else name[:19] + "…")}</text>'
        for at, day in enumerate(of_list):
            x, part = _LEFT + at * step, min(1.0, day.enforced_s / DAY_S)
            yield _box(x, y, step, _ROW - 4, "url(#lack)")
            yield _box(x, y + (_ROW - 4) * (1 - part), step, (_ROW - 4) * part, BARS, cover=True)
    yield "</svg>"


def _box(x: float, y: float, wide: float, tall: float, fill: str, *, cover: bool = False) -> str:
    paper = (
        f'<rect x="{x + 1:.1f}" y="{y:.1f}" width="{wide - 2:.1f}" height="{tall:.1f}" fill="#ffffff"/>'
        if cover
        else ""
    )
    return f'{paper}<rect x="{x + 1:.1f}" y="{y:.1f}" width="{wide - 2:.1f}" height="{tall:.1f}" fill="{fill}"/>'


def _described(days: list[str], sums: list[int | None], names: list[str], lists: list[tuple[Day, ...]]) -> str:
    known = [(count, day) for count, day in zip(sums, days, strict=True) if count is not None]
    most = max(known, default=None)
    said = [f"The most attempts were {number(most[0])} on {most[1]}." if most else "No day has figures."]
    for name, of_list in zip(names, lists, strict=True):
        lacking = [day.day for day in of_list if day.enforced_s < ENFORCED_LEAST * DAY_S]
        said.append(f"{name} was enforced all of the day on {len(of_list) - len(lacking)} of {len(of_list)} days.")
    return " ".join(said)
