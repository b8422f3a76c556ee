"""The life of a list as pure rules."""

import msgspec
import pytest
from msgspec.structs import replace

from resolver.feed import state
from resolver.feed.messages import Facts
from resolver.feed.reasons import Reason
from resolver.feed.state import Approval, Floor, Held, Record, Standing, State, Terms, Unmet
from resolver.signed.metadata import Custom


def record(serial: int = 7, digest: str = "7", **changes: object) -> Record:
    made = Record(
        serial=serial,
        digest=digest * 64,
        issued=1000,
        expires=None,
        withdrawn=False,
        announced=None,
        entries=10,
        refused={},
        refused_lines={},
        image=f"{serial}.image",
        generation=serial,
        digest_key="key",
        demonstration=True,
        targets_keys="keys",
    )
    return replace(made, **changes)


def facts(serial: int = 8, digest: str = "8", keys: str = "keys", issued: int = 1000, **changes: object) -> Facts:
    custom = Custom(list="demo", serial=serial, issued=issued, expires=None, withdrawn=False)
    return Facts(
        digest=digest * 64,
        length=1,
        custom=replace(custom, **changes),
        targets_keys=keys,
        root_version=1,
        fresh_until=9000,
    )


IN_FORCE = State(generation=7, in_force=record(), previous=record(6, "6"))
FLOOR = Floor(record=record())


def refusal(
    said: Facts, found: State = IN_FORCE, floor: Floor | None = FLOOR, *, now: float = 2000, minimum: int = 0
) -> Reason | None:
    return state.refusal(said, found, floor, list_id="demo", minimum=minimum, now=now)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (facts(), None),
        (facts(7, "7"), None),
        (facts(7, "7", expires=5), None),
        (facts(6, "6"), Reason.ROLLED_BACK),
        (facts(7, "8"), Reason.SERIAL_REUSED),
        (facts(issued=999), Reason.ROLLED_BACK),
        (facts(issued=2001), Reason.CLOCK_BEHIND),
        (facts(list="other"), Reason.WRONG_LIST),
        (facts(1, "1", "new keys"), None),
        (facts(7, "8", "new keys"), None),
        (facts(issued=1, keys="new keys"), None),
    ],
)
def test_what_is_accepted_above_the_floor(said: Facts, reason: Reason | None) -> None:
    assert refusal(said) is reason


def test_anything_goes_where_there_is_no_floor_but_the_minimum_serial() -> None:
    assert refusal(facts(1), State(), None) is None
    assert refusal(facts(4), State(), None, minimum=5) is Reason.ROLLED_BACK
    assert refusal(facts(5), State(), None, minimum=5) is None
    assert refusal(facts(4, keys="new keys"), minimum=5) is Reason.ROLLED_BACK


def test_a_held_list_raises_what_is_accepted() -> None:
    held = state.hold(IN_FORCE, record(9, "9"), ("growth",), 1)
    assert refusal(facts(8), held) is Reason.ROLLED_BACK
    assert refusal(facts(9, "8"), held) is Reason.SERIAL_REUSED
    assert refusal(facts(9, "9"), held) is None


def test_a_clock_before_the_floor_accepts_nothing() -> None:
    assert refusal(facts(), now=999) is Reason.CLOCK_BEHIND
    assert state.clock_behind(FLOOR, 999)
    assert not state.clock_behind(FLOOR, 1000)
    assert not state.clock_behind(None, 0)


def test_what_was_quarantined_never_comes_back_under_any_serial_or_key() -> None:
    gone = state.go_back(IN_FORCE)
    assert gone.quarantined == ((7, "7" * 64),)
    assert refusal(facts(8, "7"), gone) is Reason.QUARANTINED
    assert refusal(facts(8, "7", "new keys"), gone) is Reason.QUARANTINED
    assert refusal(facts(8, "8"), gone) is None


@pytest.mark.parametrize(
    "said",
    [
        facts(8, "7"),
        facts(7, "8"),
        facts(7, "7", "new"),
        facts(7, "7", issued=1001),
        facts(7, "7", expires=1),
        facts(7, "7", withdrawn=True),
    ],
)
def test_any_difference_is_due(said: Facts) -> None:
    assert state.due(said, record())


def test_the_same_is_not_due_and_without_a_list_everything_is() -> None:
    assert not state.due(facts(7, "7"), record())
    assert state.due(facts(7, "7"), None)


def test_a_new_list_supersedes_and_a_renewal_does_not() -> None:
    new = state.put_in_force(IN_FORCE, record(8, "8"))
    assert (new.in_force, new.previous) == (record(8, "8"), record())
    renewed = state.put_in_force(IN_FORCE, record(expires=5, generation=8))
    assert renewed.previous == record(6, "6")
    assert renewed.generation == 8


