"""Figures: a month's attempts from the days of a report or from a file; what is unknown is refused."""

from dataclasses import replace
from datetime import date

import pytest

from resolver.count.national import figures
from resolver.count.national.forms import Refused
from resolver.count.report.days import DayFacts, Place
from tests.unit.count.national.operators import form, members

ROSTER = form(members(5))
DAY = DayFacts(
    attempts=10,
    queries=None,
    answers=None,
    enforced=1.0,
    entries=None,
    serial=None,
    subscribers=0,
    definitions=frozenset({"v2"}),
)


def test_the_days_of_the_month_are_summed_over_regions() -> None:
    days = {date(2026, 12, 31): DAY, date(2027, 1, 1): DAY, date(2027, 1, 31): DAY, date(2027, 2, 1): DAY}
    facts = {
        Place("north", "court"): days,
        Place("south", "court"): {
            date(2027, 1, 5): replace(DAY, attempts=1),
            date(2027, 1, 6): replace(DAY, attempts=None),
        },
        Place("north", "demo"): {date(2027, 1, 2): replace(DAY, attempts=3)},
        Place("north", "other"): days,
    }
    assert figures.span_of(ROSTER) == (date(2027, 1, 1), date(2027, 1, 31))
    assert figures.of_days(facts, ROSTER) == {"court": 21, "demo": 3}


def test_another_definition_and_a_list_without_figures_are_refused() -> None:
    other = {Place("a", "court"): {date(2027, 1, 1): replace(DAY, definitions=frozenset({"v1", "v2"}))}}
    with pytest.raises(Refused, match="2027-01-01: counted by definition v1"):
        figures.of_days(other, ROSTER)
    with pytest.raises(Refused, match="for 1 list of the roster: demo"):
        figures.of_days({Place("a", "court"): {date(2027, 1, 1): DAY}}, ROSTER)


def test_a_file_of_figures() -> None:
    assert figures.of_file(b'{"demo": 0, "court": 16800, "more": 1}', ROSTER) == {"court": 16800, "demo": 0}
    for data in (b"[]", b'{"court": "x"}', b"\xff", b'{"court": 1.5}'):
        with pytest.raises(Refused, match="--figures: expected a JSON object"):
            figures.of_file(data, ROSTER)
    with pytest.raises(Refused, match="for 2 lists of the roster"):
        figures.of_file(b"{}", ROSTER)
