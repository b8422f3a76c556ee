"""The table for a terminal."""

from dataclasses import replace
from datetime import date

import pytest

from resolver.count import definition
from resolver.count.report import text
from resolver.count.report.as_table import WIDTH, as_table
from resolver.count.report.days import FELL, Days, Place
from tests.unit.count.spring import EREWHON, FIRST, RURITANIA, facts, told


def broken() -> dict[Place, Days]:
    """The spring with a day without figures, one on which a total fell, and a list that grows by a half in June."""
    found = facts()
    days = found[RURITANIA]
    del days[date(2020, 2, 3)]
    days[date(2020, 2, 4)] = replace(days[FIRST], attempts=None, gap=FELL)
    for day in days:
        if day.month == 6:
            days[day] = replace(days[day], entries=13_500)
    return found


def test_it_shows_months_surges_gaps_and_reasons() -> None:
    said = as_table(told(broken()))
    assert max(map(len, said.splitlines())) <= WIDTH
    assert "\x1b" not in said
    for place in (RURITANIA, EREWHON):
        assert f"{place.region}, list {place.list_id}" in said
    for line in (
        "2020-03    439,560",
        "10.00 times",
        "Gap: 2020-02-03: no figures.",
        f"Gap: 2020-02-04: {FELL}.",
        "2020-06 is not comparable: the list's size moved by 20 % or more.",
        "back to normal on 2020-05-11",
    ):
        assert line in said
    assert definition.CAVEAT in " ".join(said.split())
    assert definition.ATTEMPT.split() == said[said.index("An attempt is") :].split()[: len(definition.ATTEMPT.split())]


@pytest.mark.parametrize("width", [20, 60, 80, 120, 200])
def test_no_number_is_cut_however_narrow_the_terminal(width: int) -> None:
    made = told()
    said = as_table(made, width=width)
    assert "…" not in said
    cells = said.split()
    for place in made.places:
        for month in place.months:
            assert all(word in cells for cell in text.row(month) for word in cell.split())


def test_names_are_no_markup() -> None:
    (days,) = (days for place, days in facts().items() if place == RURITANIA)
    assert "[bold]:smile:, list x" in as_table(told({Place("[bold]:smile:", "x"): days}))


def test_colour_where_it_is_wished() -> None:
    assert "\x1b[" in as_table(told(), colour=True)
