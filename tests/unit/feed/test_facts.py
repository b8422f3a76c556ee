"""The facts of a list from its state, what was released, and what is in files."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import trustme
from msgspec.structs import replace

from resolver.config import config
from resolver.feed import facts, receipt
from resolver.feed.enforced import InForce, Lifted, Nothing
from resolver.feed.facts import NOT_IN_STATUS, CertificateFacts, DecisionFacts, ListFacts, ReleaseFacts
from resolver.feed.fleet_receipts import Reports
from resolver.feed.reasons import Reason
from resolver.feed.release import CONFIRM_S, Covered, Release
from resolver.feed.state import Approval, Held, State, Unmet
from tests.unit.feed.test_state import record

LIST = config.parse(
    """
    page.addresses = ["192.0.2.1"]
    [[list]]
    id = "demo"
    demonstration = true
    deadline = "1h"
    expire = "lift"
    hard_limit = "1d"
    source = { kind = "tuf", url = "file:///srv/a", root = "/srv/root.json" }
    """,
    "resolver.toml",
).lists[0]
SEVEN = record(7, "7", since=1100, refused={"malformed": 2}, set_aside={"popular": 3})
EIGHT = record(8, "8", refused={"tld": 1}, set_aside={"protected": 4}, exceptions=3)
HELD = Held(record=EIGHT, reasons=("growth",), since=1500)


def test_without_a_list_nothing_is_in_force() -> None:
    found = facts.of_state(LIST, State(), 2000.0)
    assert (found.has_list, found.lifted, found.serial, found.hard_limit_at, found.live) == (False, False, 0, 0, False)


def test_a_state_is_told_whole() -> None:
    signed = Approval(action="approve", serial=8, digest="8" * 64, principal="anna", key="k", at=1500, expiry=9000)
    state = State(in_force=SEVEN, held=HELD, approvals=(signed,))
    found = facts.of_state(LIST, state, 2000.0)
    assert (found.has_list, found.lifted, found.serial, found.entries) == (True, False, 7, 10)
    assert (found.hard_limit_at, found.due_by) == (1000 + 86400, 1000 + 3600)
    assert (found.due_serial, found.taken_out, found.exceptions, found.held_exceptions) == (8, 0, 0, 3)
    assert (found.refused, found.set_aside, found.set_aside_approved) == ({"malformed": 2}, {"popular": 3}, False)
    assert (found.newest_refused, found.newest_set_aside) == ({"tld": 1}, {"protected": 4})
    assert (found.enforced, found.held, found.quarantined, found.expires) == (True, True, 0, None)
    assert (found.suspended_entries, found.suspended) == (3, True)
    assert (found.held_serial, found.held_for, found.held_since) == (8, ("growth",), 1500)
    assert found.decisions == (
        DecisionFacts(action="approve", serial=8, command="approve demo 8", signed=("anna",), missing=1),
        DecisionFacts(
            action="approve-set-aside", serial=7, command="approve demo 7 --set-aside", signed=(), missing=2
        ),
    )


def test_what_blocks_nothing_is_told_apart() -> None:
    ended = facts.of_state(LIST, State(in_force=SEVEN), 1000.0 + 86400)
    assert (ended.lifted, ended.withdrawn, ended.enforced) == (True, False, False)
    assert (ended.newest_refused, ended.newest_set_aside) == (SEVEN.refused, SEVEN.set_aside)
    kept = facts.of_state(replace(LIST, expire="keep"), State(in_force=SEVEN), 1000.0 + 86400)
    assert (kept.lifted, kept.enforced, kept.hard_limit_at) == (False, True, 1000 + 86400)
    withdrawn = State(in_force=replace(SEVEN, withdrawn=True, set_aside={}))
    found = facts.of_state(LIST, withdrawn, 2000.0)
    assert (found.lifted, found.withdrawn, found.suspended, found.enforced) == (True, True, False, False)


def test_a_rollback_of_one_person_is_told_until_it_is_confirmed() -> None:
    by = Approval(action="rollback", serial=7, digest="9" * 64, principal="anna", key="k", at=1900)
    found = facts.of_state(LIST, State(in_force=SEVEN, gone_back_to=SEVEN.identity, approvals=(by,)), 2000.0)
    assert (found.rolled_back, found.rolled_back_by, found.rollback_alarm_at) == (1900, "anna", 1900 + 86400)


IN_FORCE = InForce(
    number=7,
    identity=SEVEN.identity,
    view=memoryview(b""),
    tested=receipt.Tested(digests=10, unlisted=1),
    approved=False,
)


def live(**changes: object) -> Any:
    """What a running service knows of a list that it enforces."""
    found = {
        "state": State(in_force=SEVEN),
        "enforced": IN_FORCE,
        "last_success": 1900,
        "failures": SimpleNamespace(
            counts={Reason.TAMPERED: 2},
            since=1950,
            recent={Reason.TAMPERED: 1},
            last=["tampered: its octets", "tampered: its octets"],
            refused={"tld": 3},
            polled_at=1990,
        ),
        "prover": SimpleNamespace(passed=True, receipt_at=1150),
        "breaker": SimpleNamespace(open=False),
        "due_by": 4600,
        "unmet": Unmet(serial=8, digest="8" * 64, issued=1000),
        "shown": SimpleNamespace(fresh_until=3000, passed_over="files"),
        "forwards_without": False,
    }
    return SimpleNamespace(**{**found, **changes})


def test_a_running_service_adds_what_only_it_knows() -> None:
    never = SimpleNamespace(counts={}, since=0, recent={}, last=[], refused={}, polled_at=0)
    written = facts.of_state(LIST, State(in_force=SEVEN), 2000.0)
    found = facts.with_live(written, live())
    assert (found.live, found.has_list, found.lifted, found.last_success, found.selftest_passed) == (
        True,
        True,
        False,
        1900,
        True,
    )
    assert (found.failing_since, found.fresh_until, found.due_by, found.receipt_at) == (1950, 3000, 4600, 1150)
    assert found.passed_over == "files"
    assert found.due_serial == 8
    assert {type(reason) for reason in (*found.failures, *found.failing)} == {str}
    assert (found.failures, found.failing) == ({"tampered": 2}, {"tampered": 1})
    assert (found.failed, found.polled_at, found.next_poll_at) == ("tampered: its octets", 1990, 1990 + 900)
    assert facts.with_live(written, live(failures=never)).next_poll_at == 0
    assert found.newest_refused == {"tld": 3}
    assert facts.with_live(written, live(failures=never)).newest_refused == written.newest_refused
    assert (found.serial, found.entries, found.hard_limit_at) == (7, 10, written.hard_limit_at)


def test_the_service_says_what_it_enforces_whatever_is_written() -> None:
    written = facts.of_state(LIST, State(in_force=SEVEN), 2000.0)
    lifted = facts.with_live(written, live(enforced=Lifted(number=7)))
    assert (lifted.has_list, lifted.lifted, lifted.enforced) == (True, True, False)
    nothing = facts.with_live(written, live(enforced=Nothing()))
    assert (nothing.has_list, nothing.lifted, nothing.enforced) == (False, False, False)


def test_a_list_that_is_not_in_force_says_whether_its_names_are_forwarded() -> None:
    joined = State(joined=1000)
    assert facts.of_state(LIST, joined, 2000.0).forwarded
    assert not facts.of_state(LIST, State(), 2000.0).forwarded
    assert not facts.of_state(LIST, replace(joined, in_force=SEVEN), 2000.0).forwarded
    found = facts.of_state(LIST, joined, 2000.0)
    assert facts.with_live(found, live(state=joined, enforced=Nothing(), forwards_without=True)).forwarded
    assert not facts.with_live(found, live(forwards_without=True)).forwarded, "it is in force"


def test_lines_set_aside_do_not_block_until_they_are_approved_and_the_breaker_is_apart() -> None:
    for is_open, approved in ((False, False), (True, False), (True, True)):
        state = State(in_force=replace(SEVEN, approved=approved))
        service = live(state=state, breaker=SimpleNamespace(open=is_open))
        found = facts.with_live(facts.of_state(LIST, state, 2000.0), service)
        assert (found.breaker_open, found.suspended, found.suspended_entries) == (
            is_open,
            not approved,
            0 if approved else 3,
        )


def test_hosts_of_a_fleet_are_those_that_have_reported_and_those_that_are_missing() -> None:
    written = facts.of_state(LIST, State(in_force=SEVEN), 2000.0)
    assert facts.with_reports(written, None) == written
    found = facts.with_reports(written, Reports({"one": 1200}, 2, ("two",)))
    assert (found.fleet_hosts, found.fleet_since, found.fleet_missing) == (2, {"one": 1200}, ("two",))
    assert facts.with_reports(written, Reports({}, 0)).fleet_since == {}


def test_what_the_status_leaves_out_are_facts_that_have_a_default() -> None:
    fields = {one.encode_name: one for one in msgspec.structs.fields(ListFacts)}
    for name in NOT_IN_STATUS:
        assert not fields[name].required


def test_of_what_is_released_each_list_tells_its_own() -> None:
    def release(number: int, until: int, *lists: str, key: str = "") -> Release:
        covered = tuple(Covered(list=one, serial=7, digest="7", line=5) for one in lists)
        return Release(
            number=number,
            covered=covered,
            uid=1,
            reason="a school",
            at=1000,
            until=until,
            image="",
            digest_key="",
            signer="ben" if key else "",
            key=key,
        )

    one = facts.of_state(LIST, State(in_force=SEVEN), 2000.0)
    three = [release(1, 9000, "demo"), release(2, 8000, "other", "demo", key="k"), release(3, 7000, "other")]
    assert facts.with_releases(one, three).releases == (
        ReleaseFacts(number=2, serial=7, line=5, at=1000, until=8000, alarm_at=0, confirmed_by="ben"),
        ReleaseFacts(number=1, serial=7, line=5, at=1000, until=9000, alarm_at=1000 + CONFIRM_S),
    )


def test_files_tell_of_receipts_and_certificates(tmp_path: Path) -> None:
    one, state = facts.of_state(LIST, State(in_force=SEVEN), 2000.0), State(in_force=SEVEN)
    bare = facts.with_files(one, LIST, state, tmp_path / "missing")
    assert (bare.receipt_at, bare.receipts_due, bare.receipts_due_since, bare.certificates) == (0, 0, 0, ())
    for name, text, at in (("demo-7-7.json", "", 1200), ("demo-7-7.due", "demo", 1200), ("o.due", "other", 1100)):
        (tmp_path / name).write_text(text)
        os.utime(tmp_path / name, (at, at))
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
    made = trustme.CA().issue_cert("resolver.example", not_after=end).private_key_and_cert_chain_pem
    made.write_to_path(str(tmp_path / "feed.pem"))
    source = replace(LIST.source, certificate=str(tmp_path / "feed.pem"))
    found = facts.with_files(one, replace(LIST, source=source), state, tmp_path)
    assert (found.receipt_at, found.receipts_due, found.receipts_due_since) == (1200, 1, 1200)
    assert found.certificates == (
        CertificateFacts(key="certificate", path=str(tmp_path / "feed.pem"), end=int(end.timestamp())),
    )


def test_what_one_person_did_is_unconfirmed_until_another_has_signed() -> None:
    by = Approval(action="rollback", serial=7, digest="9" * 64, principal="anna", key="k", at=1900)
    found = facts.of_state(LIST, State(in_force=SEVEN, gone_back_to=SEVEN.identity, approvals=(by,)), 2000.0)
    one = ReleaseFacts(number=3, serial=7, line=None, at=1000, until=9000, alarm_at=1000 + CONFIRM_S)
    signed = replace(one, number=4, alarm_at=0, confirmed_by="ben")
    found = replace(found, releases=(one, signed))
    assert found.unconfirmed == {"rollback": (1900 + 86400,), "release": (1000 + CONFIRM_S,)}
    nothing = facts.of_state(LIST, State(in_force=SEVEN), 2000.0)
    assert nothing.unconfirmed == {"rollback": (), "release": ()}
