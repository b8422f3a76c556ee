"""One list on the screen: a row for what is known of it, a line for what has to be done, in every state."""

from typing import Any

import pytest
from msgspec.structs import replace

from resolver.cli import screen, screen_list
from resolver.cli.screen import DEFAULT_CONFIG, Urgency
from resolver.feed.facts import CertificateFacts, DecisionFacts, ListFacts, ReleaseFacts, StandingFacts

N = 1_800_000_000
H, D = 3600, 86400
GOOD = ListFacts(
    list_id="court",
    has_list=True,
    lifted=False,
    serial=412,
    entries=102_331,
    issued=N - 2 * H,
    in_force_since=N - H,
    hard_limit_at=N + 13 * D,
    last_success=N - 240,
    poll_s=900.0,
    failures={"unreachable": 2, "tampered": 0},
    held_serial=0,
    held_for=(),
    selftest_passed=True,
)
FREE = ReleaseFacts(
    number=3, serial=412, line=1733, at=N - 6 * D - 9 * H, until=N + 15 * H, alarm_at=0, confirmed_by="ben"
)
STANDING = StandingFacts(
    number=3,
    growth_to=5000,
    refused_to=0,
    until=1_800_003_600,
    allows="growth to 5000 entries until 2027-01-15T09:00:00Z",
    options="--growth-to 5000 --until 2027-01-15T09:00:00Z",
    signed=("anna", "ben"),
    missing=0,
)
CERT = CertificateFacts(key="ca", path="/etc/feed-ca.pem", end=N + 5 * D)
HELD = {"held_serial": 413, "held_for": ("growth",), "held_since": N - 2 * H}


def decision(action: str, *signed: str, serial: int = 412, missing: int = 2) -> dict[str, Any]:
    words = f"{action} court {serial}"
    one = DecisionFacts(action=action, serial=serial, command=words, signed=signed, missing=missing - len(signed))
    return {"decisions": (one,)}


def shown(**facts: Any) -> list[str]:
    return screen.screen(screen_list.rows(replace(GOOD, **facts), N), ()).splitlines()


def to_do(config: str = DEFAULT_CONFIG, **facts: Any) -> list[tuple[Urgency, str]]:
    return [(one.urgency, one.text) for one in screen_list.advice(replace(GOOD, **facts), N, config)]


def test_a_good_list_takes_three_rows_and_nothing_is_to_be_done() -> None:
    assert shown() == [
        "list       court: serial 412 in force, 102331 entries",
        "  dates    issued 2 h 0 min ago, in force for 1 h 0 min, ends in 13 d 0 h",
        "  feed     last good 4 min ago, failures: unreachable 2; self-test passed",
    ]
    assert to_do() == []


def test_without_a_service_the_feed_is_not_spoken_of() -> None:
    found = shown(live=False, selftest_passed=False, refused={"malformed": 2})
    assert found[2:] == ["  refused  malformed 2: lines that are no usable entries"]
    assert to_do(live=False, selftest_passed=False, last_success=0) == []


