"""The words of a report: unknown is a dash, gaps over the end of a month are one, sentences of surges."""

from dataclasses import replace
from datetime import date

from resolver.count import definition
from resolver.count.report import text
from resolver.count.report.days import Place
from resolver.count.report.figures import Gap, Month
from tests.unit.count.spring import RURITANIA, facts, told


def month(*gaps: Gap) -> Month:
    return Month(
        name="2026-03",
        first=date(2026, 3, 1),
        last=date(2026, 3, 31),
        attempts=None,
        queries=None,
        per_100k=None,
        ratio=None,
        peak=None,
        enforced_minutes=0,
        gaps=gaps,
        not_comparable=("this", "that"),
    )


def test_what_is_not_known_is_a_dash() -> None:
    assert text.row(month()) == ("2026-03", "-", "-", "-", "-", "-", "-", "0", "0", "no")
    assert len(text.row(month())) == len(text.COLUMNS)
    assert text.not_comparable(month()) == "this; that"
    assert text.incomparable([month()]) == ("2026-03 is not comparable: this; that.",)


def test_gaps_in_a_row_are_one_line() -> None:
    first, second = Gap(date(2026, 3, 30), date(2026, 3, 31), "x"), Gap(date(2026, 4, 1), date(2026, 4, 1), "x")
    assert text.gaps([month(first), month(second)]) == ("2026-03-30 to 2026-04-01: x.",)
    assert text.gaps([month(second)]) == ("2026-04-01: x.",)
    other = Gap(date(2026, 4, 1), date(2026, 4, 2), "y")
    assert len(text.gaps([month(first, other)])) == 2


def test_what_was_in_force_of_the_list_and_for_how_long() -> None:
    said = "At the end of 2020-06-30: serial 438, entries: 9,000. Enforced for 262,080 of 262,080 minutes."
    assert [text.in_force(place) for place in told().places] == [said, said]
    days = {day: replace(one, enforced=0.75, serial=None) for day, one in facts()[RURITANIA].items()}
    (place,) = told({RURITANIA: days}).places
    assert text.in_force(place).endswith("serial -, entries: 9,000. Enforced for 196,560 of 262,080 minutes.")


BASE = "the baseline,"
WHY = text.RISE_UNKNOWN


def test_every_surge_has_a_sentence() -> None:
    assert [text.surges(place) for place in told().places] == [
        (f"Surge from 2020-03-31: peak on 2020-04-14 at 2.00 times {BASE} back to normal on 2020-05-13. {WHY}",),
        (f"Surge from 2020-03-11: peak on 2020-03-30 at 10.00 times {BASE} back to normal on 2020-05-11. {WHY}",),
    ]


def test_definition_and_caveat_go_with_every_number() -> None:
    said = " ".join((*text.preface(told()), *text.explained(told())))
    for said_of in (definition.IN_PRINT, definition.CAVEAT, definition.ATTEMPT, definition.BLOCKED_QUERY, "v2"):
        assert said_of in said
    assert "Noise" not in said
    assert "epsilon" in " ".join(text.preface(told(noise=True)))


def test_headings_name_what_has_no_name() -> None:
    assert text.heading(Place("", "demo")) == "No region named, list demo"
    assert text.heading(Place("all", "demo")) == "All regions, list demo"
    assert text.heading(Place("UK", "demo")) == "UK, list demo"
