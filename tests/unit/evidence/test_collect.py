"""A bundle holds what the host has written, and begins where the one before ended."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from resolver.config import config
from resolver.count.ledger import Draw, Ledger, LedgerUnusable
from resolver.evidence import bundle, check, collect, counts, month, summary_rows
from resolver.evidence.bundle import Bundle, Mark
from resolver.evidence.collect import LogDiffers, read_log
from resolver.feed import audit, audit_details, seal
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


def test_a_deadline_that_newer_serials_did_not_move_is_told_and_holds(
    host: Path, issued: tuple[bytes, bytes], signed_again: Callable[[Bundle], bytes]
) -> None:
    """Two lists are held one after the other in May, each within a day of its own issue; the bundle states the rule."""
    log = audit.Audit(host / "state/audit.log")

    def say(when: str, event: audit.Event, serial: int, detail: str) -> None:
        log.append(
            event, april.at(when), list_id="demo", serial=serial, digest=april.digest(serial), detail=detail
        )

    say("05-10 08:00", audit.Event.HELD, 16, audit_details.held(("growth",), april.at("05-10 08:00")))
    say("05-11 07:00", audit.Event.HELD, 17, audit_details.held(("growth",), april.at("05-11 07:00")))
    say("05-11 20:00", audit.Event.IN_FORCE, 17, audit_details.issued(april.at("05-11 07:00")))
    before = check.opened(issued[0])
    name = bundle.Issue(number=1, month="2025-04", sha256=before.sha256)
    chain = bundle.Chain(number=2, before=name, previous_month=name)
    may = collect.collect(
        config.load(host / "resolver.toml"), MAY, chain, before.bundle.audit.end, version="1.2.3", now=april.NOW
    )
    assert may.deadlines == "oldest"
    last = may.lists[0].course.deadlines[-1]
    assert (last.serial, last.due, last.outcome) == (17, april.at("05-11 08:00"), "missed")
    data = signed_again(may)
    proved, _ = check.verified(check.opened(data), pinned=False, previous=before)
    assert "continues that of the month before" in proved[-1]
    with pytest.raises(check.Refused, match="its course does not follow from the audit log"):
        check.verified(check.opened(signed_again(replace(may, deadlines="each"))), pinned=False)


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


def moved(host: Path, days: int) -> None:
    """Have the host's records begin `days` after the first of April: its ledger, its log and its receipts."""
    begun = APRIL.begin + days * 86400
    state = host / "state"
    with closing(sqlite3.connect(state / "ledger.sqlite")) as database, database:
        database.execute("UPDATE meta SET value = ? WHERE key = 'began'", (begun + 3600,))
        for table in ("beats", "changes", "lists"):
            database.execute(f"DELETE FROM {table} WHERE at <= ?", (begun,))
    entries, _ = audit.verified(state / "audit.log")
    (state / "audit.log").unlink()
    (state / "audit.head").unlink(missing_ok=True)
    log = audit.Audit(state / "audit.log")
    for one in entries:
        if one.at >= begun + 7200:
            log.append(one.event, one.at, list_id=one.list, serial=one.serial, digest=one.digest, detail=one.detail)
    for path in (state / "receipts").glob("*.json"):
        if statement.claimed(path.read_bytes())[0]["at"] < begun + 3600:
            path.unlink()


def test_a_month_before_the_host_existed_is_refused(host: Path) -> None:
    loaded = config.load(host / "resolver.toml")
    for name in ("2025-02", "2024-12"):
        with pytest.raises(collect.NotHere, match=f"{name} is before this host: its records begin on 2025-03-"):
            collect.collect(loaded, month.whole(name), None, None, version="1", now=april.NOW)


def test_a_month_in_which_the_host_began_says_since_when_it_exists(host: Path) -> None:
    moved(host, 9)
    loaded = config.load(host / "resolver.toml")
    place = bundle.Chain(number=1, before=None, previous_month=None)
    made = collect.collect(loaded, APRIL, place, None, version="1", now=april.NOW)
    assert made.host_since == APRIL.begin + 9 * 86400 + 3600
    for one in made.lists:
        assert (one.gaps[0].since, one.gaps[0].until, one.gaps[0].why) == (
            APRIL.begin,
            APRIL.begin + 9 * 86400,  # its first beat began an hour before
            counts.NO_HOST,
        )
    assert made.coverage.told_s == 20 * 86400
    signed = statement.sign(bundle.statement_of(made), seal.host_key(host / "state", make=False))
    _, not_proved = check.verified(check.opened(signed), pinned=True)
    assert "anything about the time before 2025-04-10 01:00 UTC, when this host's records begin" in not_proved
    said = summary_rows.gaps(made)
    assert said.startswith("This host exists since 2025-04-10 01:00 UTC; nothing is stated about the time before.")
    assert "of the time since 2025-04-10;" in said
    assert summary_rows.headline(made)[2][1] == "of the time since 2025-04-10 enforced"
    with pytest.raises(collect.NotHere, match="its first month is 2025-04"):
        collect.collect(loaded, month.whole("2025-03"), None, None, version="1", now=april.NOW)


def test_a_host_whose_first_entries_were_cut_is_older_than_what_is_left(host: Path) -> None:
    log = audit.Audit(host / "state/audit.log")
    log.trim(april.at("04-20 00:00"), april.NOW)
    found = read_log(host / "state/audit.log", APRIL, None)
    assert collect.begin_of(found, host / "no ledger", (), april.NOW) == 0
    ledger = host / "state/ledger.sqlite"
    assert collect.begin_of(found, ledger, (), april.NOW) == april.midnight(april.FIRST)


def test_the_budget_of_noise_is_that_of_the_ledger_and_of_the_months_year(host: Path, of_april: Bundle) -> None:
    assert of_april.noise == ()
    ledger = Ledger(host / "state/ledger.sqlite", april.NOW)
    days = ("2024-12-31", "2025-04-01", "2025-04-02")
    draws = [Draw("v2", "host", "R", "demo", day, day, 50, 480, -7, 0) for day in days]
    ledger.draw(draws, lambda _: None)
    loaded = config.load(host / "resolver.toml")
    made = collect.collect(loaded, APRIL, None, None, version="1", now=april.NOW)
    budget = bundle.NoiseBudget(list="demo", year=2025, spent=100, most=40000, dearest_day=50, most_a_day=200)
    assert made.noise == (budget,)
    assert bundle.bundle_of(bundle.statement_of(made)) == made
    said = "Budget of published figures with noise in 2025, epsilon: demo 1 of 400 (for one day 0.5 of 2)."
    assert summary_rows.noise(made) == said
    assert summary_rows.noise(of_april) == ""
