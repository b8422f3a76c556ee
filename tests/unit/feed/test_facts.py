"""The facts of a list from its state, what was released, and what is in files."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from msgspec.structs import replace

from resolver.cli.screen_list import CertificateHealth, DecisionHealth, ReleaseHealth
from resolver.config import config
from resolver.feed import facts
from resolver.feed.release import CONFIRM_S, Covered, Release
from resolver.feed.state import Approval, Held, State
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
SEVEN = record(7, "7", since=1100, refused={"tld": 0, "malformed": 2}, set_aside={"popular": 3, "protected": 0})
HELD = Held(record=record(8, "8"), reasons=("growth",), since=1500)


def test_without_a_list_nothing_is_in_force() -> None:
    found = facts.of_state(LIST, State(), 2000.0)
    assert (found.enforced, found.lifted, found.serial, found.expiry, found.live) == (False, False, 0, 0, False)


def test_a_state_is_told_whole() -> None:
    signed = Approval(action="approve", serial=8, digest="8" * 64, principal="anna", key="k", at=1500, expiry=9000)
    state = State(in_force=SEVEN, held=HELD, suspended=True, approvals=(signed,))
    found = facts.of_state(LIST, state, 2000.0)
    assert (found.enforced, found.lifted, found.serial, found.entries) == (True, False, 7, 10)
    assert (found.expiry, found.due_at) == (1000 + 86400, 1000 + 3600)
    assert (found.refused, found.set_aside, found.set_aside_approved) == ({"malformed": 2}, {"popular": 3}, False)
    assert (found.suspended, found.held_serial, found.held_for, found.held_since) == (True, 8, ("growth",), 1500)
    assert found.decisions == (
        DecisionHealth(action="approve", serial=8, command="approve demo 8", signed=("anna",), missing=1),
        DecisionHealth(
            action="approve-set-aside", serial=7, command="approve demo 7 --set-aside", signed=(), missing=2
        ),
        DecisionHealth(action="resume", serial=7, command="resume demo 7", signed=(), missing=2),
    )


def test_what_blocks_nothing_is_told_apart() -> None:
    ended = facts.of_state(LIST, State(in_force=SEVEN), 1000.0 + 86400)
    assert (ended.lifted, ended.withdrawn) == (True, False)
    withdrawn = State(in_force=replace(SEVEN, withdrawn=True), suspended=True)
    found = facts.of_state(LIST, withdrawn, 2000.0)
    assert (found.lifted, found.withdrawn, found.suspended) == (True, True, False)


def test_a_rollback_of_one_person_is_told_until_it_is_confirmed() -> None:
    by = Approval(action="rollback", serial=7, digest="9" * 64, principal="anna", key="k", at=1900)
    found = facts.of_state(LIST, State(in_force=SEVEN, gone_back_to=SEVEN.identity, approvals=(by,)), 2000.0)
    assert (found.rolled_back, found.rolled_back_by, found.rollback_alarm_at) == (1900, "anna", 1900 + 86400)


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

    health = facts.of_state(LIST, State(in_force=SEVEN), 2000.0)
    three = [release(1, 9000, "demo"), release(2, 8000, "other", "demo", key="k"), release(3, 7000, "other")]
    assert facts.with_releases(health, three).releases == (
        ReleaseHealth(number=2, serial=7, line=5, at=1000, until=8000, alarm_at=0, confirmed_by="ben"),
        ReleaseHealth(number=1, serial=7, line=5, at=1000, until=9000, alarm_at=1000 + CONFIRM_S),
    )


def test_files_tell_of_receipts_and_certificates(tmp_path: Path) -> None:
    health, state = facts.of_state(LIST, State(in_force=SEVEN), 2000.0), State(in_force=SEVEN)
    bare = facts.with_files(health, LIST, state, tmp_path / "missing")
    assert (bare.receipt_at, bare.receipts_due, bare.receipts_due_since, bare.certificates) == (0, 0, 0, ())
    for name, text, at in (("demo-7-7.json", "", 1200), ("demo-7-7.due", "demo", 1200), ("o.due", "other", 1100)):
        (tmp_path / name).write_text(text)
        os.utime(tmp_path / name, (at, at))
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
    made = trustme.CA().issue_cert("resolver.example", not_after=end).private_key_and_cert_chain_pem
    made.write_to_path(str(tmp_path / "feed.pem"))
    source = replace(LIST.source, certificate=str(tmp_path / "feed.pem"))
    found = facts.with_files(health, replace(LIST, source=source), state, tmp_path)
    assert (found.receipt_at, found.receipts_due, found.receipts_due_since) == (1200, 1, 1200)
    assert found.certificates == (
        CertificateHealth(key="certificate", path=str(tmp_path / "feed.pem"), end=int(end.timestamp())),
    )
