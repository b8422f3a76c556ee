"""Draws dashboards: `python -m tests.grafana.draw --data FOLDER --from 2020-03-01 --to 2020-04-20 blocking`.

Rules:
- This is not Grafana: it asks a real Prometheus what each panel asks, and draws titles, values, units, limits, words,
  annotations and colours as the dashboard's file has them. Fonts and spacing are near Grafana's, not the same.
- Tiles, graphs, timelines and tables are drawn; any other kind of panel is an error.
- A picture is made by Chromium from one HTML file with SVG in it, without a network.
"""

import argparse
import html
import json
import math
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.grafana.ask import Grafana, Series, Window, at, with_variables
from tests.unit.count import spring

FOLDER: Final = spring.DEPLOY / "grafana" / "dashboards"
WIDE: Final = 1600
CELL: Final = 38
GAP: Final = 8
BACKGROUND_S: Final = 60
THEMES: Final = {
    "dark": {
        "page": "#111217", "panel": "#181b1f", "edge": "#2c2f36", "text": "#ccccdc", "weak": "#8e8f9b", "on": "#ffffff",
        "green": "#56a64b", "red": "#e02f44", "orange": "#e0660a", "blue": "#3274d9", "purple": "#a352cc",
    },
    "light": {
        "page": "#f4f5f5", "panel": "#ffffff", "edge": "#dcdfe3", "text": "#24292e", "weak": "#6a6f76", "on": "#ffffff",
        "green": "#37872d", "red": "#c4162a", "orange": "#c7560a", "blue": "#1f60c4", "purple": "#8f3bb8",
    },
}  # fmt: skip
PALETTE: Final = ("#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#37872d", "#8ab8ff", "#fa6400")


class Box(NamedTuple):
    """A panel's place for what it shows, in pixels."""

    width: int
    height: int


def number(value: float, unit: str) -> str:
    """Return a value in its unit, about as Grafana words it."""
    if unit == "dtdurations":
        return lasting(value)
    if unit == "s":
        size = abs(value)
        for seconds, word in ((604800, "weeks"), (86400, "days"), (3600, "hours"), (60, "mins")):
            if size >= seconds:
                return f"{value / seconds:.3g} {word}"
        return f"{value:.3g} s"
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit.startswith("suffix:"):
        return f"{value:.4g}{unit.removeprefix('suffix:')}"
    if unit == "locale":
        return f"{value:,.0f}"
    if unit == "none":
        return f"{value:.10g}"
    tail = {"reqps": " req/s", "pps": " p/s", "bytes": "B"}.get(unit, "")
    for power, word in ((1e9, "G" if tail else " Bil"), (1e6, "M" if tail else " Mil"), (1e3, "K" if tail else " K")):
        if abs(value) >= power:
            return f"{value / power:.3g}{word}{tail}"
    return f"{value:.3g}{tail}"


