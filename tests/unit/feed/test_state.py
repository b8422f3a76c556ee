"""The life of a list as pure rules."""

import pytest
from msgspec.structs import replace

from resolver.feed import state
from resolver.feed.messages import Facts
from resolver.feed.reasons import Reason
from resolver.feed.state import Floor, Held, Record, State
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


@pytest.mark.parametrize(
    ("held", "newest", "due"),
    [
        (None, None, 0),
        (None, (1000, (7, "7" * 64)), 0),
        (None, (900, (6, "6" * 64)), 0),
        (None, (1200, (8, "8" * 64)), 1260),
        (Held(record=record(9, "9", issued=1500), reasons=(), since=1), (1200, (8, "8" * 64)), 1560),
    ],
)
def test_the_laws_time_runs_for_the_newest_list_that_is_not_in_force(
    held: Held | None, newest: tuple[int, tuple[int, str]] | None, due: int
) -> None:
    assert state.due_by(replace(IN_FORCE, held=held), newest, 60.9) == due


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
        (State(joined=1000, in_force=IN_FORCE), "", False),
        (State(in_force=IN_FORCE), "forward", True),
    ],
)
def test_a_list_that_joined_others_forwards_until_it_is_in_force(found: State, chosen: str, forwards: bool) -> None:
    assert state.forwards_without(found, chosen) is forwards