def test_held_is_released_or_dropped() -> None:
    held = state.hold(IN_FORCE, record(8, "8"), ("growth",), 5)
    assert held.held == Held(record=record(8, "8"), reasons=("growth",), since=5)
    assert held.in_force == record()
    assert state.put_in_force(held, record(8, "8")).held is None
    assert state.quarantine(held, record(8, "8")).held is None
    assert state.quarantine(held, record(9, "9")).held is not None


def test_going_back_names_the_previous_and_goes_no_further() -> None:
    back = state.go_back(IN_FORCE)
    assert (back.in_force, back.previous, back.gone_back_to) == (record(6, "6"), None, (6, "6" * 64))
    nothing = state.go_back(back)
    assert (nothing.in_force, nothing.gone_back_to) == (None, None)
    assert len(nothing.quarantined) == 2
    assert state.go_back(nothing) == nothing


def test_going_back_never_reaches_what_was_quarantined() -> None:
    found = replace(IN_FORCE, quarantined=(record(6, "6").identity,))
    assert state.go_back(found).in_force is None


def test_a_start_goes_on_from_the_floor() -> None:
    assert state.at_start(IN_FORCE, FLOOR) == IN_FORCE
    raised = Floor(record=record(8, "8"))
    assert state.at_start(IN_FORCE, raised).in_force == record(8, "8")
    assert state.at_start(IN_FORCE, raised).previous == record()
    assert state.at_start(State(), raised).in_force == record(8, "8")


def test_a_start_stays_where_it_had_gone_back_to() -> None:
    back = state.go_back(IN_FORCE)
    assert state.at_start(back, FLOOR) == back
    assert state.at_start(state.go_back(back), FLOOR).in_force is None


def test_a_start_without_a_floor_believes_no_state() -> None:
    assert state.at_start(IN_FORCE, None).in_force is None


@pytest.mark.parametrize(("expires", "ends"), [(None, 1100), (1050, 1050), (2000, 1100)])
def test_the_deadline_is_the_earlier_of_both(expires: int | None, ends: int) -> None:
    assert state.hard_limit_at(record(expires=expires), 100) == ends


def test_without_an_issue_date_the_limit_counts_from_what_is_known() -> None:
    unsaid = record(issued=0, since=500)
    assert state.hard_limit_at(unsaid, 100) == 600
    assert state.hard_limit_at(replace(unsaid, expires=550), 100) == 550
    assert state.hard_limit_at(replace(unsaid, confirmed=700), 100) == 800


def test_an_issue_date_that_is_not_said_is_not_compared() -> None:
    assert refusal(facts(issued=0)) is None
    assert refusal(facts(6, "6", issued=0)) is Reason.ROLLED_BACK
    floor = Floor(record=record(issued=0))
    assert refusal(facts(issued=1), floor=floor) is None


SHOWN = Unmet(serial=8, digest="8" * 64, issued=1200, targets_keys="keys")


@pytest.mark.parametrize(
    ("held", "newest", "due"),
    [
        (None, None, 0),
        (None, Unmet(serial=7, digest="7" * 64, issued=1000), 0),
        (None, Unmet(serial=7, digest="7" * 64, issued=9000), 0),
        (None, Unmet(serial=6, digest="6" * 64, issued=999, targets_keys="keys"), 0),
        (None, Unmet(serial=6, digest="6" * 64, issued=999, targets_keys="new keys"), 1059),
        (None, Unmet(serial=8, digest="8" * 64, issued=1000, targets_keys="keys"), 1060),
        (None, SHOWN, 1260),
        (Held(record=record(9, "9", issued=1500), reasons=(), since=1), SHOWN, 1560),
        (Held(record=record(9, "9", issued=0), reasons=(), since=1700), SHOWN, 1760),
    ],
)
def test_the_laws_time_runs_for_a_list_that_is_not_in_force(
    held: Held | None, newest: Unmet | None, due: int
) -> None:
    found = replace(IN_FORCE, held=held)
    assert state.due_by(found, newest, 60.9) == due
    assert state.due_by(state.owe(found, newest), None, 60.9) == due


def test_each_new_serial_that_is_held_does_not_move_the_deadline() -> None:
    """Before, the deadline counted from the newest serial: with one every 20 s it never came."""
    found = IN_FORCE
    for serial in range(8, 20):
        found = state.hold(found, record(serial, "e", issued=1000 + 20 * (serial - 8)), ("growth",), 2000)
        assert state.due_by(found, None, 60) == 1060
        assert state.oldest_unmet(found).serial == 8
    # A list that its source does not date counts from when it was first seen.
    assert state.hold(IN_FORCE, record(8, "8", issued=0), ("growth",), 1500).unmet.issued == 1500


