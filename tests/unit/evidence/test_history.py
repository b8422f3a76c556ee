"""What became of a list, line by line: a table of stories, each from entries of the log."""

from collections.abc import Mapping
from itertools import count
from types import MappingProxyType

import pytest

from resolver.evidence.bundle import Course, DeadlineRule, Standing
from resolver.evidence.history import course
from resolver.feed import audit_details
from resolver.feed.audit import Entry, Event

HOUR = 3600
DAY = 24 * HOUR
END = 30 * DAY
NOTHING: Mapping[tuple[str, int, str], int] = MappingProxyType({})
_NUMBERS = count(1)


def line(at: int, event: Event, serial: int, detail: str = "", list_id: str = "demo") -> Entry:
    return Entry(
        number=next(_NUMBERS),
        at=at,
        event=event,
        list=list_id,
        serial=serial,
        digest=f"{serial:064x}",
        detail=detail,
        previous="0" * 64,
    )


def in_force(at: int, serial: int, issued: int) -> Entry:
    return line(at, Event.IN_FORCE, serial, audit_details.issued(issued))


def told(
    *entries: Entry, standing: Standing | None = None, end: int = END, deadlines: DeadlineRule = "oldest"
) -> tuple[Course, Standing]:
    return course(
        "demo", standing or Standing(), entries, end=end, deadline_s=DAY, issued=NOTHING, deadlines=deadlines
    )


def outcomes(found: Course) -> list[tuple[int, str]]:
    return [(one.serial, one.outcome) for one in found.deadlines]


def spans(found: Course) -> list[tuple[int, int, int, str]]:
    return [(one.serial, one.since, one.until, one.ended) for one in found.spans]


def test_lists_follow_each_other_and_renewals_are_counted() -> None:
    found, standing = told(
        in_force(DAY, 1, DAY - HOUR),
        in_force(2 * DAY, 1, DAY - HOUR),
        line(2 * DAY, Event.IN_FORCE, 9, "", "another"),
        in_force(3 * DAY, 2, 2 * DAY - 1),
    )
    assert spans(found) == [(1, DAY, 3 * DAY, "superseded by serial 2"), (2, 3 * DAY, 0, "")]
    assert found.spans[0].renewed == 1
    assert outcomes(found) == [(1, "met"), (2, "missed")]
    assert standing.force == found.spans[1]


def test_the_deadline_is_met_to_the_second() -> None:
    assert outcomes(told(in_force(DAY + 5, 1, 5))[0]) == [(1, "met")]
    assert outcomes(told(in_force(DAY + 6, 1, 5))[0]) == [(1, "missed")]


def test_without_a_date_or_a_deadline_nothing_is_judged() -> None:
    assert outcomes(told(line(DAY, Event.IN_FORCE, 1))[0]) == [(1, "not said")]
    entry = in_force(DAY, 1, 5)
    found, _ = course("demo", Standing(), [entry], end=END, deadline_s=0, issued=NOTHING, deadlines="oldest")
    assert outcomes(found) == [(1, "not said")]


def test_a_line_that_says_no_date_takes_that_of_the_receipt() -> None:
    issued = {("demo", 1, f"{1:064x}"): 5, ("another", 1, f"{1:064x}"): 3 * DAY}
    found, _ = course(
        "demo", Standing(), [line(DAY, Event.IN_FORCE, 1)], end=END, deadline_s=DAY, issued=issued, deadlines="oldest"
    )
    assert (found.spans[0].issued, outcomes(found)) == (5, [(1, "met")])


def held(at: int, serial: int, issued: int) -> Entry:
    return line(at, Event.HELD, serial, audit_details.held(("growth",), issued))


def approved(at: int, serial: int, person: str, action: str = "approve") -> Entry:
    return line(at, Event.APPROVED, serial, audit_details.approved(action, person, f"SHA256:{person}", 1000))