@pytest.mark.parametrize(
    ("facts", "row"),
    [
        ({"has_list": False, "serial": 0}, "list       court: NOT IN FORCE, no verified list yet"),
        ({"has_list": False}, "list       court: NOT IN FORCE"),
        (
            {"has_list": False, "forwarded": True},
            "  without  until it is in force, names that only it would block are FORWARDED",
        ),
        ({"lifted": True, "withdrawn": True}, "list       court: withdrawn by serial 412, nothing is blocked by it"),
        ({"lifted": True}, "list       court: lifted, NOTHING is blocked by it; its last serial is 412"),
        ({"hard_limit_at": N - 60}, "  dates    issued 2 h 0 min ago, in force for 1 h 0 min, ENDED 1 min ago"),
        ({"last_success": 0}, "  feed     no poll was good yet, failures: unreachable 2; self-test passed"),
        (
            {"failing_since": N - H, "failing": {"unreachable": 4}},
            "  feed     last good 4 min ago, FAILING for 1 h 0 min: unreachable 4; self-test passed",
        ),
        (
            {"polled_at": N - 60, "next_poll_at": N + 60, "failed": "unreachable: authority.example: silent"},
            "  failed   1 min ago, next poll in 1 min: unreachable: authority.example: silent",
        ),
        (
            {"polled_at": N - 240, "next_poll_at": N + 660, "failures": {}},
            "  feed     last good 4 min ago, next poll in 11 min, failures: none; self-test passed",
        ),
        (
            {"polled_at": N - 900, "next_poll_at": N, "failures": {}},
            "  feed     last good 4 min ago, next poll is due, failures: none; self-test passed",
        ),
        ({"selftest_passed": False}, "  feed     last good 4 min ago, failures: unreachable 2; self-test NOT passed"),
        ({"lifted": True, "selftest_passed": False}, "  feed     last good 4 min ago, failures: unreachable 2"),
        ({"passed_over": "files passed over in /drop: 2 (2 no"}, "  folder   files passed over in /drop: 2 (2 no"),
        ({"fresh_until": N - 60}, "  stale    its signatures have not been fresh for 1 min"),
        ({"set_aside": {"popular": 3, "protected": 1}}, "  aside    popular 3, protected 1: lines that do not count"),
        (
            {"set_aside": {"popular": 3}, **decision("approve-set-aside", "anna")},
            "  aside    popular 3: lines that do not count; 1 of 2 signatures (anna)",
        ),
        ({"set_aside": {"popular": 3}, "set_aside_approved": True}, "  aside    popular 3: approved, they count"),
        ({"breaker_open": True}, "  breaker  OPEN: entries new in serial 412 block unusually many, and stay"),
        (
            {**HELD, **decision("approve", "anna", serial=413)},
            "  held     serial 413 HELD (growth) for 2 h 0 min; 1 of 2 signatures (anna)",
        ),
        ({"due_by": N - 600}, "  deadline a newer list has to be in force: MISSED 10 min ago"),
        ({"due_by": N + 600}, "  deadline a newer list has to be in force: in 10 min"),
        (
            {"due_by": N + 600, "due_serial": 8, "held_serial": 9},
            "  deadline a newer list since serial 8 has to be in force: in 10 min",
        ),
        (
            {"standing": (STANDING,)},
            "  standing approval 3: growth to 5000 entries until 2027-01-15T09:00:00Z, by anna and ben",
        ),
        (
            {"standing": (replace(STANDING, signed=("anna",), missing=1),)},
            "  standing approval 3: growth to 5000 entries until 2027-01-15T09:00:00Z, by anna; 1 of 2 missing",
        ),
        ({"exceptions": 2}, "list       court: serial 412 in force, 102331 entries, of them 2 exceptions"),
        ({"taken_out": 8}, "  out      serial 8 was taken out; waits for a corrected list"),
        (
            {"rolled_back": N - H, "rolled_back_by": "anna", "rollback_alarm_at": N + 23 * H},
            "  rollback to serial 412 1 h 0 min ago by anna alone; alarm in 23 h 0 min",
        ),
        ({"releases": (FREE,)}, "  release  3: serial 412 line 1733, ends in 15 h 0 min; confirmed by ben"),
        (
            {"releases": (replace(FREE, line=None, confirmed_by="", alarm_at=N - H),)},
            "  release  3: serial 412, ends in 15 h 0 min; NOT CONFIRMED, ALARM for 1 h 0 min",
        ),
        ({"receipt_at": N - H}, "  receipt  written 1 h 0 min ago; none waits"),
        (
            {"receipt_at": N - H, "receipts_due": 2, "receipts_due_since": N - 3 * H},
            "  receipt  written 1 h 0 min ago; 2 NOT DELIVERED, the oldest for 3 h 0 min",
        ),
        (
            {"fleet_hosts": 3, "fleet_missing": ("two",)},
            "  fleet    serial 412 is reported in force by 2 of 3 hosts; missing: two",
        ),
        ({"certificates": (CERT,)}, "  cert     source.ca ends in 5 d 0 h: /etc/feed-ca.pem"),
    ],
)
def test_every_state_has_its_row(facts: dict[str, Any], row: str) -> None:
    assert row in shown(**facts)


