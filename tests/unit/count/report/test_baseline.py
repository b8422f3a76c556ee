"""Ratios to a baseline: eight weeks, frozen while a surge lasts, and what a made-up spring looks like."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.count.report.baseline import history, surges

FIRST = date(2020, 1, 1)
WEEKDAYS = (1000, 1010, 990, 1020, 1100, 1300, 1250)


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def counts(days: int, factor: dict[int, float] | None = None) -> dict[date, int | None]:
    """Days of a usual week, some of them multiplied."""
    factors = factor or {}
    return {day(n): round(WEEKDAYS[day(n).weekday()] * factors.get(n, 1)) for n in range(days)}


def test_fewer_than_eight_weeks_have_no_baseline() -> None:
    figures = history(counts(60))
    assert [one.ratio for one in figures[:56]] == [None] * 56
    assert [one.ratio for one in figures[56:]] == [1.0] * 4


def test_three_days_make_a_surge_and_two_do_not() -> None:
    assert surges(history(counts(80, {60: 1.5, 61: 9.0, 62: 1.49, 63: 2}))) == ()
    (surge,) = surges(history(counts(80, {60: 1.5, 61: 9.0, 62: 1.5})))
    assert (surge.first, surge.peak.day, surge.back) == (day(60), day(61), day(63))
    assert surge.peak.ratio == pytest.approx(9, rel=0.01)


def test_a_surge_that_lasts_never_becomes_its_own_baseline() -> None:
    figures = history(counts(180, dict.fromkeys(range(60, 180), 6.5)))
    assert {round(one.ratio or 0, 1) for one in figures[60:]} == {6.5}
    (surge,) = surges(figures)
    assert (surge.first, surge.back) == (day(60), None)


def test_normal_is_the_first_of_seven_calm_days() -> None:
    factors = dict.fromkeys(range(60, 90), 3.0) | dict.fromkeys(range(90, 96), 1.1) | {96: 1.3}
    (surge,) = surges(history(counts(120, factors)))
    assert surge.back == day(97)


def test_days_of_a_surge_are_in_no_later_baseline() -> None:
    figures = history(counts(150, dict.fromkeys(range(60, 100), 10.0)))
    assert all(one.ratio == pytest.approx(1, rel=0.01) for one in figures[100:])


def test_a_gap_has_no_ratio_and_breaks_no_row() -> None:
    found = counts(80, {60: 2, 61: 2, 63: 2})
    del found[day(62)]
    figures = history(found)
    assert (figures[62].count, figures[62].ratio) == (None, None)
    (surge,) = surges(figures)
    assert surge.first == day(60)


def test_a_further_week_takes_the_place_of_a_gap() -> None:
    found = counts(80)
    del found[day(30)]
    figures = history(found)
    assert figures[58].ratio is None  # only seven of its weekday were counted
    assert figures[65].ratio == 1.0


def test_a_small_base_is_marked() -> None:
    figures = history({day(n): 99 for n in range(60)})
    assert figures[-1].small
    assert not history(counts(60))[-1].small


def test_a_base_of_nothing_makes_no_ratio() -> None:
    assert history({day(n): 0 for n in range(60)})[-1].ratio is None


def test_a_spring_with_two_regions_is_told_apart() -> None:
    """Ten-fold at the end of March and normal in May; two-fold with another peak."""
    ten = {n: 1 + 9 * (n - 65) / 23 for n in range(65, 89)} | {n: 10 - 9 * (n - 88) / 35 for n in range(89, 123)}
    two = {n: 1 + (n - 70) / 30 for n in range(70, 101)} | {n: 2 - (n - 100) / 20 for n in range(101, 120)}
    (high,) = surges(history(counts(180, ten)))
    (low,) = surges(history(counts(180, two)))
    assert (high.peak.day, round(high.peak.ratio or 0)) == (date(2020, 3, 29), 10)
    assert (low.peak.day, round(low.peak.ratio or 0)) == (date(2020, 4, 10), 2)
    assert high.back is not None
    assert low.back is not None
    assert high.back.month == 5
    assert low.back < high.back


def by(version: str, first: int, last: int) -> dict[date, frozenset[str]]:
    """Days counted by a definition."""
    return {day(n): frozenset({version}) for n in range(first, last)}


def test_a_baseline_is_of_days_of_its_own_definition() -> None:
    found = counts(180, dict.fromkeys(range(100, 180), 0.1))
    figures = history(found, by("v1", 0, 100) | by("v2", 100, 180))
    assert {one.ratio for one in figures[56:100]} == {1.0}
    assert {one.ratio for one in figures[100:156]} == {None}
    assert {one.ratio for one in figures[156:]} == {1.0}
    assert [one.day for one in figures if one.changed] == [day(100)]


def test_a_day_of_two_definitions_is_compared_with_none() -> None:
    used = by("v1", 0, 100) | {day(100): frozenset({"v1", "v2"})} | by("v2", 101, 180)
    figures = history(counts(180), used)
    assert figures[100].count is not None
    assert (figures[100].base, figures[100].ratio) == (None, None)
    assert {one.ratio for one in figures[101:157]} == {None}
    assert figures[157].ratio == 1.0


def test_a_surge_is_followed_until_the_definition_changes() -> None:
    found = counts(200, dict.fromkeys(range(60, 110), 3.0))
    (surge,) = surges(history(found, by("v1", 0, 100) | by("v2", 100, 200)))
    assert (surge.first, surge.back, surge.cut, surge.end) == (day(60), None, day(100), day(100))
    (whole,) = surges(history(found, by("v1", 0, 200)))
    assert (whole.back, whole.cut) == (day(110), None)


def test_days_without_figures_change_no_definition() -> None:
    used = by("v1", 0, 80)
    used[day(70)] = frozenset()
    found = counts(80)
    del found[day(70)]
    assert not any(one.changed for one in history(found, used))


@given(st.lists(st.one_of(st.none(), st.integers(0, 10**6)), max_size=200))
def test_whatever_was_counted_gives_every_day_once(values: list[int | None]) -> None:
    given_counts = {day(n): value for n, value in enumerate(values)}
    figures = history(given_counts)
    assert [one.day for one in figures] == list(given_counts)
    for surge in surges(figures):
        assert surge.peak.day >= surge.first
        assert (surge.back or date.max) > surge.first
