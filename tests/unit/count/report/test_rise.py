"""What a surge is made of: each cause by itself is found, and the parts add up to the rise."""

from dataclasses import replace
from datetime import date

import pytest

from resolver.count.report import text
from resolver.count.report.days import DAY, NOT_ENFORCED, DayFacts, Parts, Place
from resolver.count.report.figures import figures
from resolver.count.report.rise import Rise

FIRST = date(2025, 1, 6)
SURGE = FIRST + 70 * DAY
LAST = SURGE + 9 * DAY
HERE = Place("Erewhon", "demo")
COUNTED: dict[str, int | None] = {"bounded": 300, "prefixes": 200, "new_entries": 0, "capped": 10, "full": 0}
USUAL = DayFacts(
    attempts=400, queries=900, answers=10**6, enforced=1.0, entries=100, serial=1, subscribers=0,
    definitions=frozenset({"v2"}), parts=Parts(**COUNTED),
)  # fmt: skip


def found(attempts: int, **parts: int | None) -> Rise | None:
    """What the rise is made of, from 70 usual days and ten with these figures."""
    of_surge = replace(USUAL, attempts=attempts, parts=Parts(**(COUNTED | parts)))
    days = {FIRST + number * DAY: USUAL for number in range(70)} | {
        SURGE + number * DAY: of_surge for number in range(10)
    }
    (place,) = figures({HERE: days}, SURGE, LAST)
    (surge,) = place.surges
    assert surge.first == SURGE
    return place.rises.get(SURGE)


def parts(one: Rise | None) -> tuple[int, int, int]:
    assert one is not None
    assert one.attempts == pytest.approx(one.new_entries + one.more_prefixes + one.more_of_each)
    return round(one.new_entries), round(one.more_prefixes), round(one.more_of_each)


def test_each_cause_by_itself_is_found() -> None:
    assert parts(found(4000, new_entries=3600)) == (3600, 0, 0), "ten-fold, and all of it the list"
    assert parts(found(4000, prefixes=2000)) == (0, 3600, 0), "ten times the households"
    assert parts(found(4000)) == (0, 0, 3600), "the same households, ten times each"


def test_causes_together_add_up() -> None:
    assert parts(found(4000, new_entries=1000, prefixes=500)) == (1000, 600, 2000)
    assert parts(found(4000, new_entries=3900, prefixes=100)) == (3900, -200, -100), "a part may fall"


def test_machines_and_full_tables_are_stated_beside_it() -> None:
    one = found(700, capped=5000, full=3)
    assert one is not None
    assert (one.before.capped, one.within.capped, one.days, one.full) == (10, 5000, 10, 10)
    said = text.made_of(one)
    assert "On a mean day attempts rose by 300 (from 400 to 700): 0 for new entries, 0 by more prefixes" in said
    assert "300 by more look-ups of each (2.0 to 3.5)" in said
    assert "beyond the caps: 5,000 a day, 10 before. A table was full on 10 of 10 days" in said


@pytest.mark.parametrize("part", ["prefixes", "new_entries"])
def test_what_was_not_counted_explains_nothing(part: str) -> None:
    assert found(4000, **{part: None}) is None
    assert text.made_of(None) == text.RISE_UNKNOWN


def test_gaps_and_days_of_an_earlier_surge_are_left_out() -> None:
    high = replace(USUAL, attempts=4000, parts=Parts(bounded=300, prefixes=2000, new_entries=0, capped=10, full=0))
    gap = replace(high, gap=NOT_ENFORCED)
    days = {FIRST + number * DAY: USUAL for number in range(120)}
    days |= {SURGE + number * DAY: high for number in range(5)}
    days |= {SURGE + number * DAY: gap for number in range(20, 23)}
    days |= {SURGE + number * DAY: high for number in range(40, 50)}
    (place,) = figures({HERE: days}, FIRST, FIRST + 119 * DAY)
    assert len(place.surges) == 2
    later = place.rises[SURGE + 40 * DAY]
    assert (later.before.attempts, later.before.prefixes) == (400, 200)


def test_an_unknown_week_before_gives_no_explanation() -> None:
    older = replace(USUAL, parts=Parts(capped=10, full=0))
    days = {FIRST + number * DAY: older if number < 64 else USUAL for number in range(70)}
    days |= {SURGE + number * DAY: replace(USUAL, attempts=4000) for number in range(10)}
    (place,) = figures({HERE: days}, SURGE, LAST)
    assert place.rises == {}
