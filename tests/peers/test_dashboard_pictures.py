"""A bad night of thirty hosts with three lists, drawn: one look says what is wrong, and no panel is a tangle of lines.

The pictures stay among the run's temporary files, light and dark.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.grafana import draw, night
from tests.grafana.ask import Grafana

pytestmark = pytest.mark.timeout(300)

NAMES = ("overview", "blocking", "lists", "service")
WINDOW = (night.EVENING + 3600, night.NOW)
MOST_LINES = 15
"""Of a graph, so that its legend can be read."""


@pytest.fixture(scope="module")
def grafana(program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grafana]:
    """Asks a Prometheus that has the night."""
    data, prometheus = tmp_path_factory.mktemp("night") / "data", program("prometheus")
    night.replay.fill(data, prometheus, program("promtool"), night.NIGHT)
    with night.replay.serving(data, prometheus) as url:
        yield Grafana(url)


def said(page: str) -> set[str]:
    """The texts of a picture."""
    return set(re.findall(r">([^<>]+)</text>", page))


def test_one_look_says_what_is_wrong(grafana: Grafana) -> None:
    page, _ = draw.Board(grafana, "overview", WINDOW, "dark").as_html()
    first_rows = page[: page.index("Since when")]
    assert said(first_rows) >= {
        "29 of 30 hosts", "newer awaits a person", "no good poll", "NOT on every host", "80 %", "4 hours",
        "court, time left", "2 hours, 10 minutes", "hotline, ago", "hotline, in polls", "402", "403", "21 %",
        night.BUSY, night.BROKEN, "NOT ENFORCING", "busy core", "another serial",
        "BlocklistNotEnforcing", "BlocklistDeadlineNear", "BlocklistListHeld", "BlocklistListStale",
        "BlocklistFeedFailing", "BlocklistEngineBusy",
    }  # fmt: skip
    # Of thirty hosts only the two that are in trouble are named there.
    assert {one for one in said(page) if one.startswith("dns")} == {night.BUSY, night.BROKEN}
    # What clients notice now stands before a deadline.
    assert first_rows.index("BlocklistNotEnforcing") < first_rows.index("BlocklistDeadlineNear")


def test_a_quiet_evening_is_green(grafana: Grafana) -> None:
    page, _ = draw.Board(grafana, "overview", (night.EVENING, night.EVENING + 3600), "light").as_html()
    colours = draw.THEMES["light"]
    assert said(page) >= {"30 of 30 hosts", "in force", "none waits", "None: all hosts are alike"}
    grounds = set(re.findall(r'<rect [^>]*rx="[23]" fill="(#\w+)"', page))
    assert grounds == {colours["green"]}


@pytest.mark.parametrize("name", NAMES)
def test_thirty_hosts_are_no_tangle(name: str, grafana: Grafana) -> None:
    board = json.loads((draw.FOLDER / f"{name}.json").read_text())
    for panel in board["panels"]:
        if panel["type"] != "row":
            lines = [legend for _, (_, legend, _) in grafana.series(panel, WINDOW)]
            assert len(lines) <= MOST_LINES, (panel["title"], lines)


@pytest.mark.parametrize("theme", draw.THEMES)
@pytest.mark.parametrize("name", NAMES)
def test_each_dashboard_is_a_picture(
    name: str, theme: str, grafana: Grafana, program: Callable[[str], str], tmp_path: Path
) -> None:
    page, height = draw.Board(grafana, name, WINDOW, theme).as_html()
    out = tmp_path / f"{name}-{theme}.png"
    draw.photograph(page, height, out, program("chromium"))
    picture = out.read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert int.from_bytes(picture[16:20], "big") == draw.WIDE
    assert len(picture) > 20_000, "it is blank"
