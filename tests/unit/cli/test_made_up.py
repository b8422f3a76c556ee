"""Made-up days in a ledger: what a report says of them."""

from datetime import date
from pathlib import Path

from resolver.cli import made_up
from resolver.count.ledger import Ledger
from resolver.count.report.days import DAY, Place, from_ledger

OPERATOR = made_up.Operator(region="made-up", subscribers=5000, list_id="story", serial=7, entries=90)


def test_a_report_finds_each_day_as_it_was_made_up(tmp_path: Path) -> None:
    first, last = date(2020, 2, 27), date(2020, 3, 2)
    made = [
        made_up.Day(day=day, attempts=10 * number, queries=30 * number, answers=1000)
        for number, day in enumerate(made_up.days_of(first, last), 1)
    ]
    assert len(made) == 5, "2020 is a leap year"
    made_up.write(tmp_path / "ledger.sqlite", OPERATOR, made)
    found = from_ledger(Ledger(tmp_path / "ledger.sqlite", 0), first - DAY, last + DAY)
    days = found.pop(Place("made-up", "story"))
    assert not found
    assert [(one.attempts, one.queries, one.answers, one.gap) for one in days.values()] == [
        (one.attempts, one.queries, one.answers, "") for one in made
    ]
    assert {(one.serial, one.entries, one.subscribers, one.enforced) for one in days.values()} == {(7, 90, 5000, 1.0)}