def test_what_was_held_says_who_released_it() -> None:
    found, standing = told(
        held(DAY, 2, DAY - HOUR),
        approved(DAY + 1, 2, "anna"),
        approved(DAY + 2, 2, "ben"),
        line(DAY + 3, Event.ACCEPTED_HELD, 2),
        in_force(DAY + 4, 2, DAY - HOUR),
    )
    (hold,) = found.holds
    assert (hold.reasons, hold.released, hold.until, hold.ended) == (("growth",), DAY + 3, DAY + 4, "put in force")
    assert [(one.principal, one.key) for one in hold.signatures] == [("anna", "SHA256:anna"), ("ben", "SHA256:ben")]
    assert outcomes(found) == [(2, "met")]
    assert standing.hold is None


def test_a_hold_over_its_deadline_is_missed_once_over_two_months() -> None:
    found, standing = told(held(DAY, 2, DAY))
    assert outcomes(found) == [(2, "missed")]
    assert found.holds[0].until == 0
    found, standing = told(in_force(END + DAY, 2, DAY), standing=standing, end=2 * END)
    assert outcomes(found) == []
    assert [one.ended for one in found.holds] == ["put in force"]
    assert standing.force is not None


def test_a_hold_within_its_deadline_waits_over_the_end_of_the_month() -> None:
    found, standing = told(held(END - HOUR, 2, END - 2 * HOUR))
    assert outcomes(found) == [(2, "waiting")]
    found, _ = told(in_force(END + HOUR, 2, END - 2 * HOUR), standing=standing, end=2 * END)
    assert outcomes(found) == [(2, "met")]


@pytest.mark.parametrize(("later", "outcome"), [(DAY + HOUR, "superseded"), (3 * DAY, "missed")])
def test_by_the_rule_of_0_1_a_hold_that_a_newer_list_replaces_is_judged_by_when(later: int, outcome: str) -> None:
    for newer in (held(later, 3, later), in_force(later, 3, later)):
        found, standing = told(held(DAY, 2, DAY), newer, end=later + HOUR, deadlines="each")
        assert outcomes(found)[0] == (2, outcome)
        assert found.holds[0].ended == "superseded by serial 3"
        assert standing.unmet is None
    found, standing = told(held(DAY, 2, DAY), deadlines="each")
    assert outcomes(found) == [(2, "missed")]
    assert outcomes(told(in_force(END, 2, DAY), standing=standing, end=2 * END, deadlines="each")[0]) == []


@pytest.mark.parametrize(("later", "outcome"), [(DAY + HOUR, "met"), (2 * DAY + HOUR, "missed")])
def test_newer_lists_move_no_deadline(later: int, outcome: str) -> None:
    """Serials 2, 3 and 4 are held, each within a day of its own issue; it runs from the first."""
    story = [held(DAY, 2, DAY), held(later - 60, 3, later - 60), held(later - 30, 4, later - 30)]
    found, standing = told(*story, in_force(later, 4, later - 30))
    assert [(one.serial, one.due, one.in_force, one.outcome) for one in found.deadlines] == [
        (4, 2 * DAY, later, outcome)
    ]
    assert [one.ended for one in found.holds] == ["superseded by serial 3", "superseded by serial 4", "put in force"]
    assert standing.unmet is None


def test_a_deadline_that_passes_while_newer_lists_wait_is_missed_once() -> None:
    found, standing = told(held(END - 2 * DAY, 2, END - 2 * DAY), held(END - HOUR, 3, END - HOUR))
    assert [(one.serial, one.due, one.outcome) for one in found.deadlines] == [(2, END - DAY, "missed")]
    found, standing = told(in_force(END + 1, 3, END - HOUR), standing=standing, end=2 * END)
    assert outcomes(found) == []
    assert standing.unmet is None