def test_a_list_of_new_keys_that_is_held_is_owed_whatever_its_date() -> None:
    held = state.hold(IN_FORCE, record(2, "2", issued=900, targets_keys="new keys"), ("shrink",), 2000)
    assert state.due_by(held, None, 60) == 960


def test_a_hold_that_an_earlier_version_wrote_counts_before_the_next_one() -> None:
    old = replace(IN_FORCE, held=Held(record=record(8, "8", issued=1100), reasons=("growth",), since=1150))
    assert state.hold(old, record(9, "9", issued=1300), ("growth",), 1350).unmet == Unmet(
        serial=8, digest="8" * 64, issued=1100, targets_keys="keys"
    )


def test_a_deadline_that_runs_is_not_replaced_by_what_the_source_shows_later() -> None:
    found = state.owe(IN_FORCE, SHOWN)
    assert found.unmet == SHOWN
    assert state.owe(found, Unmet(serial=9, digest="9" * 64, issued=1300, targets_keys="keys")) is found
    assert state.owe(found, None) is found
    assert state.owe(IN_FORCE, None) is IN_FORCE


@pytest.mark.parametrize(
    ("came", "left"),
    [
        (record(8, "8", issued=1200), None),
        (record(9, "9", issued=1200), None),
        (record(9, "9", issued=1), None),
        (record(7, "7", issued=1200), SHOWN),
        (record(7, "7", issued=1201), None),
        (record(7, "7", issued=1100), SHOWN),
        (record(1, "1", issued=1, targets_keys="new keys"), None),
    ],
)
def test_the_deadline_ends_when_that_list_or_a_later_word_of_its_authority_is_in_force(
    came: Record, left: Unmet | None
) -> None:
    assert state.put_in_force(state.owe(IN_FORCE, SHOWN), came).unmet == left


def test_a_list_of_which_nothing_is_in_force_is_owed_from_the_first_one_shown() -> None:
    assert state.due_by(State(), SHOWN, 60) == 1260


def rolled_back(*principals: str) -> State:
    """Serial 8 was in force and persons have taken it out."""
    eight = record(8, "8", issued=1200)
    signed = [
        Approval(action="rollback", serial=7, digest="8" * 64, principal=by, key=by, at=1) for by in principals
    ]
    return state.go_back(State(in_force=eight, previous=record(), approvals=tuple(signed), generation=8))


def test_a_list_that_a_person_has_taken_out_is_owed_to_nobody() -> None:
    """Before, the deadline of the list that was taken out ran on, and the feed was an alarm."""
    for found in (rolled_back("anna"), rolled_back("anna", "ben")):
        assert state.taken_out(found) == (8, "8" * 64)
        assert state.is_taken_out(found, "8" * 64)
        assert not state.is_taken_out(found, "7" * 64)
        assert state.due_by(found, SHOWN, 60) == 0
        assert state.owe(found, SHOWN) is found
        corrected = Unmet(serial=9, digest="9" * 64, issued=1300, targets_keys="keys")
        assert state.due_by(found, corrected, 60) == 1360
        again = state.put_in_force(found, record(9, "9", issued=1300))
        assert (state.taken_out(again), state.is_taken_out(again, "8" * 64)) == (None, False)


def test_a_list_that_a_self_test_took_out_is_still_owed() -> None:
    found = rolled_back()
    assert state.taken_out(found) is None
    assert state.due_by(found, SHOWN, 60) == 1260
    elsewhere = replace(rolled_back("anna"), gone_back_to=None)
    assert state.taken_out(elsewhere) is None
    assert state.taken_out(State()) is None
    other = replace(rolled_back("anna"), approvals=(replace(rolled_back("anna").approvals[0], serial=6),))
    assert state.taken_out(other) is None
    approved = replace(rolled_back("anna"), approvals=(replace(rolled_back("anna").approvals[0], action="approve"),))
    assert state.taken_out(approved) is None


def test_lines_are_named_as_the_image_they_belong_to() -> None:
    assert record(image="9.image", generation=7).lines == "9.lines"
    assert record(image="").lines == ""


def test_a_node_goes_back_with_its_compile_host_as_far_as_that_and_no_further() -> None:
    before = replace(IN_FORCE, previous=record(6, "6"))
    found = state.follow(before, record(6, "6"))
    assert (found.in_force.serial, found.quarantined) == (6, (record().identity,))
    assert state.follow(before, record(8, "8")).quarantined == ()


