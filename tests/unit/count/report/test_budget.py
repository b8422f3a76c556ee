"""The budget: what adds up, what does not, and the query that it refuses."""

from datetime import date

import pytest

from resolver.count.ledger import Draw
from resolver.count.report import budget
from resolver.count.report.budget import DAY_MOST, YEAR, Spending, Spent
from resolver.count.report.days import DAY, Place
from resolver.count.report.noise import noisy
from tests.unit.count import spring
from tests.unit.count.report.test_noise import FIRST, HERE, LAST, year


def drawn(first: str, last: str, cost: int = 50, **wanted: str) -> Draw:
    options = {"definition": "v2", "source": "host", "region": "UK", "list_id": "demo"} | wanted
    return Draw(first=first, last=last, epsilon=cost, sensitivity=3, figure=0, drawn=0, **options)


@pytest.mark.parametrize(
    ("draws", "year_cost", "day_cost"),
    [
        ([drawn("2025-01-01", "2025-01-01")], 50, 50),
        ([drawn("2025-01-01", "2025-01-31")], 31 * 50, 50),
        ([drawn("2025-01-01", "2025-01-31"), drawn("2025-01-07", "2025-01-07")], 32 * 50, 100),
        ([drawn("2025-01-01", "2025-01-01"), drawn("2025-01-01", "2025-01-01", 25)], 75, 75),
        ([drawn("2025-01-01", "2025-01-01"), drawn("2025-01-01", "2025-01-01", definition="v1")], 100, 100),
        ([drawn("2025-01-01", "2025-01-01"), drawn("2025-01-01", "2025-01-01", source="fleet")], 100, 100),
        ([drawn("2025-01-01", "2025-01-01"), drawn("2025-01-01", "2025-01-01", region="IE")], 50, 50),
        ([drawn("2025-01-01", "2025-01-01"), drawn("2025-01-01", "2025-01-01", region="all")], 100, 100),
    ],
)
def test_what_a_list_costs(draws: list[Draw], year_cost: int, day_cost: int) -> None:
    assert budget.spendings(draws) == (Spending("demo", 2025, year_cost, day_cost),)


def test_lists_and_years_have_a_budget_each() -> None:
    draws = [drawn("2024-12-31", "2025-01-01"), drawn("2025-01-01", "2025-01-01", list_id="other")]
    found = {(one.list_id, one.year): one.hundredths for one in budget.spendings(draws)}
    assert found == {("demo", 2024): 50, ("demo", 2025): 50, ("other", 2025): 50}


def test_a_year_of_reports_is_within_it_and_the_next_query_is_refused() -> None:
    drawing = spring.noise()
    noisy(year(), FIRST, LAST, drawing)
    (spent,) = budget.spendings(drawing.books.draws())
    assert (spent.hundredths, spent.dearest_day) == (365_00, 100)
    before = drawing.books.draws()
    other = spring.noise(books=drawing.books, epsilon="0.5")
    with pytest.raises(Spent, match=r"refuses this report: with it, list demo, 2025: 547\.5 of 400 spent"):
        noisy(year(), FIRST, LAST, other)
    assert drawing.books.draws() == before, "nothing was drawn"
    assert noisy(year(), FIRST, LAST, drawing), "what was given out is given again"


def test_no_day_has_more_than_its_own_budget() -> None:
    books = spring.Books()
    day = {HERE: {date(2025, 1, 1): year()[HERE][date(2025, 1, 1)]}}
    noisy(day, FIRST, FIRST, spring.noise(books=books, epsilon="2"))
    noisy(day, FIRST, FIRST, spring.noise(books=books, epsilon="1"))
    noisy(day, FIRST, FIRST, spring.noise(books=books, epsilon="0.5"))
    everywhere = {Place("all", HERE.list_id): day[HERE]}
    with pytest.raises(Spent, match=r"at most 2\.25 of 2 for one day"):
        noisy(everywhere, FIRST, FIRST, spring.noise(books=books, epsilon="1"))


def test_it_is_said_in_plain_numbers() -> None:
    assert str(Spending("demo", 2025, 1550, 100)) == "list demo, 2025: 15.5 of 400 spent, at most 1 of 2 for one day"
    assert (budget.epsilon(YEAR), budget.epsilon(DAY_MOST), budget.epsilon(5)) == ("400", "2", "0.05")


def test_days_before_the_report_that_are_too_dear_are_left_out_and_the_report_is_given() -> None:
    """A first try with another epsilon has spent the year before: the month itself is still within its budget."""
    books = spring.Books()
    begin = date(2025, 12, 1)
    before = {HERE: {day: one for day, one in year()[HERE].items() if day < begin}}
    noisy(before, date(2025, 11, 1), date(2025, 11, 30), spring.noise(books=books, epsilon="2"))
    found, months = noisy(year(), begin, LAST, spring.noise(books=books))
    assert {day: one.attempts is not None for day, one in found[HERE].items()} == {
        day: day >= begin for day in year()[HERE]
    }
    assert list(months) == [(HERE, begin)]
    again, _ = noisy(before, date(2025, 11, 1), date(2025, 11, 30), spring.noise(books=books, epsilon="2"))
    assert all(one.attempts is not None for one in again[HERE].values()), "what was drawn before is there"


def test_no_two_reports_subtract_to_a_count_without_noise() -> None:
    """A month without its first week, the whole month, its days, all regions without one: noise is left in each."""
    drawing, exact = spring.noise(), 560
    found, months = noisy(year(), date(2025, 1, 1), date(2025, 1, 31), drawing)
    days = [found[HERE][FIRST + number * DAY].attempts or 0 for number in range(31)]
    weeks, _ = noisy(year(), date(2025, 1, 1), date(2025, 1, 7), drawing)
    assert [weeks[HERE][FIRST + number * DAY].attempts for number in range(31)] == days
    assert months[HERE, FIRST] - sum(days) != 0, "the month has a draw of its own"
    assert months[HERE, FIRST] - sum(days[7:]) != 7 * exact
    everywhere = {Place("all", HERE.list_id): year()[HERE]}
    whole, _ = noisy(everywhere, date(2025, 1, 1), date(2025, 1, 31), drawing)
    apart = [one.attempts or 0 for one in whole[Place("all", HERE.list_id)].values()]
    assert sum(now == before for now, before in zip(apart, days, strict=False)) < 8


def test_all_hosts_of_a_fleet_draw_the_same_and_a_hosts_own_figure_is_another() -> None:
    one, other, own = (spring.noise(host=host) for host in ("", "", "a host"))
    assert noisy(year(), FIRST, LAST, one) == noisy(year(), FIRST, LAST, other), "nothing to average"
    assert noisy(year(), FIRST, LAST, own) != noisy(year(), FIRST, LAST, one)