def test_a_list_that_is_older_than_what_waits_meets_nothing() -> None:
    found, standing = told(held(DAY, 3, DAY), in_force(DAY + HOUR, 2, DAY - HOUR), end=2 * DAY)
    assert outcomes(found) == [(2, "met"), (3, "waiting")]
    assert standing.unmet is not None
    assert standing.unmet.serial == 3


def test_a_quarantined_list_is_owed_until_another_comes_into_force() -> None:
    found, standing = told(held(DAY, 2, DAY), line(DAY + 5, Event.QUARANTINED, 2, "digests"))
    assert outcomes(found) == [(2, "missed")]
    assert standing.hold is None


@pytest.mark.parametrize(("at", "outcome"), [(DAY + HOUR, "superseded"), (3 * DAY, "missed")])
def test_what_replaced_keys_owe_ends(at: int, outcome: str) -> None:
    replaced = line(at, Event.FLOOR_RESET, 1, "targets keys replaced")
    found, standing = told(held(DAY, 2, DAY), replaced, in_force(at, 1, at))
    assert outcomes(found) == [(2, outcome), (1, "met")]
    assert standing.unmet is None


def test_a_held_list_without_a_date_counts_from_when_it_was_seen() -> None:
    assert [one.due for one in told(line(DAY, Event.HELD, 2, "growth"))[0].deadlines] == [2 * DAY]


def test_the_same_list_held_again_is_one_hold() -> None:
    found, _ = told(held(DAY, 2, DAY), held(DAY + 9, 2, DAY))
    assert [one.at for one in found.holds] == [DAY]


def test_a_failed_self_test_is_told_and_ends_what_was_in_force() -> None:
    found, standing = told(
        in_force(DAY, 1, DAY),
        in_force(2 * DAY, 2, 2 * DAY),
        line(2 * DAY, Event.QUARANTINED, 2, "sockets"),
        line(2 * DAY, Event.GONE_BACK, 1),
    )
    assert [(one.serial, one.check) for one in found.failed] == [(2, "sockets")]
    assert [ended for *_, ended in spans(found)] == [
        "superseded by serial 2",
        "taken out: its self-test failed: answers on its sockets",
        "",
    ]
    assert standing.force is not None
    assert standing.force.serial == 1
    assert outcomes(found) == [(1, "met"), (2, "met")]


def test_what_was_never_in_force_ends_nothing_when_it_fails() -> None:
    found, _ = told(in_force(DAY, 1, DAY), line(2 * DAY, Event.QUARANTINED, 2, "digests"))
    assert spans(found) == [(1, DAY, 0, "")]
    assert [one.check for one in found.failed] == ["digests"]


def test_a_held_list_that_is_quarantined_waits_no_more() -> None:
    found, standing = told(held(DAY, 2, DAY), line(DAY + 5, Event.QUARANTINED, 2, "digests"))
    assert [one.ended for one in found.holds] == ["quarantined: its self-test failed: digests of the list"]
    assert standing.hold is None


def test_a_rollback_is_decided_by_persons() -> None:
    found, _ = told(
        in_force(DAY, 1, DAY),
        in_force(2 * DAY, 2, 2 * DAY),
        approved(3 * DAY, 1, "anna", "rollback"),
        line(3 * DAY, Event.QUARANTINED, 2, "taken out"),
        line(3 * DAY, Event.GONE_BACK, 1),
        line(4 * DAY, Event.ROLLBACK_CONFIRMED, 1, audit_details.approved("rollback", "ben", "SHA256:ben", 1001)),
    )
    assert found.failed == ()
    assert [(one.action, one.principal, one.at) for one in found.decisions] == [
        ("rollback", "anna", 3 * DAY),
        ("rollback", "ben", 4 * DAY),
    ]
    assert spans(found)[1:] == [(2, 2 * DAY, 3 * DAY, "taken out"), (1, 3 * DAY, 0, "")]