@pytest.mark.parametrize(
    ("withdrawn", "expire", "now", "lifted"),
    [
        (False, "lift", 1099, False),
        (False, "lift", 1100, True),
        (False, "keep", 1100, False),
        (False, None, 1100, False),
        (True, "keep", 0, True),
        (True, None, 0, True),
    ],
)
def test_a_list_is_lifted_if_it_is_withdrawn_or_may_lift_past_its_hard_limit(
    withdrawn: bool, expire: str | None, now: int, lifted: bool
) -> None:
    assert state.is_lifted(record(withdrawn=withdrawn), 100, expire, now) is lifted


@pytest.mark.parametrize(
    ("found", "chosen", "forwards"),
    [
        (State(), "", False),
        (State(joined=1000), "", True),
        (State(joined=1000), "refuse", False),
        (State(), "forward", True),
        (State(joined=1000, in_force=record()), "", False),
        (State(in_force=record()), "forward", True),
    ],
)
def test_a_list_that_joined_others_forwards_until_it_is_in_force(found: State, chosen: str, forwards: bool) -> None:
    assert state.forwards_without(found, chosen) is forwards


# What a wrong comparison or default would change.


def test_the_clock_is_compared_with_the_newest_of_all_dates_accepted() -> None:
    """Of the facts, the floor and the held list the newest counts, and a clock at that very second is right."""
    held = state.hold(IN_FORCE, record(8, "8", issued=1500), ("growth",), 1)
    newest = facts(9, "9", issued=1800)
    for found, said, newest_date in ((IN_FORCE, newest, 1800), (held, facts(9, "9", issued=0), 1500)):
        assert refusal(said, found, now=newest_date - 1) is Reason.CLOCK_BEHIND
        assert refusal(said, found, now=newest_date) is None
    assert refusal(facts(9, "9", issued=0), now=999) is Reason.CLOCK_BEHIND
    assert refusal(facts(9, "9", issued=0), now=1000) is None
    # Dates of lists that other keys signed say nothing.
    assert refusal(facts(9, "9", "new keys", issued=100), held, now=100) is None


def test_an_issue_date_may_stay_the_same_and_the_smallest_one_is_compared() -> None:
    assert refusal(facts(8, "8", issued=1000)) is None
    assert refusal(facts(8, "8", issued=1)) is Reason.ROLLED_BACK


def test_the_root_goes_back_under_the_same_pin_alone() -> None:
    floor = Floor(record=record(pinned="pin", root_version=3))
    for version, pin, reason in (
        (2, "pin", Reason.ROLLED_BACK),
        (3, "pin", None),
        (4, "pin", None),
        (2, "other", None),
    ):
        said = replace(facts(), pinned=pin, root_version=version)
        assert refusal(said, floor=floor) is reason
        # Also if a later root has replaced the keys: keys that were replaced never come back.
        assert refusal(replace(said, targets_keys="new keys"), floor=floor) is reason
    held = state.hold(IN_FORCE, record(8, "8", pinned="pin", root_version=3), ("growth",), 1)
    assert refusal(replace(facts(9, "9"), pinned="pin", root_version=2), held) is Reason.ROLLED_BACK


def test_a_renewal_is_of_serial_and_digest() -> None:
    for came, previous in (
        (record(7, "7", generation=9), record(6, "6")),
        (record(7, "8", generation=9), record()),
        (record(8, "7", generation=9), record()),
    ):
        found = state.put_in_force(IN_FORCE, came)
        assert (found.in_force, found.previous, found.gone_back_to) == (came, previous, None)
    first = state.put_in_force(State(generation=12), record(7, "7"))
    assert (first.previous, first.generation) == (None, 12)


def test_what_is_held_takes_its_number_and_its_time() -> None:
    found = state.hold(IN_FORCE, record(8, "8", generation=9), ("growth", "set_aside"), 123)
    assert (found.generation, found.held.since, found.held.reasons) == (9, 123, ("growth", "set_aside"))


def test_a_quarantine_names_a_list_once_and_keeps_what_is_held_beside_it() -> None:
    held = state.hold(IN_FORCE, record(8, "8", generation=3), ("growth",), 1)
    found = state.quarantine(held, record(9, "9", generation=10))
    assert (found.quarantined, found.held, found.generation) == ((record(9, "9").identity,), held.held, 10)
    assert state.quarantine(found, record(9, "9", generation=2)).quarantined == found.quarantined
    assert state.quarantine(found, record(9, "9", generation=2)).generation == 10
    assert state.quarantine(found, record(8, "e")).held == held.held
    assert state.quarantine(found, record(8, "8")).held is None
    again = state.quarantine(replace(found, held=held.held), record(9, "9"))
    assert again.held == held.held