def lasting(value: float) -> str:
    """Return seconds in words, the two largest units."""
    left, parts = int(abs(value)), []
    for seconds, word in ((604800, "week"), (86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        count, rest = divmod(left, seconds)
        if count or parts:
            parts.append(f"{count} {word}{'' if count == 1 else 's'}")
            left = rest
    return ", ".join(parts[:2]) + (" ago" if value < 0 else "")


def colour_of(value: float, defaults: dict[str, Any]) -> str:
    """Return the colour of a value: of its words, else of the threshold that it has reached."""
    for mapping in defaults.get("mappings", ()):
        if (found := mapping["options"].get(f"{value:g}")) is not None:
            return str(found["color"])
    colour = ""
    for step in defaults["thresholds"]["steps"]:
        if step.get("value") is None or value >= step["value"]:
            colour = step["color"]
    return colour


def worded(value: float, defaults: dict[str, Any]) -> str:
    """Return the text of a value: its words, else its number."""
    for mapping in defaults.get("mappings", ()):
        if (found := mapping["options"].get(f"{value:g}")) is not None:
            return str(found["text"])
    unit = defaults["unit"]
    return f"{value:.0f}" if unit == "short" and defaults.get("decimals") == 0 else number(value, unit)


def of_name(panel: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the field's settings for a name, with what overrides them."""
    found = dict(panel["fieldConfig"]["defaults"])
    for one in panel["fieldConfig"].get("overrides", ()):
        wanted = one["matcher"]["options"]
        if re.search(wanted.strip("/"), name) if one["matcher"]["id"] == "byRegexp" else wanted == name:
            found |= {given["id"]: given["value"] for given in one["properties"]}
    return found


def text(x: float, y: float, words: str, colour: str, size: int = 12, anchor: str = "start", weight: int = 400) -> str:
    """Return a text of the picture."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" font-size="{size}" font-weight="{weight}" '
        f'text-anchor="{anchor}">{html.escape(words)}</text>'
    )


def rectangle(x: float, y: float, width: float, height: float, colour: str) -> str:
    """Return a coloured ground."""
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="2" fill="{colour}"/>'


class Board:
    """Draws one dashboard over a window of time."""

    def __init__(self, grafana: Grafana, name: str, window: Window, theme: str, **chosen: str) -> None:
        self._grafana = grafana
        self._board = json.loads((FOLDER / f"{name}.json").read_text())
        self._window = window
        self._chosen = chosen
        self._theme = theme
        self._colours = THEMES[theme]
        self._marks = list(self._annotations())

    def as_html(self) -> tuple[str, int]:
        """Return the picture as HTML, and its height in pixels."""
        parts, bottom = [self._head()], 0
        for panel in self._board["panels"]:
            place = panel["gridPos"]
            left, top = 8 + place["x"] * (WIDE - 16) / 24, 64 + place["y"] * CELL
            wide, high = place["w"] * (WIDE - 16) / 24 - GAP, place["h"] * CELL - GAP
            bottom = max(bottom, int(top + high + GAP))
            if panel["type"] == "row":
                parts.append(
                    f"<h2 style='left:{left:.0f}px;top:{top:.0f}px'>&#8964; {html.escape(panel['title'])}</h2>"
                )
                continue
            box = Box(int(wide) - 16, int(high) - 40)
            drawn = self._panel(panel, box)
            parts.append(
                f"<section style='left:{left:.0f}px;top:{top:.0f}px;width:{wide:.0f}px;height:{high:.0f}px'>"
                f"<h3>{html.escape(panel['title'])} <span title='Runbook'>&#8599;</span></h3>"
                f"<svg width='{box.width}' height='{box.height}'>{drawn}</svg></section>"
            )
        return "".join(parts), bottom

    def _head(self) -> str:
        c = self._colours
        first, last = (datetime.fromtimestamp(one, UTC).strftime("%Y-%m-%d %H:%M") for one in self._window)
        others = " &nbsp; ".join(html.escape(link["title"]) for link in self._board["links"])
        return (
            f"<!doctype html><meta charset=utf-8><style>body{{margin:0;background:{c['page']};color:{c['text']};"
            f"font:12px Inter,'DejaVu Sans',sans-serif;width:{WIDE}px}}"
            f"section{{position:absolute;background:{c['panel']};"
            f"border:1px solid {c['edge']};border-radius:3px;box-sizing:border-box;padding:4px 8px}}"
            f"h1,h2,h3{{font-weight:500;margin:0;font-size:14px}}h2{{position:absolute;line-height:30px}}h3{{line-height:26px}}"
            f"h3 span,nav{{color:{c['weak']};font-size:11px;font-weight:400}}header{{padding:12px 14px}}"
            "nav{float:right}h1{font-size:18px}</style>"
            f"<header><nav>{others} &nbsp; {first} to {last} UTC</nav>"
            f"<h1>{html.escape(self._board['title'])}</h1></header>"
        )

    def _panel(self, panel: dict[str, Any], box: Box) -> str:
        kinds = {"stat": self._tiles, "timeseries": self._graph, "state-timeline": self._timeline, "table": self._table}
        found = [one for _, one in self._grafana.series(panel, self._window, **self._chosen)]
        if not found:
            empty = panel["fieldConfig"]["defaults"]["noValue"]
            return text(box.width / 2, box.height / 2, empty, self._colours["weak"], 14, "middle")
        return kinds[panel["type"]](panel, found, box)

    def _tiles(self, panel: dict[str, Any], found: Sequence[Series], box: Box) -> str:
        solid = panel["options"]["colorMode"] == "background_solid"
        mode = panel["options"]["textMode"]
        each, parts = box.width / len(found), []
        for place, (_, legend, course) in enumerate(found):
            value = list(course.values())[-1]
            field = of_name(panel, legend)
            ground = self._colours.get(colour_of(value, field), "") if solid else ""
            ink = self._colours["on"] if ground else self._colours["text"]
            x = place * each
            if ground:
                parts.append(
                    f'<rect x="{x:.1f}" y="0" width="{each - 4:.1f}" height="{box.height}" rx="3" fill="{ground}"/>'
                )
            middle, big = x + each / 2 - 2, worded(value, field)
            if mode == "name":
                parts.append(text(middle, box.height / 2 + 9, legend, ink, fitting(legend, each, 26), "middle", 600))
            elif mode == "value":
                parts.append(text(middle, box.height / 2 + 9, big, ink, fitting(big, each, 26), "middle", 600))
            else:
                size = fitting(big, each, min(30, box.height // 3))
                parts.append(text(middle, box.height / 2 - 4, legend, ink, fitting(legend, each, 14), "middle"))
                parts.append(text(middle, box.height / 2 + size, big, ink, size, "middle", 600))
        return "".join(parts)

    def _across(self, moment: float, box: Box, left: int) -> float:
        first, last = self._window
        return left + (moment - first) / (last - first) * (box.width - left - 8)

    def _times(self, box: Box, left: int, bottom: float) -> str:
        first, last = self._window
        words = "%H:%M" if last - first <= 3 * 86400 else "%m-%d"
        parts = []
        for share in range(1, 6):
            moment = first + (last - first) * share / 6
            shown = datetime.fromtimestamp(moment, UTC).strftime(words)
            parts.append(text(self._across(moment, box, left), bottom + 14, shown, self._colours["weak"], 11, "middle"))
        return "".join(parts)

    def _graph(self, panel: dict[str, Any], found: Sequence[Series], box: Box) -> str:
        defaults = panel["fieldConfig"]["defaults"]
        values = [value for _, _, course in found for value in course.values() if math.isfinite(value)]
        steps = [step["value"] for step in defaults["thresholds"]["steps"] if step.get("value") is not None]
        dashed = defaults.get("custom", {}).get("thresholdsStyle", {}).get("mode") == "dashed"
        low, high = min([*values, defaults.get("min", math.inf)]), max(values)
        high = high if high > low else low + 1
        high += (high - low) * 0.05
        left, bottom = 62, box.height - 22 - 15 * lines_of([legend for _, legend, _ in found], box.width)

        def down(value: float) -> float:
            return bottom - (value - low) / (high - low) * (bottom - 6)

        parts = []
        for share in range(5):
            value = low + (high - low) * share / 4
            parts.append(f'<path d="M{left} {down(value):.1f}H{box.width - 8}" stroke="{self._colours["edge"]}"/>')
            parts.append(
                text(left - 6, down(value) + 4, number(value, defaults["unit"]), self._colours["weak"], 11, "end")
            )
        for value in steps if dashed else ():
            if low <= value <= high:
                colour = self._colours[
                    next(step["color"] for step in defaults["thresholds"]["steps"] if step["color"] != "green")
                ]
                parts.append(
                    f'<path d="M{left} {down(value):.1f}H{box.width - 8}" stroke="{colour}" stroke-dasharray="8 6"/>'
                )
        parts += self._marked(box, left, bottom)
        for place, (_, legend, course) in enumerate(found):
            broad = of_name(panel, legend).get("custom.lineWidth", 1.5)
            colour = PALETTE[place % len(PALETTE)]
            points = self._joined(course, box, left, down)
            parts.append(f'<path d="{points}" fill="none" stroke="{colour}" stroke-width="{broad}"/>')
            if len(course) == 1:
                ((moment, value),) = course.items()
                parts.append(
                    f'<circle cx="{self._across(moment, box, left):.1f}" cy="{down(value):.1f}" r="2" fill="{colour}"/>'
                )
        parts.append(self._times(box, left, bottom))
        parts += legends([legend for _, legend, _ in found], box.width, bottom + 32, self._colours["text"])
        return "".join(parts)

    def _joined(self, course: dict[int, float], box: Box, left: int, down: Any) -> str:
        moments = sorted(course)
        step = min((b - a for a, b in pairwise(moments)), default=1)
        points, before = [], None
        for moment in moments:
            joined = before is not None and moment - before <= 1.5 * step
            points.append(f"{'L' if joined else 'M'}{self._across(moment, box, left):.1f} {down(course[moment]):.1f}")
            before = moment
        return "".join(points)

    def _marked(self, box: Box, left: int, bottom: float) -> Iterator[str]:
        for moment, words, colour in self._marks:
            x, ink = self._across(moment, box, left), self._colours[colour]
            yield f'<path d="M{x:.1f} 0V{bottom:.1f}" stroke="{ink}" stroke-dasharray="3 3"/>'
            yield f'<path d="M{x - 5:.1f} {bottom + 5:.1f}h10l-5 -6z" fill="{ink}"/>'
            if box.width > 500 and colour == "purple":
                yield text(x + 4, 12 + 12 * (self._marks.index((moment, words, colour)) % 3), words, ink, 11)

    def _annotations(self) -> Iterator[tuple[int, str, str]]:
        """Yield (moment, text, colour) of what Prometheus says; Grafana's own are not here."""
        first, last = self._window
        for one in self._board["annotations"]["list"]:
            if "expr" not in one:
                continue
            step = max(900, (last - first) // 5000 // 900 * 900)
            for series in self._grafana.range(
                with_variables(one["expr"], self._window, **self._chosen), self._window, step
            ):
                words = one["textFormat"]
                for label, value in series["metric"].items():
                    words = words.replace("{{" + label + "}}", value)
                before = 0
                for moment, value in series["values"]:
                    shown = int(float(value) / 1000) if one.get("useValueForTime") else int(moment)
                    if shown - before > 2 * step and first <= shown <= last:
                        yield shown, words.replace("{{region}}", ""), one["iconColor"]
                    before = shown

    def _timeline(self, panel: dict[str, Any], found: Sequence[Series], box: Box) -> str:
        defaults = panel["fieldConfig"]["defaults"]
        left, bottom = min(240, 24 + 7 * max(len(legend) for _, legend, _ in found)), box.height - 20
        each, parts = min(44.0, bottom / len(found)), []
        for place, (_, legend, course) in enumerate(found):
            y = place * each + 2
            parts.append(text(left - 8, y + each / 2 + 3, legend, self._colours["text"], 12, "end"))
            for begin, end, value in merged(course):
                x, until = self._across(begin, box, left), self._across(end, box, left)
                ground = self._colours.get(colour_of(value, defaults), self._colours["weak"])
                parts.append(rectangle(x, y, max(2, until - x), each - 5, ground))
                words = worded(value, defaults)
                if until - x > 7 * len(words) and each >= 16:
                    parts.append(text((x + until) / 2, y + each / 2 + 2, words, self._colours["on"], 12, "middle"))
        return "".join(parts) + self._times(box, left, bottom)

    def _table(self, panel: dict[str, Any], found: Sequence[Series], box: Box) -> str:
        options = panel["transformations"][0]["options"]
        columns: dict[str, str] = options["renameByName"]
        order = sorted(columns, key=options["indexByName"].__getitem__)
        unit = panel["fieldConfig"]["defaults"]["unit"]
        body = [
            {
                columns[name]: (number(list(course.values())[-1], unit) if name == "Value" else labels.get(name, ""))
                for name in order
            }
            for labels, _, course in found
        ]
        sort = panel["options"]["sortBy"][0]
        body.sort(key=lambda row: row[sort["displayName"]], reverse=bool(sort.get("desc")))
        heads = [columns[name] for name in order]
        wants = [max(len(head), *(len(row[head]) for row in body)) + 3 for head in heads]
        lefts = [box.width * sum(wants[:place]) / sum(wants) for place in range(len(heads))]
        parts = [
            text(x + 6, 14, head, self._colours["weak"], 12, weight=600) for x, head in zip(lefts, heads, strict=True)
        ]
        room = (box.height - 22) // 24
        for place, row in enumerate(body[:room]):
            y = 22 + 24 * place
            parts.append(f'<path d="M0 {y + 23}H{box.width}" stroke="{self._colours["edge"]}"/>')
            for x, head in zip(lefts, heads, strict=True):
                parts += self._cell(of_name(panel, head), head, row[head], x, y)
        if len(body) > room:
            parts.append(text(box.width - 6, 14, f"{len(body)} rows", self._colours["weak"], 11, "end"))
        return "".join(parts)

    def _cell(self, field: dict[str, Any], head: str, words: str, x: float, y: float) -> Iterator[str]:
        ink = self._colours["blue"] if field.get("links") else self._colours["text"]
        for mapping in field.get("mappings", ()):
            if words in mapping["options"]:
                found = mapping["options"][words]
                yield rectangle(x, y + 2, 84, 20, self._colours[found["color"]])
                words, ink = found["text"], self._colours["on"]
        yield text(x + 6, y + 16, words, ink, 12)


def fitting(words: str, room: float, most: int) -> int:
    """Return the size of a text so that it fits."""
    return max(9, min(most, int((room - 16) / sum(0.78 if one.isupper() else 0.62 for one in words or "-"))))


def merged(course: dict[int, float]) -> Iterator[tuple[int, int, float]]:
    """Yield (begin, end, value) of each time with one value."""
    moments = sorted(course)
    step = min((b - a for a, b in pairwise(moments)), default=BACKGROUND_S)
    begin = moments[0]
    for one, following in zip(moments, [*moments[1:], math.inf], strict=True):
        if following - one > step or course[int(following)] != course[one]:
            yield begin, one + step, course[one]
            begin = int(following) if following < math.inf else begin


def lines_of(names: Sequence[str], width: int) -> int:
    """Return how many lines a legend takes."""
    return len(list(placed(names, width)))


def placed(names: Sequence[str], width: int) -> Iterator[list[tuple[float, int]]]:
    """Yield of each line of a legend the places and numbers of its names."""
    line: list[tuple[float, int]] = []
    x = 10.0
    for place, name in enumerate(names):
        wide = 30 + 6.6 * len(name)
        if line and x + wide > width:
            yield line
            line, x = [], 10.0
        line.append((x, place))
        x += wide
    yield line


def legends(names: Sequence[str], width: int, top: float, ink: str) -> Iterator[str]:
    """Yield the legend below a graph."""
    for number_of, line in enumerate(placed(names, width)):
        for x, place in line:
            y = top + 15 * number_of
            yield f'<rect x="{x:.1f}" y="{y - 5:.1f}" width="14" height="3" fill="{PALETTE[place % len(PALETTE)]}"/>'
            yield text(x + 20, y, names[place], ink, 11)


def photograph(page: str, height: int, out: Path, chromium: str = "chromium") -> None:
    """Have Chromium make a PNG of a page."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "board.html")
        path.write_text(page)
        subprocess.run(
            [
                chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
                "--disable-component-update", "--disable-sync", "--no-first-run", "--hide-scrollbars",
                f"--user-data-dir={folder}/profile", f"--window-size={WIDE},{height + 8}", f"--screenshot={out}",
                path.as_uri(),
            ],
            check=True, capture_output=True, timeout=90,
        )  # fmt: skip


def main() -> None:
    """Draw the dashboards that the command line names, light and dark."""
    words = argparse.ArgumentParser(description="Draws dashboards from a Prometheus' folder, as pictures.")
    words.add_argument("boards", nargs="+")
    words.add_argument("--data", type=Path, required=True)
    words.add_argument("--from", dest="first", type=moment, required=True)
    words.add_argument("--to", dest="last", type=moment, required=True)
    words.add_argument("--out", type=Path, default=Path("build/dashboards"))
    words.add_argument("--name", default="")
    given = words.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    with spring.replay.serving(given.data) as url:
        for board in given.boards:
            for theme in THEMES:
                page, height = Board(Grafana(url), board, (given.first, given.last), theme).as_html()
                out = given.out / f"{'-'.join(filter(None, (board, given.name, theme)))}.png"
                photograph(page, height, out)
                print(out)


def moment(words: str) -> int:
    """Return a moment such as 2020-03-30 or 2020-03-30T12:00."""
    return at(words.replace("T", " ") if "T" in words else f"{words} 00:00")


if __name__ == "__main__":
    main()
