"""Charts: well formed, in words as well, nothing drawn where nothing is known."""

from datetime import timedelta
from xml.etree import ElementTree

import pytest

from resolver.count.report.chart import HATCH, SURGE, Event, chart, events, ticks
from resolver.count.report.days import Place
from resolver.count.report.figures import LIST_MOVED
from tests.unit.count.report.test_as_table import broken
from tests.unit.count.spring import FIRST, RURITANIA, facts, told

SVG = "{http://www.w3.org/2000/svg}"


def drawn(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)


def test_it_says_in_words_what_it_shows() -> None:
    svg = drawn(chart(told().places[1], "one"))
    assert svg.get("role") == "img"
    ids = (svg.get("aria-labelledby") or "").split()
    title, told_in_words = svg.find(f"{SVG}title"), svg.find(f"{SVG}desc")
    assert title is not None
    assert told_in_words is not None
    assert ids == [title.get("id"), told_in_words.get("id")]
    assert title.text == f"{RURITANIA.region}, list {RURITANIA.list_id}"
    assert "The most were 33,020 on 2020-03-29" in (told_in_words.text or "")
    assert "back to normal on 2020-05-11" in (told_in_words.text or "")


def test_a_bar_for_each_day_and_none_outside() -> None:
    svg = drawn(chart(told().places[1], "one"))
    bars = [one for one in svg.iter(f"{SVG}rect") if one.get("fill") == "#7f9fb3"]
    assert len(bars) == 182 + 1  # The last is the legend's.
    assert all(float(one.get("y") or 0) + float(one.get("height") or 0) <= 294.1 for one in bars[:-1])
    assert min(float(one.get("y") or 0) for one in bars[:-1]) >= 58


def test_gaps_are_hatched_and_the_line_stops_at_them() -> None:
    whole, with_gaps = chart(told().places[1], "one"), chart(told(broken()).places[1], "one")
    assert whole.count("url(#one-hatch)") == 1
    assert with_gaps.count("url(#one-hatch)") == 2
    assert whole.count(f'fill="{SURGE}"') == 2
    assert HATCH in whole


def test_peaks_returns_and_what_moved_are_marked() -> None:
    said = events(told(broken()).places[1])
    assert [(str(one.day), one.said) for one in said] == [
        ("2020-03-30", "peak 10.00 times"),
        ("2020-05-11", "back to normal"),
        ("2020-06-01", LIST_MOVED),
    ]
    assert isinstance(said[0], Event)


def test_names_are_text() -> None:
    days = facts()[RURITANIA]
    svg = drawn(chart(told({Place("<script>&", "x"): days}).places[0], "one"))
    assert not list(svg.iter("script"))
    assert svg[0].text == "<script>&, list x"


@pytest.mark.parametrize("days", [1, 30, 400, 1500])
def test_any_length_has_dates(days: int) -> None:
    one = facts()[RURITANIA][FIRST]
    found = {Place("UK", "x"): {FIRST + timedelta(days=number): one for number in range(days)}}
    from resolver.count.report.figures import figures

    (place,) = figures(found, FIRST, FIRST + timedelta(days=days - 1))
    assert "2020" in "".join(text.text or "" for text in drawn(chart(place, "one")).iter(f"{SVG}text"))


@pytest.mark.parametrize(
    ("most", "top"), [(0, 0.1), (0.3, 0.3), (1, 1), (2, 2), (10, 10), (11, 15), (99, 100), (33_020, 40_000)]
)
def test_ticks_are_round_and_reach(most: float, top: float) -> None:
    found = ticks(most)
    assert found[0] == 0
    assert found[-1] == pytest.approx(top)
    assert 2 <= len(found) <= 6
