"""Days from a ledger: differences at midnights, what is a gap and why, several resolvers as one."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from resolver.count.ledger import Beat, Ledger, ListBeat, Total
from resolver.count.metrics import Series
from resolver.count.report.days import (
    DAY,
    FELL,
    NOT_ENFORCED,
    SILENT,
    DayFacts,
    Parts,
    Place,
    difference,
    from_ledger,
    gap_of,
    midnight,
    together,
)

MONDAY = date(2026, 3, 2)
TUESDAY = MONDAY + DAY
UK = Place("UK", "demo")
ATTEMPTS = Series("blocked_attempts_total", ("demo",))
QUERIES = Series("blocked_queries_total", ("demo",))
FACTS = DayFacts(
    attempts=100,
    queries=300,
    answers=10_000,
    enforced=1.0,
    entries=50,
    serial=1,
    subscribers=1000,
    definitions=frozenset({"v2"}),
    parts=Parts(capped=0, full=0),
)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.sqlite", midnight(MONDAY))


def write(ledger: Ledger, at: int, attempts: int, **said: object) -> None:
    """A beat that shows so many attempts, three times the queries, and answers of two rcodes."""
    options = {"region": "UK", "enforced_s": 43200, "entries": 50, "serial": 1, "subscribers": 1000} | said
    ledger.write(
        Beat(
            at=at,
            every_s=43200,
            region=str(options["region"]),
            subscribers=int(str(options["subscribers"])),
            totals={
                ATTEMPTS: Total(attempts, 3),
                QUERIES: Total(attempts * 3, 0),
                Series("answers_total", ("NOERROR",)): Total(attempts * 90, 0),
                Series("answers_total", ("NXDOMAIN",)): Total(attempts * 10, 0),
            },
            lists=(
                ListBeat(
                    list_id="demo",
                    serial=int(str(options["serial"])),
                    entries=int(str(options["entries"])),
                    enforced_s=int(str(options["enforced_s"])),
                ),
            ),
        )
    )


def test_a_day_is_the_difference_at_its_midnights_and_the_beat_of_midnight_is_of_the_day_before(ledger: Ledger) -> None:
    noon, evening = midnight(MONDAY) + 43200, midnight(TUESDAY)
    write(ledger, noon, 40)
    write(ledger, evening, 100)
    write(ledger, evening + 43200, 110, entries=60, subscribers=2000)
    write(ledger, evening + 86400, 150, entries=70, serial=2, subscribers=2000)
    found = from_ledger(ledger, MONDAY, TUESDAY)
    assert found == {
        UK: {
            MONDAY: FACTS,
            TUESDAY: replace(FACTS, attempts=50, queries=150, answers=5000, entries=70, serial=2, subscribers=2000),
        }
    }
    assert from_ledger(ledger, TUESDAY, TUESDAY) == {UK: {TUESDAY: found[UK][TUESDAY]}}


def test_a_day_without_beats_is_not_there_and_one_enforced_for_less_than_95_percent_says_so(ledger: Ledger) -> None:
    write(ledger, midnight(TUESDAY), 100, enforced_s=82080)
    write(ledger, midnight(TUESDAY + 2 * DAY), 200, enforced_s=82079)
    days = from_ledger(ledger, MONDAY, TUESDAY + 5 * DAY)[UK]
    assert list(days) == [MONDAY, TUESDAY + DAY]
    assert [one.gap for one in days.values()] == ["", NOT_ENFORCED]
    assert days[TUESDAY + DAY].attempts == 100


def test_a_list_of_which_no_beat_tells_is_a_gap_from_its_first_day_on(ledger: Ledger) -> None:
    beat = Beat(at=midnight(TUESDAY), every_s=86400, region="UK", subscribers=5, totals={ATTEMPTS: Total(0, 0)})
    ledger.write(beat)
    write(ledger, midnight(TUESDAY + DAY), 100, enforced_s=86400)
    ledger.write(replace(beat, at=midnight(TUESDAY + 2 * DAY)))
    days = from_ledger(ledger, MONDAY, TUESDAY + DAY)[UK]
    assert {day: (one.enforced, one.gap) for day, one in days.items()} == {
        TUESDAY: (1.0, ""),
        TUESDAY + DAY: (0.0, FELL),
    }


def test_a_host_that_moves_has_days_of_both_regions(ledger: Ledger) -> None:
    write(ledger, midnight(TUESDAY), 100)
    write(ledger, midnight(TUESDAY + DAY), 150, region="NL")
    found = from_ledger(ledger, MONDAY, TUESDAY)
    assert {place: list(days) for place, days in found.items()} == {
        UK: [MONDAY],
        Place("NL", "demo"): [TUESDAY],
    }


def test_a_total_that_fell_has_no_difference_and_is_a_gap() -> None:
    assert (difference(5, 5), difference(5, 9), difference(9, 5)) == (0, 4, None)
    assert gap_of((None, 1), 1.0) == FELL
    assert gap_of((1, 1), 0.95) == ""


def test_several_resolvers_are_summed_and_a_gap_of_one_is_one_of_all() -> None:
    other = replace(FACTS, enforced=0.5, gap=NOT_ENFORCED, entries=60, serial=3, definitions=frozenset({"v1"}))
    assert together([{MONDAY: FACTS}, {MONDAY: other}]) == {
        MONDAY: DayFacts(
            attempts=200,
            queries=600,
            answers=20_000,
            enforced=0.5,
            entries=60,
            serial=3,
            subscribers=2000,
            definitions=frozenset({"v1", "v2"}),
            gap=NOT_ENFORCED,
            resolvers=2,
            parts=Parts(capped=0, full=0),
        )
    }
    unknown = replace(FACTS, attempts=None, gap=FELL)
    assert together([{MONDAY: FACTS}, {MONDAY: unknown}])[MONDAY].attempts == 100
    assert together([{MONDAY: unknown}])[MONDAY].attempts is None


def test_one_that_is_missing_between_two_of_its_days_is_told_and_one_that_comes_later_is_not() -> None:
    days = [MONDAY + number * DAY for number in range(4)]
    steady = dict.fromkeys(days, FACTS)
    found = together([steady, {days[1]: FACTS, days[3]: FACTS}])
    assert [found[day].gap for day in days] == ["", "", SILENT, ""]


PARTS_THEN = {"blocked_attempts_bounded_total": 30, "blocked_prefixes_total": 12, "attempts_new_entries_total": 0}


def test_what_explains_attempts_is_known_from_the_first_beat_that_counts_it(ledger: Ledger) -> None:
    """Monday is of a release before; on Tuesday the new one comes at noon, and Wednesday is whole."""
    wednesday = TUESDAY + DAY
    for number in range(6):
        totals = {ATTEMPTS: Total(100 * (number + 1), 0), QUERIES: Total(100 * (number + 1), 0)}
        totals[Series("attempts_capped_total", ("demo",))] = Total(10 * number, 0)
        if number >= 3:
            totals |= {Series(name, ("demo",)): Total(one * (number - 3), 0) for name, one in PARTS_THEN.items()}
        beat = Beat(
            at=midnight(MONDAY) + 43200 * (number + 1), every_s=43200, region="UK", subscribers=0, totals=totals,
            lists=(ListBeat(list_id="demo", serial=1, entries=5, enforced_s=43200),),
        )  # fmt: skip
        ledger.write(beat)
    found = from_ledger(ledger, MONDAY, wednesday)[UK]
    assert found[MONDAY].parts == Parts(capped=10, full=0)
    assert found[TUESDAY].parts == Parts(capped=20, full=0)
    assert found[wednesday].parts == Parts(bounded=60, prefixes=24, new_entries=0, capped=20, full=0)


def test_several_resolvers_know_a_part_only_if_all_do() -> None:
    one = replace(FACTS, parts=Parts(bounded=3, prefixes=1, new_entries=0, capped=5, full=0))
    older = replace(FACTS, parts=Parts(capped=2, full=1))
    assert together([{MONDAY: one}, {MONDAY: one}])[MONDAY].parts == Parts(6, 2, 0, 10, 0)
    assert together([{MONDAY: one}, {MONDAY: older}])[MONDAY].parts == Parts(capped=7, full=1)
