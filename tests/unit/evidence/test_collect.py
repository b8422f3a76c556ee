"""A bundle holds what the host has written, and begins where the one before ended."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from resolver.config import config
from resolver.count.ledger import LedgerUnusable
from resolver.evidence import bundle, check, collect, month, summary_rows
from resolver.evidence.bundle import Bundle, Mark
from resolver.evidence.collect import LogDiffers, read_log
from resolver.feed import audit, seal
from resolver.signed import statement
from tests.unit.evidence import april

APRIL, MAY = month.whole("2025-04"), month.whole("2025-05")


def test_april_is_told(of_april: Bundle) -> None:
    demo, second = of_april.lists
    assert (of_april.host, of_april.region, of_april.version) == ("resolver-1.example", "Ruritania-made-up", "1.2.3")
    assert [(one.serial, one.outcome) for one in demo.course.deadlines] == [
        (11, "met"),
        (12, "missed"),
        (13, "met"),
        (15, "waiting"),
    ]
    assert [(one.serial, one.outcome) for one in second.course.deadlines] == [(5, "missed")]
    assert [one.serial for one in demo.course.spans] == [10, 11, 12, 13, 12]
    assert [(one.number, bool(one.confirmed), bool(one.ended)) for one in demo.course.releases] == [
        (1, False, True),
        (2, True, False),
        (3, False, False),
    ]
    assert (demo.tests_passed, [one.check for one in demo.course.failed]) == (4, ["digests"])
    assert (of_april.audit.before.number, of_april.audit.end.number, of_april.audit.verified) == (3, 26, 30)
    assert of_april.totals.capped == 60
    assert demo.demonstration


def test_may_goes_on_from_april(host: Path, of_april: Bundle) -> None:
    log = read_log(host / "state/audit.log", MAY, of_april.audit.end)
    assert log.part.before == of_april.audit.end
    assert [entry.serial for entry in log.entries] == [15, 15, 5, 5]


def test_another_log_than_the_one_before_is_refused(host: Path, of_april: Bundle) -> None:
    path = host / "state/audit.log"
    other = Mark(number=of_april.audit.end.number, hash="a" * 64)
    for since in (other, Mark(number=99, hash=of_april.audit.end.hash)):
        with pytest.raises(LogDiffers, match="is missing"):
            read_log(path, MAY, since)


def test_a_log_that_does_not_hold_is_told_and_nothing_said_from_it(host: Path) -> None:
    path = host / "state/audit.log"
    path.write_bytes(path.read_bytes().replace(b'"serial":12', b'"serial":21'))
    loaded = config.load(host / "resolver.toml")
    made = collect.collect(loaded, APRIL, None, None, version="1", now=april.NOW)
    assert "does not follow" in made.audit.broken
    assert (made.audit.lines, made.audit.verified) == ((), 0)
    assert all(not one.course.spans for one in made.lists)
    assert made.totals.attempts is not None


def test_a_month_before_the_first_entry_and_an_empty_log(tmp_path: Path, host: Path) -> None:
    before = read_log(host / "state/audit.log", month.whole("2025-02"), None)
    assert (before.part.before.number, before.part.end.number, before.entries) == (0, 0, ())
    empty = read_log(tmp_path / "none.log", APRIL, None)
    assert (empty.part.before, empty.part.end) == (collect.NOWHERE, collect.NOWHERE)


def test_a_log_whose_beginning_was_cut_goes_on_from_what_is_left(host: Path, of_april: Bundle) -> None:
    path = host / "state/audit.log"
    log = audit.Audit(path)
    assert log.trim(april.at("04-20 00:00"), april.NOW) > 10
    found = read_log(path, MAY, of_april.audit.end)
    assert found.part.before == of_april.audit.end
    assert found.part.first > 10
    alone = read_log(path, APRIL, None)
    assert alone.part.before.number == alone.part.first - 1
    assert alone.entries[0].at >= april.at("04-20 00:00")


def test_a_compile_host_without_a_ledger_tells_its_log_alone(host: Path) -> None:
    (host / "state/ledger.sqlite").unlink()
    loaded = config.load(host / "resolver.toml")
    with pytest.raises(LedgerUnusable, match="no ledger here"):
        collect.collect(loaded, APRIL, None, None, version="1", now=april.NOW)
    published = replace(loaded, fleet=replace(loaded.fleet, publish=str(host / "published")))
    place = bundle.Chain(number=1, before=None, previous_month=None)
    made = collect.collect(published, APRIL, place, None, version="1", now=april.NOW)
    assert [one.serial for one in made.lists[0].course.spans] == [10, 11, 12, 13, 12]
    assert (made.totals.attempts, made.coverage.beats) == (None, 0)
    signed = statement.sign(bundle.statement_of(made), seal.host_key(host / "state", make=False))
    check.verified(check.opened(signed), pinned=True)
    assert summary_rows.headline(made)[2] == ("-", "of the time enforced")
    assert summary_rows.gaps(made).startswith("No beat covers the month")
    assert next(summary_rows.enforced(made))[1] == "-"


def test_nothing_of_a_list_is_named_but_numbers(issued: tuple[bytes, bytes]) -> None:
    for data in issued:
        assert b".test" not in data
        assert b"127.0.0" not in data
