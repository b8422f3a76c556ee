"""Figures: what a made-up spring comes to, gaps, sums of regions, and what cannot be compared."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta

import pytest

from resolver.count.report.days import DAY, FELL, NOT_ENFORCED, DayFacts, Days, Place
from resolver.count.report.figures import (
    COVERAGE_MOVED,
    DEFINITION_CHANGED,
    LIST_MOVED,
    NO_BASELINE,
    NO_FIGURES,
    SMALL,
    Gap,
    Month,
    figures,
    summed,
)
from tests.unit.count.report.test_days import FACTS
from tests.unit.count.spring import EREWHON, FIRST, LAST, RURITANIA, facts

UK = Place("UK", "demo")
START = date(2026, 1, 1)
FEBRUARY = date(2026, 2, 1)
MARCH = date(2026, 3, 1)


def usual(**changed: object) -> Days:
    """January to March with the same day again and again."""
    return {START + number * DAY: replace(FACTS, attempts=1000, **changed) for number in range(90)}  # type: ignore[arg-type]


def months(days: Days, first: date = START) -> list[Month]:
    (place,) = figures({UK: days}, first, date(2026, 3, 31))
    return list(place.months)


def test_the_spring_has_its_peaks_and_its_return() -> None:
    places = {one.place: one for one in figures(facts(), FIRST, LAST)}
    (ten,), (two,) = places[RURITANIA].surges, places[EREWHON].surges
    assert (ten.peak.day, ten.back) == (date(2020, 3, 30), date(2020, 5, 11))
    assert ten.peak.ratio == pytest.approx(10, rel=0.001)
    assert (two.peak.day, two.back) == (date(2020, 4, 14), date(2020, 5, 13))
    assert two.peak.ratio == pytest.approx(2, rel=0.001)
    march = places[RURITANIA].months[2]
    assert (march.name, march.peak and march.peak.day) == ("2020-03", date(2020, 3, 30))
    assert march.attempts == sum(one.attempts or 0 for day, one in facts()[RURITANIA].items() if day.month == 3)


def test_a_report_of_one_month_knows_what_was_before_it() -> None:
    whole = figures(facts(), FIRST, LAST)
    april = figures(facts(), date(2020, 4, 1), date(2020, 4, 30))
    assert [one.months[0] for one in april] == [one.months[3] for one in whole]
    for of_april, of_all in zip(april, whole, strict=True):
        assert of_april.surges == (replace(of_all.surges[0], back=None),)


def test_regions_are_summed_unless_each_is_asked_for() -> None:
    (one,) = figures(summed(facts()), FIRST, LAST)
    assert one.place == Place("all", RURITANIA.list_id)
    apart = figures(facts(), FIRST, LAST)
    assert one.months[2].attempts == sum(place.months[2].attempts or 0 for place in apart)
    assert [place.place.region for place in figures(summed({UK: usual()}), START, MARCH)] == ["UK"]


def test_a_month_says_what_it_came_to() -> None:
    march = months(usual(), MARCH)[0]
    assert (march.attempts, march.queries, march.ratio) == (31_000, 31 * 300, 1.0)
    assert march.per_100k == pytest.approx(3000)
    assert (march.gaps, march.not_comparable) == ((), ())


def test_gaps_are_told_with_their_reason_and_have_no_ratio() -> None:
    days = usual()
    for number in (2, 3, 4):
        days[MARCH + number * DAY] = replace(FACTS, attempts=9000, gap=NOT_ENFORCED)
    days[MARCH + 5 * DAY] = replace(FACTS, attempts=None, gap=FELL)
    del days[MARCH + 9 * DAY]
    (place,) = figures({UK: days}, MARCH, date(2026, 3, 31))
    march = place.months[0]
    assert march.gaps == (
        Gap(date(2026, 3, 3), date(2026, 3, 5), NOT_ENFORCED),
        Gap(date(2026, 3, 6), date(2026, 3, 6), FELL),
        Gap(date(2026, 3, 10), date(2026, 3, 10), NO_FIGURES),
    )
    assert march.attempts == 26 * 1000 + 3 * 9000
    assert march.ratio == 1.0
    assert {one.figure.ratio for one in place.days if one.facts.gap} == {None}


def on(day: date, **changed: object) -> Callable[[], Days]:
    """The usual days, from `day` on with something changed."""

    def make() -> Days:
        return {
            one: replace(found, **changed) if one >= day else found  # type: ignore[arg-type]
            for one, found in usual().items()
        }

    return make


@pytest.mark.parametrize(
    ("days", "reasons"),
    [
        (usual, []),
        (on(MARCH, definitions=frozenset({"v3"})), [DEFINITION_CHANGED, NO_BASELINE]),
        (on(FEBRUARY, definitions=frozenset({"v3"})), [DEFINITION_CHANGED]),
        (on(START, definitions=frozenset({"v3"})), []),
        (on(FEBRUARY, entries=60), [LIST_MOVED]),
        (on(FEBRUARY, entries=40), [LIST_MOVED]),
        (on(FEBRUARY, entries=59), []),
        (on(MARCH, subscribers=1050), [COVERAGE_MOVED]),
        (on(MARCH, subscribers=1049), []),
        (on(MARCH, subscribers=0), []),
        (on(date(2026, 1, 2), entries=70), []),
        (on(START, attempts=99), [SMALL]),
        (on(START, attempts=100), []),
        (on(MARCH, entries=70, subscribers=5), [LIST_MOVED, COVERAGE_MOVED]),
    ],
)
def test_a_month_is_comparable_or_says_why_not(days: Callable[[], Days], reasons: list[str]) -> None:
    assert list(months(days())[2].not_comparable) == reasons


def test_without_eight_weeks_before_there_is_no_ratio() -> None:
    january = months(usual())[0]
    assert (january.ratio, january.not_comparable) == (None, (NO_BASELINE,))
    assert january.peak is not None
    assert january.peak.figure.ratio is None


def test_no_ratio_is_of_two_definitions() -> None:
    changed = MARCH + 3 * DAY
    days = {START + n * DAY: FACTS for n in range(200)}
    days = {day: replace(one, definitions=frozenset({"v3"})) if day > changed else one for day, one in days.items()}
    days[changed] = replace(FACTS, definitions=frozenset({"v2", "v3"}))
    (place,) = figures({UK: days}, START, date(2026, 7, 15))
    ratios = {one.day: one.figure.ratio for one in place.days}
    assert ratios[changed - DAY] == 1.0
    assert {ratios[changed + n * DAY] for n in range(57)} == {None}
    assert ratios[changed + 57 * DAY] == 1.0
    assert DEFINITION_CHANGED in place.months[3].not_comparable
    assert place.months[6].not_comparable == ()


def test_within_a_surge_the_weeks_before_it_count() -> None:
    """The baseline is from before the surge: what moved then still makes its last months not comparable."""
    days = {START + timedelta(days=n): replace(FACTS, attempts=1000 if n < 70 else 3000) for n in range(200)}
    days = {day: replace(one, entries=80) if day >= date(2026, 3, 1) else one for day, one in days.items()}
    (place,) = figures({UK: days}, START, date(2026, 7, 15))
    assert LIST_MOVED in place.months[5].not_comparable


def test_nothing_known_is_not_zero() -> None:
    nothing = DayFacts(
        attempts=None,
        queries=None,
        answers=None,
        enforced=0.0,
        entries=None,
        serial=None,
        subscribers=0,
        definitions=frozenset(),
        gap=FELL,
    )
    (place,) = figures({UK: {MARCH: nothing}}, MARCH, MARCH)
    (month,) = place.months
    assert (month.attempts, month.queries, month.per_100k, month.ratio, month.peak) == (None,) * 5