def test_what_was_lifted_and_comes_again_is_not_judged_again() -> None:
    found, standing = told(
        in_force(DAY, 1, DAY),
        line(5 * DAY, Event.LIFTED, 1, "hard limit"),
        line(6 * DAY, Event.LIFTED, 1, "hard limit"),
    )
    assert spans(found) == [(1, DAY, 5 * DAY, "lifted at its hard limit")]
    assert standing.force is None
    found, _ = told(in_force(END + DAY, 1, DAY), standing=standing, end=2 * END)
    assert spans(found) == [(1, END + DAY, 0, "")]
    assert outcomes(found) == []


def test_a_withdrawal_is_told_as_one() -> None:
    found, standing = told(in_force(DAY, 1, DAY), line(2 * DAY, Event.WITHDRAWN, 2, audit_details.issued(2 * DAY)))
    assert spans(found) == [(1, DAY, 2 * DAY, "withdrawn by serial 2"), (2, 2 * DAY, 0, "")]
    assert [one.withdrawn for one in found.spans] == [False, True]
    assert standing.force is not None
    assert standing.force.withdrawn


def test_a_start_changes_nothing_where_the_same_list_goes_on() -> None:
    found, _ = told(in_force(DAY, 1, DAY), line(2 * DAY, Event.RECOVERED, 1), line(3 * DAY, Event.RECOVERED, 2))
    assert spans(found) == [(1, DAY, 3 * DAY, "superseded by serial 2"), (2, 3 * DAY, 0, "")]
    assert outcomes(found) == [(1, "met")]


def test_a_suspension_lasts_until_persons_resume_it_or_its_list_goes() -> None:
    begin = (in_force(DAY, 1, DAY), line(2 * DAY, Event.SUSPENDED, 1))
    found, standing = told(*begin)
    assert [(one.at, one.until) for one in found.suspensions] == [(2 * DAY, 0)]
    found, standing = told(line(END + 1, Event.RESUMED, 1), standing=standing, end=2 * END)
    assert [(one.at, one.until) for one in found.suspensions] == [(2 * DAY, END + 1)]
    assert standing.suspension is None
    found, _ = told(*begin, line(3 * DAY, Event.QUARANTINED, 1, "taken out"))
    assert [one.until for one in found.suspensions] == [3 * DAY]


def test_a_release_goes_over_the_end_of_a_month() -> None:
    made = audit_details.of_release(1, 1733, audit_details.released(END + DAY, 1000))
    found, standing = told(line(DAY, Event.RELEASED_NAME, 4, made))
    (one,) = found.releases
    assert (one.number, one.serial, one.line_known, one.until, one.uid) == (1, 4, True, END + DAY, 1000)
    assert (one.confirmed, one.ended) == (0, 0)
    signed = audit_details.of_release(1, 1733, audit_details.confirmed("ben", "SHA256:ben"))
    over = audit_details.of_release(1, 1733, "its time is over")
    found, standing = told(
        line(END + 5, Event.RELEASE_CONFIRMED, 4, signed),
        line(END + DAY, Event.RELEASE_ENDED, 4, over),
        line(END + DAY, Event.RELEASE_ENDED, 4, audit_details.of_release(7, None, "unknown")),
        standing=standing,
        end=2 * END,
    )
    (one,) = found.releases
    assert (one.confirmed, one.principal, one.key, one.ended) == (END + 5, "ben", "SHA256:ben", END + DAY)
    assert standing.releases == ()


def test_replaced_keys_are_counted_and_what_says_nothing_is_passed_over() -> None:
    found, _ = told(
        line(DAY, Event.FLOOR_RESET, 1, "targets keys replaced"),
        line(DAY, Event.APPROVED, 1, "of another form"),
        line(DAY, Event.ACCEPTED_HELD, 1),
        line(DAY, Event.RELEASED_NAME, 1, "of another form"),
    )
    assert found == Course(keys_replaced=1)


def test_no_line_is_nothing() -> None:
    assert told() == (Course(), Standing())
