"""Counts of a month are those of the report; gaps are told to the beat."""

from pathlib import Path

import pytest

from resolver.count import definition
from resolver.count.ledger import Beat, Ledger, LedgerUnusable, ListBeat, Total
from resolver.count.metrics import Series
from resolver.count.report import report
from resolver.evidence import counts, month
from resolver.evidence.bundle import Day, Sums
from tests.unit.evidence import april

APRIL = month.whole("2025-04")


def test_sums_are_those_of_the_report_for_the_same_days(host: Path) -> None:
    path = host / "state/ledger.sqlite"
    found = counts.read(path, APRIL, ("demo", "second", "third"), april.NOW)
    facts = report.of_ledger(path, APRIL.first, APRIL.last, april.NOW)
    made = report.made(facts, APRIL.first, APRIL.last, source="", now=april.NOW)
    for place in made.places:
        counted = found.lists[place.place.list_id]
        sums = counts.summed(counted.days, counted.capped)
        assert (sums.attempts, sums.blocked_queries) == (place.months[0].attempts, place.months[0].queries)
        assert counts.per_100k(counted.days) == pytest.approx(place.months[0].per_100k)
        assert [day.gap for day in counted.days if day.gap] == [
            "no figures",
            "enforced for less than 95 % of the day",
        ]
    demo, third = found.lists["demo"], found.lists["third"]
    assert (demo.capped, demo.saturated_beats, found.lists["second"].saturated_beats) == (30, 1, 0)
    assert (third.days, third.enforced_s, third.figures) == ((), 0, None)
    assert found.definitions == (definition.VERSION,)
    coverage = found.coverage
    assert (coverage.seconds, coverage.told_s, coverage.beats) == (30 * 86400, 29 * 86400, 29)
    assert (coverage.subscribers_least, coverage.subscribers_most) == (120_000, 121_000)


def test_gaps_are_beats_in_a_row_with_their_reason(host: Path) -> None:
    found = counts.read(host / "state/ledger.sqlite", APRIL, ("demo", "third"), april.NOW)
    quiet, half = found.lists["demo"].gaps
    assert (quiet.since, quiet.until, quiet.enforced_s) == (april.at("04-17 00:00"), april.at("04-18 00:00"), 0)
    assert quiet.why == counts.NO_BEAT
    assert (half.since, half.enforced_s, half.why) == (april.at("04-19 00:00"), 43200, counts.NOT_ENFORCED)
    assert [one.why for one in found.lists["third"].gaps] == [
        counts.NOT_CONFIGURED,
        counts.NO_BEAT,
        counts.NOT_CONFIGURED,
    ]
    assert found.lists["demo"].enforced_s == 28 * 86400 + 43200


def test_a_ledger_that_begins_within_the_month_lacks_what_was_before(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite", APRIL.begin)
    for number, total in ((10, 40), (11, 90)):
        ledger.write(
            Beat(
                at=APRIL.begin + number * 900,
                every_s=900,
                region="",
                subscribers=0,
                totals={Series(counts.CAPPED, ("demo",)): Total(total, 0)},
                lists=(ListBeat(list_id="demo", serial=1, entries=5, enforced_s=900),),
            )
        )
    demo = counts.read(tmp_path / "ledger.sqlite", APRIL, (), april.NOW).lists["demo"]
    assert demo.capped == 90
    assert [(one.since - APRIL.begin, one.until - APRIL.begin) for one in demo.gaps] == [
        (0, 9 * 900),
        (11 * 900, 30 * 86400),
    ]


def test_a_total_that_fell_is_not_known(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite", APRIL.begin)
    series = Series(counts.CAPPED, ("demo",))
    for number, total in ((1, 40), (2, 10)):
        beat = Beat(
            at=APRIL.begin + number * 900, every_s=900, region="", subscribers=0, totals={series: Total(total, 0)}
        )
        ledger.write(beat)
    assert counts.read(tmp_path / "ledger.sqlite", APRIL, ("demo",), april.NOW).lists["demo"].capped is None


def test_no_ledger_is_told_and_none_is_made(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnusable, match="no ledger here"):
        counts.read(tmp_path / "ledger.sqlite", APRIL, (), april.NOW)
    assert list(tmp_path.iterdir()) == []


def test_a_host_that_counts_nothing_has_one_gap() -> None:
    found = counts.silent(APRIL, ("demo",))
    (gap,) = found.lists["demo"].gaps
    assert (gap.since, gap.until, gap.why) == (APRIL.begin, APRIL.end, counts.NO_BEAT)
    assert (found.coverage.told_s, found.definitions, found.lists["demo"].capped) == (0, (), None)


def test_what_is_not_known_is_no_zero() -> None:
    unknown = Day(day="2025-04-01", attempts=None, blocked_queries=None, answers=None, enforced_s=0, gap="x")
    known = Day(day="2025-04-02", attempts=3, blocked_queries=9, answers=1000, enforced_s=0, gap="")
    assert counts.summed((unknown,), None) == Sums(attempts=None, blocked_queries=None, capped=None)
    assert counts.summed((unknown, known), 1) == Sums(attempts=3, blocked_queries=9, capped=1)
    assert counts.per_100k((unknown,)) is None
    assert counts.per_100k((unknown, known)) == 900.0
    assert counts.together(()) == Sums(attempts=None, blocked_queries=None, capped=None)


def test_a_month_without_a_beat_has_no_figures(host: Path) -> None:
    found = counts.read(host / "state/ledger.sqlite", month.whole("2025-07"), ("demo",), april.NOW)
    assert (found.lists["demo"].days, found.lists["demo"].capped, found.coverage.told_s) == ((), None, 0)
    assert [one.why for one in found.lists["demo"].gaps] == [counts.NO_BEAT]
