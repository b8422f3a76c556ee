"""Asks a Prometheus what a panel asks, as Grafana does.

Rules:
- Variables are filled in: all values, unless some are chosen.
- A graph or timeline is a range in the panel's steps; a tile or table is one moment, the end of what is shown.
"""

import json
import re
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

LEAST_S: Final = {"1m": 60, "15m": 900}
STEPS_S: Final = (60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 10800, 21600, 43200)
POINTS: Final = 1000
"""So many points Grafana asks for at the most: one for each pixel."""

Window = tuple[int, int]
"""First and last moment, in unix seconds."""

Course = dict[int, float]
Drawn = dict[str, Course]
"""Of each line its legend, and its values by moment."""

Series = tuple[dict[str, str], str, Course]
"""Its labels, its legend, its values by moment."""


def at(text: str) -> int:
    """Return a moment such as 2020-03-30 12:00 (UTC) in unix seconds."""
    return int(datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=UTC).timestamp())


class Grafana:
    """Asks the Prometheus at `url`."""

    def __init__(self, url: str) -> None:
        self._url = url

    def get(self, path: str, **words: object) -> Any:
        """Return the data of a call of the API; AssertionError with what it says if it fails."""
        with urllib.request.urlopen(f"{self._url}/api/v1/{path}?{urllib.parse.urlencode(words)}", timeout=60) as reply:
            told = json.load(reply)
        assert told["status"] == "success", told
        return told["data"]

    def series(self, panel: dict[str, Any], window: Window, **chosen: str) -> Iterator[tuple[str, Series]]:
        """Yield (refId, series) of all that a panel shows; `chosen` are variables of which not all values are."""
        first, last = window
        for target in panel["targets"]:
            query = with_variables(target["expr"], window, **chosen)
            if target.get("instant"):
                found = self.get("query", query=query, time=last)["result"]
            else:
                least = max(LEAST_S[target["interval"]], (last - first) / POINTS)
                found = self.range(query, window, next(step for step in STEPS_S if step >= least))
            for one in found:
                values = one.get("values") or [one["value"]]
                labels: dict[str, str] = one["metric"]
                legend = re.sub(
                    r"{{(\w+)}}", lambda label, labels=labels: labels.get(label[1], ""), target["legendFormat"]
                )
                yield target["refId"], (labels, legend, {int(moment): float(value) for moment, value in values})

    def range(self, query: str, window: Window, step: int) -> Any:
        """Return the result of a query over a range."""
        first, last = window
        return self.get("query_range", query=query, start=first // step * step, end=last // step * step, step=step)[
            "result"
        ]

    def draw(self, panel: dict[str, Any], window: Window, **chosen: str) -> Drawn:
        """Return what a panel draws, by legend; AssertionError if two lines have one."""
        found: Drawn = {}
        for _, (_, legend, course) in self.series(panel, window, **chosen):
            assert legend not in found, f"two lines are {legend}"
            found[legend] = course
        return found


def with_variables(expression: str, window: Window, **chosen: str) -> str:
    """Return an expression with its variables filled in; "$1" is PromQL's own, of a match."""
    expression = expression.replace("$__range", f"{window[1] - window[0]}s")
    return re.sub(r"\$([a-z]\w*)", lambda name: chosen.get(name[1], ".*"), expression)