@pytest.mark.parametrize(
    ("facts", "urgency", "line"),
    [
        ({"has_list": False}, Urgency.OUT, "court is NOT IN FORCE (unreachable 2): look at its source, and journalctl"),
        (
            {"has_list": False, **HELD, **decision("approve", serial=413)},
            Urgency.OUT,
            "court is NOT IN FORCE, its first serial is held; 0 of 2 signatures: blocklist-resolver list held court",
        ),
        ({"lifted": True}, Urgency.OUT, "court is past its hard limit, NOTHING is blocked by it: have the authority"),
        ({"hard_limit_at": N}, Urgency.OUT, "court is past its hard limit, and stays in force: have the authority"),
        ({"selftest_passed": False}, Urgency.OUT, "court: its self-test did not pass: see journalctl"),
        (
            {**HELD, **decision("approve", "anna", serial=413)},
            Urgency.WAITS,
            "court: serial 413 is HELD, 1 of 2 signatures: blocklist-resolver list held court",
        ),
        (
            {**HELD, **decision("approve", serial=413), "due_by": N - 60},
            Urgency.WAITS,
            "court: serial 413 is HELD, and OVERDUE, 0 of 2 signatures: blocklist-resolver list held court",
        ),
        (
            {"set_aside": {"in_use": 1}, **decision("approve-set-aside")},
            Urgency.WAITS,
            "court: entries in wide use SET ASIDE, 0 of 2 signatures: blocklist-resolver list held court",
        ),
        (
            {"breaker_open": True},
            Urgency.WAITS,
            "court: new entries block unusually many, look or go back: blocklist-resolver list held court",
        ),
        ({"due_by": N - H}, Urgency.WAITS, "court: a newer list is LATE for 1 h 0 min: blocklist-res"),
        ({"due_by": N + H}, Urgency.WAITS, "court: a newer list is due in 1 h 0 min: blocklist-res"),
        (
            {"rollback_alarm_at": N + H, **decision("rollback", "anna")},
            Urgency.SOON,
            "court: rollback unconfirmed, alarm in 1 h 0 min: blocklist-resolver list held court",
        ),
        (
            {"rollback_alarm_at": N - H, **decision("rollback", "anna")},
            Urgency.WAITS,
            "court: rollback unconfirmed, ALARM for 1 h 0 min: blocklist-resolver list held court",
        ),
        (
            {"releases": (replace(FREE, until=N + 5 * D, confirmed_by="", alarm_at=N + H),)},
            Urgency.SOON,
            "release 3 unconfirmed, alarm in 1 h 0 min: blocklist-resolver list release 3 --statement",
        ),
        (
            {"releases": (replace(FREE, until=N + 5 * D, confirmed_by="", alarm_at=N - H),)},
            Urgency.WAITS,
            "release 3 unconfirmed, ALARM for 1 h 0 min: blocklist-resolver list release 3 --statement",
        ),
        (
            {"releases": (FREE,)},
            Urgency.SOON,
            "release 3 ends in 15 h 0 min, then its name is blocked: blocklist-resolver list releases",
        ),
        (
            {"last_success": N - 2761, "failing_since": N - 2700, "failing": {"unreachable": 3}},
            Urgency.FAILS,
            "court: no good poll for 46 min (unreachable 3): see journalctl -u blocklist-resolver",
        ),
        (
            {"last_success": 0, "failing_since": N - 60, "failing": {"tampered": 1}},
            Urgency.FAILS,
            "court: no good poll for 1 min (tampered 1): call the authority",
        ),
        ({"fresh_until": N - 60}, Urgency.FAILS, "court: its signatures have not been fresh for 1 min: have the"),
        ({"hard_limit_at": N + D}, Urgency.FAILS, "court: ends in 1 d 0 h, then it stays, with an alarm: have the"),
        (
            {"hard_limit_at": N + D, "expire": "lift"},
            Urgency.FAILS,
            "court: ends in 1 d 0 h, then NOTHING is blocked by it: have the authority issue a new serial",
        ),
        ({"certificates": (CERT,)}, Urgency.SOON, "court: source.ca ends in 5 d 0 h: renew /etc/feed-ca.pem"),
        (
            {"certificates": (replace(CERT, end=N - H),)},
            Urgency.FAILS,
            "court: source.ca ENDED 1 h 0 min ago: renew /etc/feed-ca.pem",
        ),
        (
            {"receipts_due": 2, "receipts_due_since": N - H},
            Urgency.SOON,
            "court: 2 receipts not delivered, oldest for 1 h 0 min: see journalctl -u blocklist-resolver",
        ),
        (
            {"fleet_hosts": 3, "fleet_missing": ("two",)},
            Urgency.FAILS,
            "court: serial 412 is not reported by two: there, blocklist-resolver status",
        ),
        (
            decision("approve-set-aside", "anna"),
            Urgency.LATER,
            "court: lines SET ASIDE, 1 of 2 signatures: blocklist-resolver list held court",
        ),
    ],
)
def test_every_state_has_its_line_and_it_fits(facts: dict[str, Any], urgency: Urgency, line: str) -> None:
    ((found, text),) = to_do(**facts)
    assert text.startswith(line)
    assert found is urgency
    assert len(f"next: {text}") <= screen.WIDTH or facts.get("has_list") is False


@pytest.mark.parametrize(
    "facts",
    [
        {"last_success": N - 2760, "failing_since": N - 60, "failing": {"unreachable": 1}},
        {"last_success": 0},
        {"fresh_until": N + 1},
        {"lifted": True, "withdrawn": True, "hard_limit_at": N - 9, "selftest_passed": False},
        {"hard_limit_at": N + 3 * D},
        {"certificates": (replace(CERT, end=N + 14 * D),)},
        {"releases": (replace(FREE, until=N + D),)},
        {"releases": (replace(FREE, at=N - H, until=N + H),)},
        {"receipts_due": 1, "receipts_due_since": N - 900},
        {"fleet_hosts": 3, "fleet_missing": ("two",), "in_force_since": N - 600},
        {"due_by": N + 4 * H},
        {"set_aside": {"popular": 3}, **decision("approve-set-aside")},
    ],
)
def test_what_is_well_or_new_says_nothing(facts: dict[str, Any]) -> None:
    assert to_do(**facts) == []


def test_many_releases_and_hosts_are_counted() -> None:
    many = tuple(replace(FREE, number=number) for number in range(1, 10))
    assert shown(releases=many)[-1] == "  release  and 5 more: list releases"
    (*_, row) = shown(fleet_hosts=9, fleet_missing=tuple("abcdef"))
    assert row.endswith("3 of 9 hosts; missing: a, b, c, d and 2 more")


def test_commands_name_the_configuration() -> None:
    ((_, text),) = to_do("/etc/other.toml", **HELD, **decision("approve", serial=413))
    assert text.endswith(": blocklist-resolver list held court --config /etc/other.toml")
