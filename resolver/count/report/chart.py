"""Draws the charts of a report as SVG: attempts as bars, ratio to the baseline as a line, surges shaded, gaps hatched.

Rules:
- A chart describes itself in words (title and desc), and its colours differ in lightness as well as in hue.
- Unknown values are not drawn: a gap is hatched, and the line stops at it.
- Text is escaped; there is no script and no style sheet, and nothing is fetched.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from html import escape
from itertools import pairwise
from typing import Final, NamedTuple

from resolver.count.report import text
from resolver.count.report.days import DAY
from resolver.count.report.figures import (
    COVERAGE_MOVED,
    DEFINITION_CHANGED,
    ENTRIES_MOVED,
    LIST_MOVED,
    SUBSCRIBERS_MOVED,
    Day,
    PlaceFigures,
)

WIDTH: Final = 960
HEIGHT: Final = 360
LEFT: Final = 76
RIGHT: Final = 64
TOP: Final = 58
BOTTOM: Final = 66

INK: Final = "#1b2326"
FAINT: Final = "#d3d9da"
BARS: Final = "#7f9fb3"
LINE: Final = "#8a2b06"
SURGE: Final = "#fbe7c6"
HATCH: Final = "#5b666a"

_X1: Final = WIDTH - RIGHT
_Y1: Final = HEIGHT - BOTTOM
_ROWS: Final = 3
_ROW_HEIGHT: Final = 15
_LETTER: Final = 7
_DAYS_WITH_WEEKS: Final = 62
_DAYS_WITH_MONTHS: Final = 800


class Event(NamedTuple):
    """A remark on a day."""

    day: date
    said: str


def events(place: PlaceFigures) -> tuple[Event, ...]:
    """Return peaks, returns to normal, and the days on which definition, list size or coverage changed."""
    shown = {one.day for one in place.days}
    found = []
    for surge in place.surges:
        found.append(Event(surge.peak.day, f"peak {text.times(surge.peak.ratio)} times"))
        if surge.back:
            found.append(Event(surge.back, "back to normal"))
    for before, after in pairwise(place.days):
        if before.facts.definitions and after.facts.definitions - before.facts.definitions:
            found.append(Event(after.day, DEFINITION_CHANGED))
        if _jumped(before.facts.entries, after.facts.entries, ENTRIES_MOVED):
            found.append(Event(after.day, LIST_MOVED))
        if _jumped(before.facts.subscribers, after.facts.subscribers, SUBSCRIBERS_MOVED):
            found.append(Event(after.day, COVERAGE_MOVED))
    return tuple(sorted(one for one in found if one.day in shown))


def _jumped(before: int | None, after: int | None, share: float) -> bool:
    return bool(before and after) and max(before or 0, after or 0) >= min(before or 0, after or 0) * (1 + share)


def described(place: PlaceFigures) -> str:
    """Return a description of the chart in words."""
    days = place.days
    counted = [one for one in days if one.facts.attempts is not None]
    most = max(counted, key=lambda one: one.facts.attempts or 0, default=None)
    said = [f"Attempts of each day from {days[0].day} to {days[-1].day}, and how many times the baseline they were."]
    if most:
        said.append(f"The most were {text.number(most.facts.attempts)} on {most.day}.")
    return " ".join((*said, *text.surges(place), *(f"Gap: {gap}" for gap in text.gaps(place.months))))


def chart(place: PlaceFigures, name: str, y: int | None = None) -> str:
    """Return one chart. `name` is the unique prefix of its ids on a page; `y` its position inside another SVG."""
    return "\n".join(_parts(place, name, y))


def _parts(place: PlaceFigures, name: str, y: int | None) -> Iterator[str]:
    at = "" if y is None else f' y="{y}"'
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"{at} '
        f'role="img" aria-labelledby="{name}-title {name}-desc" font-family="sans-serif" font-size="13" fill="{INK}">'
    )
    yield f'<title id="{name}-title">{escape(text.heading(place.place))}</title>'
    yield f'<desc id="{name}-desc">{escape(described(place))}</desc>'
    yield (
        f'<defs><pattern id="{name}-hatch" width="6" height="6" patternUnits="userSpaceOnUse" '
        f'patternTransform="rotate(45)"><path d="M0 0V6" stroke="{HATCH}" stroke-width="1.6"/></pattern></defs>'
    )
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>'
    days = place.days
    most = max((one.facts.attempts or 0 for one in days), default=0)
    top = ticks(most)
    ratios = ticks(max((one.figure.ratio or 0 for one in days), default=0))
    step = (_X1 - LEFT) / len(days)
    yield from _shaded(days, step, name)
    yield from _axes(days, step, top, ratios)
    for number, one in enumerate(days):
        if one.facts.attempts:
            height = (_Y1 - TOP) * one.facts.attempts / top[-1]
            yield (
                f'<rect x="{_n(LEFT + step * number + step * 0.1)}" y="{_n(_Y1 - height)}" '
                f'width="{_n(step * 0.8)}" height="{_n(height)}" fill="{BARS}"/>'
            )
    yield from _line(days, step, ratios[-1])
    yield from _marks(events(place), days[0].day, step)
    yield from _legend(name)
    yield "</svg>"


def ticks(most: float) -> tuple[float, ...]:
    """Return round numbers in even steps, from zero to at least `most`."""
    size = 1.0 if most >= 1 else 0.1
    while True:
        for factor in (1, 2, 5):
            step = size * factor
            if step * 5 >= most:
                number = max(1, -int(-most // step))
                return tuple(step * one for one in range(number + 1))
        size *= 10


def _shaded(days: Sequence[Day], step: float, name: str) -> Iterator[str]:
    for kind, fill in (("surge", SURGE), ("gap", f"url(#{name}-hatch)")):
        begin = None
        for number in range(len(days) + 1):
            one = days[number] if number < len(days) else None
            inside = one is not None and (one.figure.surge if kind == "surge" else bool(one.facts.gap))
            if inside and begin is None:
                begin = number
            elif not inside and begin is not None:
                yield (
                    f'<rect x="{_n(LEFT + step * begin)}" y="{TOP}" width="{_n(step * (number - begin))}" '
                    f'height="{_Y1 - TOP}" fill="{fill}"/>'
                )
                begin = None


def _axes(days: Sequence[Day], step: float, top: Sequence[float], ratios: Sequence[float]) -> Iterator[str]:
    for value in top:
        y = _Y1 - (_Y1 - TOP) * value / top[-1]
        yield f'<path d="M{LEFT} {_n(y)}H{_X1}" stroke="{FAINT}"/>'
        yield f'<text x="{LEFT - 8}" y="{_n(y + 4)}" text-anchor="end">{value:,.10g}</text>'
    if any(one.figure.ratio is not None for one in days):
        for value in ratios:
            y = _Y1 - (_Y1 - TOP) * value / ratios[-1]
            yield f'<text x="{_X1 + 8}" y="{_n(y + 4)}" fill="{LINE}">{value:.10g}&#215;</text>'
        y = _Y1 - (_Y1 - TOP) / ratios[-1]
        yield f'<path d="M{LEFT} {_n(y)}H{_X1}" stroke="{LINE}" stroke-dasharray="2 4"/>'
    for number, one in enumerate(days):
        said = _date(one.day, len(days))
        if said:
            x = LEFT + step * number
            yield f'<path d="M{_n(x)} {_Y1}v6" stroke="{INK}"/>'
            yield f'<text x="{_n(x + 3)}" y="{_Y1 + 18}">{said}</text>'
    yield f'<path d="M{LEFT} {_Y1}H{_X1}" stroke="{INK}"/>'


def _date(day: date, length: int) -> str:
    """Return the label of the axis at a day; "" for most days."""
    if length <= _DAYS_WITH_WEEKS:
        return day.isoformat() if day.day in (1, 8, 15, 22) else ""
    if length <= _DAYS_WITH_MONTHS:
        every = 1 if length <= _DAYS_WITH_MONTHS // 2 else 3
        return f"{day:%Y-%m}" if day.day == 1 and (day.month - 1) % every == 0 else ""
    return f"{day:%Y}" if (day.month, day.day) == (1, 1) else ""


def _line(days: Sequence[Day], step: float, top: float) -> Iterator[str]:
    row: list[str] = []
    for number in range(len(days) + 1):
        ratio = days[number].figure.ratio if number < len(days) else None
        if ratio is not None:
            row.append(f"{_n(LEFT + step * (number + 0.5))} {_n(_Y1 - (_Y1 - TOP) * ratio / top)}")
        elif row:
            # A line of one point is drawn as a dot, by its round cap.
            points = "L".join(row if len(row) > 1 else row * 2)
            yield f'<path d="M{points}" fill="none" stroke="{LINE}" stroke-width="2" stroke-linecap="round"/>'
            row = []


def _marks(marked: Sequence[Event], first: date, step: float) -> Iterator[str]:
    for number, one in enumerate(marked):
        x = LEFT + step * ((one.day - first) / DAY + 0.5)
        y = TOP - 6 - _ROW_HEIGHT * (_ROWS - 1 - number % _ROWS)
        said = f"{one.day}: {one.said}"
        left = x + len(said) * _LETTER > WIDTH
        place = f'x="{_n(x - 4)}" text-anchor="end"' if left else f'x="{_n(x + 4)}"'
        yield f'<path d="M{_n(x)} {y - 10}V{_Y1}" stroke="{INK}" stroke-dasharray="4 3"/>'
        yield (
            f'<text {place} y="{y}" font-size="12" paint-order="stroke" stroke="#ffffff" stroke-width="4">'
            f"{escape(said)}</text>"
        )


def _legend(name: str) -> Iterator[str]:
    y = HEIGHT - 22
    entries = (
        (f'<rect x="0" y="-10" width="18" height="11" fill="{BARS}"/>', "attempts a day (left)"),
        (f'<path d="M0 -4H18" stroke="{LINE}" stroke-width="2"/>', "times the baseline (right; dotted: 1)"),
        (f'<rect x="0" y="-10" width="18" height="11" fill="{SURGE}" stroke="{FAINT}"/>', "surge"),
        (f'<rect x="0" y="-10" width="18" height="11" fill="url(#{name}-hatch)"/>', "gap"),
    )
    for x, (drawn, said) in zip((LEFT, LEFT + 190, LEFT + 470, LEFT + 560), entries, strict=True):
        yield f'<g transform="translate({x} {y})">{drawn}<text x="24">{said}</text></g>'


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