def test_a_node_follows_back_only_under_the_same_keys_and_to_an_older_serial() -> None:
    for came, back in (
        (record(6, "6"), True),
        (record(7, "8"), False),
        (record(8, "8"), False),
        (record(6, "6", targets_keys="new keys"), False),
    ):
        assert state.taken_back(IN_FORCE, came) is back
        assert bool(state.follow(IN_FORCE, came).quarantined) is back
    assert not state.taken_back(State(), record())


def test_a_start_takes_the_floors_list_unless_the_state_names_another_as_returned_to() -> None:
    renewed = Floor(record=record(expires=5, generation=9))
    assert state.at_start(IN_FORCE, renewed).in_force == renewed.record
    gone = state.go_back(IN_FORCE)
    elsewhere = replace(gone, gone_back_to=(5, "5" * 64))
    assert state.at_start(elsewhere, Floor(record=record())).in_force is None
    nothing = state.at_start(replace(IN_FORCE, gone_back_to=(7, "7" * 64)), None)
    assert (nothing.in_force, nothing.previous, nothing.gone_back_to) == (None, None, None)
    assert state.at_start(IN_FORCE, Floor(record=record(7, "8"))).in_force == record()


def test_a_hard_limit_is_reached_in_its_very_second() -> None:
    found = record(issued=1000, confirmed=1500, since=2000)
    assert state.hard_limit_at(found, 100) == 1600
    assert state.hard_limit_at(replace(found, confirmed=900), 100) == 1100
    assert state.hard_limit_at(replace(found, issued=0, confirmed=0), 100) == 2100
    assert not state.is_lifted(found, 100, "lift", 1599.9)
    assert state.is_lifted(found, 100, "lift", 1600)


def test_what_a_new_record_does_not_say_is_not_so() -> None:
    """A default that is true would enforce lines that nobody has approved."""
    plain = record()
    said = (plain.approved, plain.approved_here, plain.confirmed, plain.since, plain.exceptions, plain.root_version)
    assert said == (False, False, 0, 0, 0, 0)
    assert (plain.set_aside, plain.set_aside_lines, plain.pinned) == ({}, {}, "")
    assert State() == State(
        format=1,
        generation=0,
        in_force=None,
        previous=None,
        held=None,
        gone_back_to=None,
        quarantined=(),
        suspended=False,
        approvals=(),
        joined=0,
        unmet=None,
    )
    assert Approval(action="approve", serial=1, digest="", principal="a", key="k", at=1).expiry == 0
    assert Unmet(serial=1, digest="", issued=1).targets_keys == ""


def test_what_is_saved_is_replaced_whole_and_never_changed() -> None:
    signed = Approval(action="approve", serial=1, digest="", principal="a", key="k", at=1)
    terms = Terms(number=1, keys="keys", until=1, growth_to=1, refused_to=0)
    for one in (record(), IN_FORCE, FLOOR, SHOWN, signed, terms, Standing(terms=terms, signatures=())):
        with pytest.raises(AttributeError):
            setattr(one, type(one).__struct_fields__[0], None)


def test_files_of_a_list_are_named_by_image_and_generation() -> None:
    assert record(image="9.image", generation=7).copy == "7.copy"
    assert record(image="").copy == ""
    assert record(7, "a").identity == (7, "a" * 64) == Unmet(serial=7, digest="a" * 64, issued=1).identity


@pytest.mark.parametrize("name", ["x.image", "7.image\n", "../7.image", "7.imag", f"{'1' * 21}.image"])
def test_a_state_names_no_file_but_an_image(name: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(msgspec.to_builtins(record(image=name)), Record)
    assert msgspec.convert(msgspec.to_builtins(record(image="")), Record) == record(image="")


def test_a_state_has_no_key_that_is_not_known() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**msgspec.to_builtins(IN_FORCE), "other": 1}, State)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**msgspec.to_builtins(IN_FORCE), "format": 2}, State)


def test_keys_that_only_earlier_versions_knew_are_left_out() -> None:
    written = {
        "told": 1,
        "previous": {"suspended": True, "serial": 6},
        "approvals": [{"action": "resume"}, {"action": "approve", "used": True, "serial": 8}],
        "generation": 7,
    }
    assert state.without_retired(written) == {
        "previous": {"serial": 6},
        "generation": 7,
        "approvals": [{"action": "approve", "serial": 8}],
    }
    assert state.without_retired({"previous": None}) == {"previous": None, "approvals": []}
