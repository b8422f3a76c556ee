"""The report as a whole: which days, from a ledger to every format, noise before all that is worked out."""

from datetime import date
from pathlib import Path

import pytest

from resolver.count import definition
from resolver.count.ledger import LedgerUnusable
from resolver.count.report import noise, report
from tests.unit.count import spring
from tests.unit.count.spring import EREWHON, FIRST, LAST, NOW, RURITANIA

TODAY = date(2026, 3, 10)


@pytest.mark.parametrize(
    ("first", "last", "found"),
    [
        (None, None, (date(2026, 2, 1), date(2026, 2, 28))),
        (date(2026, 1, 5), None, (date(2026, 1, 5), date(2026, 3, 9))),
        (None, date(2026, 1, 15), (date(2026, 1, 1), date(2026, 1, 15))),
        (date(2026, 3, 9), date(2026, 3, 9), (date(2026, 3, 9), date(2026, 3, 9))),
    ],
)
def test_the_days_are_those_asked_for_or_the_last_month(
    first: date | None, last: date | None, found: tuple[date, date]
) -> None:
    assert report.span(first, last, TODAY) == found


@pytest.mark.parametrize(
    ("first", "last"),
    [(None, TODAY), (TODAY, None), (date(2026, 2, 2), date(2026, 2, 1)), (date(1, 1, 1), date(2026, 1, 1))],
)
def test_other_days_are_refused(first: date | None, last: date | None) -> None:
    with pytest.raises(report.NotADayRange):
        report.span(first, last, TODAY)


def test_the_spring_from_ledgers_is_what_was_written(tmp_path: Path) -> None:
    found = spring.ledgers(tmp_path)
    assert found == spring.facts()
    again = report.of_ledger(tmp_path / "0.sqlite", date(2020, 4, 1), date(2020, 4, 30), NOW)
    assert again == {RURITANIA: {day: one for day, one in found[RURITANIA].items() if day <= date(2020, 4, 30)}}
    places = {one.place: one for one in spring.told(found).places}
    (ten,), (two,) = places[RURITANIA].surges, places[EREWHON].surges
    assert (ten.peak.day, round(ten.peak.ratio or 0, 2), ten.back) == (date(2020, 3, 30), 10, date(2020, 5, 11))
    assert (two.peak.day, round(two.peak.ratio or 0, 2), two.back) == (date(2020, 4, 14), 2, date(2020, 5, 13))


def test_a_ledger_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnusable, match="has the service run"):
        report.of_ledger(tmp_path / "none.sqlite", FIRST, LAST, NOW)
    assert list(tmp_path.iterdir()) == []


def test_nothing_known_of_these_days_is_said() -> None:
    with pytest.raises(report.NoFigures, match="no figures from 2021"):
        report.made(spring.facts(), date(2021, 1, 1), date(2021, 1, 31), source="x", now=NOW)


@pytest.mark.parametrize("name", report.FORMATS)
def test_every_format_carries_definition_caveat_and_noise(name: str) -> None:
    text = " ".join(report.FORMATS[name](spring.told(noise=True)).split())
    noisy = ("discrete Laplace noise with epsilon 1 for", "at most 3 attempts (the cap)", "2020: ")
    for said in (definition.IN_PRINT, definition.CAVEAT, *noisy):
        assert said in text.replace("</text> ", " ").replace("\\n", " ") or name == "svg"


def test_noise_comes_before_ratios() -> None:
    plain, noisy = spring.told(), spring.told(noise=True)
    for before, after in zip(plain.places, noisy.places, strict=True):
        for was, one in zip(before.days, after.days, strict=True):
            assert one.figure.count == one.facts.attempts
            if one.figure.base and one.figure.count:
                assert one.figure.ratio == pytest.approx((one.facts.attempts or 0) / one.figure.base)
            assert was.day == one.day
        assert before.months[0].attempts != after.months[0].attempts
        assert after.months[0].queries is None


def test_what_is_summed_has_one_draw_a_day_and_one_a_month(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "laplace_share", lambda *_: 1)
    (plain,), (noisy,) = (spring.told(noise=some, by_region=False).places for some in (None, spring.noise()))
    assert noisy.place.region == "all"
    for was, one in zip(plain.days, noisy.days, strict=True):
        assert one.facts.attempts == (was.facts.attempts or 0) + 1
    assert [(one.attempts or 0) - 1 for one in noisy.months] == [one.attempts for one in plain.months]


def test_a_part_of_a_month_is_the_sum_of_its_days() -> None:
    drawing = spring.noise()
    options = {"source": "x", "now": NOW, "by_region": True, "noise": drawing}
    whole = report.made(spring.facts(), date(2020, 6, 1), date(2020, 6, 30), **options)
    drawn = len(drawing.books.draws())
    part = report.made(spring.facts(), date(2020, 6, 1), date(2020, 6, 7), **options)
    for month, week in zip(whole.places, part.places, strict=True):
        assert week.days == month.days[:7]
        assert week.months[0].attempts == sum(one.facts.attempts or 0 for one in week.days)
        assert month.months[0].attempts != sum(one.facts.attempts or 0 for one in month.days)
    assert len(drawing.books.draws()) == drawn, "no part of a month has a draw of its own"


def test_the_sum_is_that_of_the_regions() -> None:
    (whole,), apart = spring.told(by_region=False).places, spring.told().places
    assert [one.attempts for one in whole.months] == [
        sum(one.attempts or 0 for one in months) for months in zip(*(place.months for place in apart), strict=True)
    ]
